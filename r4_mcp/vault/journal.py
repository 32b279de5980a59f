"""The journal: what was about to be written, so that a lost reply or a crash leaves exactly one of it.

What this file does not do: send or decide. The creations prepare an entry, send, read back, and settle it; on the retry or the
next start they roll prepared entries forward.

Rules (threats, *Crash safety*):
1. An entry is on disk, synced, before the first byte of its request leaves.
2. It holds client-chosen ids, ciphertext and signed checkpoints: never a plaintext, never a bare key.
3. One file an entry, replaced whole, in a folder (0700) of this service and agent.
4. An entry is removed only when its outcome was read back and verified, or when the service refused it for good.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from r4_mcp.core.encoding import Json, canonical, parse_json
from r4_mcp.core.record import exact, open_record
from r4_mcp.errors import BusyError, FileAccessError, MalformedError
from r4_mcp.vault.locked_file import LockedFile, read_private

MAX_ENTRY: Final = 64 * 1024 * 1024
_KEYS: Final = frozenset({"schema", "kind", "id", "vaultId", "body"})
_SCHEMA: Final = 1
_LOOK_FOR_IT: Final = "Look whether the item or vault of that id exists (list_items); then move the file away."
_ASK_WHICH_KEY: Final = "Keep every key file, and ask the operator of R4 which key is active before you move the file away."


class EntryKind(StrEnum):
    """What an entry is about to write."""

    CREATE_ITEM = "create-item"
    CREATE_VAULT = "create-vault"
    UPDATE_ITEM = "update-item"
    ROTATE_KEY = "rotate-key"


@dataclass(frozen=True, slots=True)
class Entry:
    """One prepared write.

    Attributes:
        kind: What it writes.
        id: The client-chosen id of what it writes.
        vault_id: The vault that it writes to (the new one for ``create-vault``); None for a key.
        body: What rolling forward needs: ids, ciphertext, signed things.
    """

    kind: EntryKind
    id: str
    vault_id: str | None
    body: Mapping[str, Json]


class Journal:
    """Prepared writes of one service and agent.

    Args:
        folder: Parent folder of all journals.
        owner: Service address and access key.
    """

    def __init__(self, folder: Path, owner: tuple[str, str]) -> None:
        self._folder = folder / owner_hash(owner)

    def prepare(self, entry: Entry) -> None:
        """Put an entry on disk, or replace the one of the same kind and id (rules 1 and 3).

        Raises:
            FileAccessError: It can't be written; nothing may be sent.
        """
        form: dict[str, Json] = {
            "schema": _SCHEMA,
            "kind": entry.kind.value,
            "id": entry.id,
            "vaultId": entry.vault_id,
            "body": dict(entry.body),
        }
        file = LockedFile(self._path(entry.kind, entry.id), MAX_ENTRY)
        with LockedFile(self._folder / "journal", MAX_ENTRY).locked():
            file.replace(canonical(form) + b"\n")

    def prepare_creation(self, entry: Entry) -> None:
        """Put a creation on disk, unless the key is being rotated: what the old key signs or wraps would be worth nothing.

        The rotation looks the other way round, for creations after its own entry, so that one of the two always sees the other.

        Raises:
            BusyError: It is, or its rotation is unfinished; nothing may be sent.
            FileAccessError: It can't be written; nothing may be sent.
        """
        # One that is there already may have been sent: it is only brought up to date, and the rotation waits for it.
        is_new = not self._path(entry.kind, entry.id).exists()
        self.prepare(entry)
        if is_new and self.prepared(EntryKind.ROTATE_KEY):
            self.settle(entry)
            raise BusyError(
                "this agent's key is being rotated, and nothing is created meanwhile",
                next_step="Try again in a moment; `r4-mcp doctor` says whether a rotation is unfinished.",
            )

    def settle(self, entry: Entry) -> None:
        """Remove an entry whose outcome is known (rule 4).

        Raises:
            FileAccessError: It can't be removed.
        """
        path = self._path(entry.kind, entry.id)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise FileAccessError(f"{path} can't be removed: {os.strerror(error.errno or 0)}") from None

    def rotation_lock(self) -> AbstractContextManager[None]:
        """Hold the right to rotate this agent's key, across network calls: it guards no file that others wait for.

        Raises:
            BusyError: Another process holds it.
            FileAccessError: The lock file can't be used.
        """
        return LockedFile(self._folder / "rotation", MAX_ENTRY).locked(seconds=0)

    def prepared(self, kind: EntryKind | None = None) -> tuple[Entry, ...]:
        """Return the entries whose outcome is not known, oldest first.

        Args:
            kind: Only those of one kind.

        Raises:
            FileAccessError: The folder can't be read, or an entry is damaged.
        """
        pattern = "*.json" if kind is None else f"{kind.value}-*.json"
        found: list[tuple[int, str, Path]] = []
        try:
            for path in self._folder.glob(pattern):
                with suppress(FileNotFoundError):  # Settled by another process since the folder was read.
                    found.append((path.stat().st_mtime_ns, path.name, path))
        except OSError as error:
            raise FileAccessError(f"{self._folder} can't be read: {os.strerror(error.errno or 0)}") from None
        paths = [path for _, _, path in sorted(found)]
        return tuple(entry for entry in (_read(path) for path in paths) if entry is not None)

    def _path(self, kind: EntryKind, entry_id: str) -> Path:
        return self._folder / f"{kind.value}-{entry_id}.json"


def owner_hash(owner: tuple[str, str]) -> str:
    """Return the file name of what belongs to one service address and access key."""
    return hashlib.sha256(" ".join(owner).encode("utf-8")).hexdigest()[:32]


def _read(path: Path) -> Entry | None:
    try:
        raw = read_private(path, MAX_ENTRY)
    except FileNotFoundError:
        return None  # Settled by another process meanwhile.
    try:
        return _parse(raw)
    except MalformedError as error:
        raise FileAccessError(
            f"{path} is damaged: {error.message}",
            next_step=_ASK_WHICH_KEY if path.name.startswith(EntryKind.ROTATE_KEY) else _LOOK_FOR_IT,
        ) from None


def _parse(raw: bytes) -> Entry:
    record = exact(parse_json(raw, what="journal entry"), "journal entry", _KEYS)
    body = record.part("body", open_record).members
    if record.integer("schema") != _SCHEMA:
        raise MalformedError("journal entry has another schema than this version writes")
    return Entry(record.choice("kind", EntryKind), record.identifier("id"), record.optional_identifier("vaultId"), body)
