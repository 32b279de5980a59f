"""Evidence of equivocation: both signed blobs, side by side, for a person to show.

What this file does not do: judge. ``core`` found two contents of one version; this keeps them.

Rules:
1. The last verified checkpoint of each vault and item is kept as it was signed (metadata and signature; no ciphertext, no key),
   so that when a second content of the same version turns up, the first one is still there. A file for each, or one file for many
   that were verified at once; what is wanted is found by its version.
2. Evidence is never overwritten, and a folder that can't be written never hides the refusal itself.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from r4_mcp.core.encoding import canonical, parse_json
from r4_mcp.core.record import open_record
from r4_mcp.core.wire import DetailCheckpoint, Signed, SummaryCheckpoint, signed_envelope
from r4_mcp.errors import FileAccessError, MalformedError
from r4_mcp.vault.locked_file import LockedFile

MAX_BLOB: Final = 64 * 1024 * 1024
MANY: Final = 32
"""More checkpoints than this at once go into the one file for many."""
MANY_NAME: Final = "many.lines"
"""Its lines: name, blank, blob."""

_log: Final = logging.getLogger(__name__)

SignedCheckpoint = Signed[SummaryCheckpoint] | Signed[DetailCheckpoint]


class Evidence:
    """Signed checkpoints on disk.

    Args:
        folder: Where they are kept; made when first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def remember(self, seen: Sequence[SignedCheckpoint]) -> None:
        """Keep the last verified checkpoints (rule 1)."""
        if len(seen) > MANY:
            self._remember_many(seen)
            return
        for signed in seen:
            self._write(self._folder / "last" / f"{_name(signed)}.json", _blob(signed))

    def keep(self, served: Sequence[SignedCheckpoint]) -> None:
        """Keep what was served now beside what was verified last, for each version that has two contents."""
        for signed in served:
            name, blob, version = _name(signed), _blob(signed), signed.checkpoint.version
            first = self._last(name, version)
            if first is None or first == blob:
                continue
            self._write(self._folder / f"{name}-v{version}-verified-first.json", first)
            self._write(self._folder / f"{name}-v{version}-served-later.json", blob)

    def _remember_many(self, seen: Sequence[SignedCheckpoint]) -> None:
        lines = self._many() | {_name(signed): _blob(signed) for signed in seen}
        self._write(self._folder / "last" / MANY_NAME, b"".join(name.encode() + b" " + blob for name, blob in lines.items()))

    def _many(self) -> dict[str, bytes]:
        raw = self._read(MANY_NAME) or b""
        lines = (line.partition(b" ") for line in raw.splitlines(keepends=True))
        return {name.decode("ascii", "replace"): blob for name, _, blob in lines}

    def _last(self, name: str, version: int) -> bytes | None:
        for blob in (self._read(f"{name}.json"), self._many().get(name)):
            if blob is not None and _version(blob) == version:
                return blob
        return None

    def _read(self, name: str) -> bytes | None:
        try:
            return LockedFile(self._folder / "last" / name, MAX_BLOB).read()
        except FileAccessError as error:
            _log.warning("evidence can't be read: %s", error.message)
            return None

    def _write(self, path: Path, blob: bytes) -> None:
        file = LockedFile(path, MAX_BLOB)
        try:
            # The folder itself is the lock's place: one lock for all, since these writes are rare and small.
            with LockedFile(self._folder / "evidence", MAX_BLOB).locked():
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                file.replace(blob)
        except OSError as error:
            _log.warning("evidence can't be kept: %s", os.strerror(error.errno or 0))
        except FileAccessError as error:
            _log.warning("evidence can't be kept: %s", error.message)


def _version(blob: bytes) -> int | None:
    try:
        checkpoint = open_record(open_record(parse_json(blob, what="evidence"), "evidence").members["checkpoint"], "evidence")
        return checkpoint.integer("version")
    except (MalformedError, KeyError):
        _log.warning("a kept checkpoint can't be read, so it is no evidence")
        return None


def _name(signed: SignedCheckpoint) -> str:
    checkpoint = signed.checkpoint
    if isinstance(checkpoint, DetailCheckpoint):
        return f"{checkpoint.vault_id}-{checkpoint.item_id}"
    return str(checkpoint.vault_id)


def _blob(signed: SignedCheckpoint) -> bytes:
    return canonical(signed_envelope(signed.checkpoint.payload(), signed.signer, signed.signature)) + b"\n"
