"""Evidence of equivocation: both signed blobs, side by side, for a person to show.

What this file does not do: judge. ``core`` found two contents of one version; this keeps them.

Rules:
1. The last verified checkpoint of each vault and item is kept as it was signed (metadata and signature; no ciphertext, no key),
   so that when a second content of the same version turns up, the first one is still there. A file for each, or a line for each
   vault where many were verified at once; what is wanted is found by its version.
2. Evidence is never overwritten, and a folder that can't be written or is held by another process never hides the refusal itself.
3. One lock for all of it, held from the first look to the last write: other processes remember other vaults in the same file.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from r4_mcp.core.encoding import Json, canonical, compact_json, parse_json
from r4_mcp.core.wire import DetailCheckpoint, Signed, SummaryCheckpoint, signed_envelope
from r4_mcp.errors import BusyError, FileAccessError, MalformedError
from r4_mcp.vault.locked_file import LockedFile

MAX_BLOB: Final = 64 * 1024 * 1024
MANY: Final = 32
"""More checkpoints than this at once go into the one file for many."""
MANY_NAME: Final = "vaults.lines"
"""Its lines: a vault's id, a blank, and the JSON of its envelopes by name: a vault is encoded in one go."""

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
        with _hiding_nothing(), self._file("evidence").locked():
            (self._folder / "last").mkdir(mode=0o700, exist_ok=True)
            if len(seen) > MANY:
                self._remember_many(seen)
                return
            for signed in seen:
                self._file(f"last/{_name(signed)}.json").replace(_blob(signed))

    def keep(self, served: Sequence[SignedCheckpoint]) -> None:
        """Keep what was served now beside what was verified last, for each version that has two contents."""
        with _hiding_nothing(), self._file("evidence").locked():
            for signed in served:
                name, blob, version = _name(signed), _blob(signed), signed.checkpoint.version
                first = self._last(signed)
                if first is None or first == blob:
                    continue
                for which, content in (("verified-first", first), ("served-later", blob)):
                    file = self._file(f"{name}-v{version}-{which}.json")
                    if not file.path.exists():
                        file.replace(content)

    def _remember_many(self, seen: Sequence[SignedCheckpoint]) -> None:
        by_vault: dict[bytes, list[SignedCheckpoint]] = {}
        for signed in seen:
            by_vault.setdefault(signed.checkpoint.vault_id.encode("ascii"), []).append(signed)
        lines = self._many()
        for vault_id, signed_here in by_vault.items():
            fresh: dict[str, Json] = {_name(signed): _envelope(signed) for signed in signed_here}
            lines[vault_id] = compact_json(_envelopes(lines.get(vault_id)) | fresh).encode("utf-8")
        whole = b"".join(vault_id + b" " + line + b"\n" for vault_id, line in lines.items())
        self._file(f"last/{MANY_NAME}").replace(whole)

    def _many(self) -> dict[bytes, bytes]:
        lines = (line.partition(b" ") for line in (self._read(MANY_NAME) or b"").splitlines())
        return {vault_id: envelopes for vault_id, _, envelopes in lines}

    def _last(self, signed: SignedCheckpoint) -> bytes | None:
        name, version = _name(signed), signed.checkpoint.version
        line = self._many().get(signed.checkpoint.vault_id.encode("ascii"))
        for envelopes in ({name: _parsed(self._read(f"{name}.json"))}, _envelopes(line)):
            if _version(envelopes.get(name)) == version:
                return canonical(envelopes[name]) + b"\n"
        return None

    def _read(self, name: str) -> bytes | None:
        try:
            return self._file(f"last/{name}").read()
        except FileAccessError as error:
            _log.warning("evidence can't be read: %s", error.message)
            return None

    def _file(self, name: str) -> LockedFile:
        return LockedFile(self._folder / name, MAX_BLOB)


@contextmanager
def _hiding_nothing() -> Iterator[None]:
    """Log what fails, and let the caller go on (rule 2)."""
    try:
        yield
    except OSError as error:
        _log.warning("evidence can't be kept: %s", os.strerror(error.errno or 0))
    except (BusyError, FileAccessError) as error:
        _log.warning("evidence can't be kept: %s", error.message)


def _parsed(raw: bytes | None) -> Json:
    if raw is None:
        return None
    try:
        return parse_json(raw, what="evidence")
    except MalformedError:
        _log.warning("a kept checkpoint can't be read, so it is no evidence")
        return None


def _envelopes(line: bytes | None) -> dict[str, Json]:
    kept = _parsed(line)
    return kept if isinstance(kept, dict) else {}


def _version(envelope: Json) -> int | None:
    checkpoint = envelope.get("checkpoint") if isinstance(envelope, dict) else None
    version = checkpoint.get("version") if isinstance(checkpoint, dict) else None
    return version if isinstance(version, int) else None


def _name(signed: SignedCheckpoint) -> str:
    checkpoint = signed.checkpoint
    if isinstance(checkpoint, DetailCheckpoint):
        return f"{checkpoint.vault_id}-{checkpoint.item_id}"
    return str(checkpoint.vault_id)


def _envelope(signed: SignedCheckpoint) -> dict[str, Json]:
    return signed_envelope(signed.checkpoint.payload(), signed.signer, signed.signature)


def _blob(signed: SignedCheckpoint) -> bytes:
    return canonical(_envelope(signed)) + b"\n"
