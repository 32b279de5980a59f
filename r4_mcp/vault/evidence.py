"""Evidence of equivocation: both signed blobs, side by side, for a person to show.

What this file does not do: judge. ``core`` found two contents of one version; this keeps them.

Rules:
1. The last verified checkpoint of each vault and item is kept as it was signed (metadata and signature; no ciphertext, no key),
   so that when a second content of the same version turns up, the first one is still there.
2. Evidence is never overwritten, and a folder that can't be written never hides the refusal itself.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

from r4_mcp.core.encoding import canonical
from r4_mcp.core.wire import DetailCheckpoint, Signed, SummaryCheckpoint, signed_envelope
from r4_mcp.errors import FileAccessError
from r4_mcp.vault.locked_file import LockedFile

MAX_BLOB: Final = 32 * 1024 * 1024
_log: Final = logging.getLogger(__name__)

SignedCheckpoint = Signed[SummaryCheckpoint] | Signed[DetailCheckpoint]


class Evidence:
    """Signed checkpoints on disk.

    Args:
        folder: Where they are kept; made when first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def remember(self, seen: tuple[SignedCheckpoint, ...]) -> None:
        """Keep the last verified checkpoints (rule 1)."""
        for signed in seen:
            self._write(self._folder / "last" / f"{_name(signed)}.json", _blob(signed))

    def keep(self, served: tuple[SignedCheckpoint, ...]) -> None:
        """Keep what was served now beside what was verified last, for each version that has two contents."""
        for signed in served:
            name, blob = _name(signed), _blob(signed)
            first = self._last(name)
            if first is None or first == blob:
                continue
            version = signed.checkpoint.version
            self._write(self._folder / f"{name}-v{version}-verified-first.json", first)
            self._write(self._folder / f"{name}-v{version}-served-later.json", blob)

    def _last(self, name: str) -> bytes | None:
        try:
            return LockedFile(self._folder / "last" / f"{name}.json", MAX_BLOB).read()
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


def _name(signed: SignedCheckpoint) -> str:
    checkpoint = signed.checkpoint
    if isinstance(checkpoint, DetailCheckpoint):
        return f"{checkpoint.vault_id}-{checkpoint.item_id}"
    return str(checkpoint.vault_id)


def _blob(signed: SignedCheckpoint) -> bytes:
    return canonical(signed_envelope(signed.checkpoint.payload(), signed.signer, signed.signature)) + b"\n"
