"""Bindings: websites that a person on this machine added to an item, for this agent.

What this file does not do: compare a website with a URL (``sinks.destination`` does). No tool reaches its writing.

Rules:
1. A binding is about ids, so that no name that others may change moves it. A website is there once for an item.
2. A file that can't be read or is damaged is an error: without bindings a request is refused, but a person should know why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from r4_mcp.core.encoding import MAX_INT, Json, compact_json, parse_json
from r4_mcp.core.record import exact
from r4_mcp.core.wire import ItemId, VaultId
from r4_mcp.errors import AlreadyExistsError, FileAccessError, InvalidArgumentError, MalformedError, NotFoundError
from r4_mcp.vault.journal import owner_hash
from r4_mcp.vault.locked_file import LockedFile

MAX_BINDINGS: Final = 500

_MAX_SIZE: Final = 8 * 1024 * 1024
_SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class Binding:
    """A website of one item.

    Attributes:
        vault_id: The item's vault.
        item_id: The item.
        website: As ``sinks.destination`` writes it.
        at: When it was added, in seconds since 1970; it says nothing of which binding this is.
    """

    vault_id: VaultId
    item_id: ItemId
    website: str
    at: int


class Bindings:
    """The bindings of one agent.

    Calls block for the time of a read or of two syncs to disk: async callers use a thread.

    Args:
        folder: Where state is kept; made (0700) when first written.
        owner: Service address and access key.
        clock: Seconds since 1970.
    """

    def __init__(self, folder: Path, owner: tuple[str, str], clock: Callable[[], float]) -> None:
        self._file = LockedFile(folder / f"bindings-{owner_hash(owner)}.json", _MAX_SIZE)
        self._clock = clock

    def all(self) -> tuple[Binding, ...]:
        """Return every binding, in the order in which they were added.

        Raises:
            FileAccessError: The file can't be read, or is damaged.
        """
        raw = self._file.read()
        try:
            return () if raw is None else _parse(raw)
        except MalformedError as error:
            raise FileAccessError(
                f"{self._file.path} is damaged: {error.message}",
                next_step="Move it away, then add what is still right with `r4-mcp bind`.",
            ) from None

    def websites(self, vault_id: VaultId, item_id: ItemId) -> tuple[str, ...]:
        """Return the websites that were added to an item.

        Raises:
            FileAccessError: As ``all``.
        """
        return tuple(one.website for one in self.all() if (one.vault_id, one.item_id) == (vault_id, item_id))

    def add(self, vault_id: VaultId, item_id: ItemId, website: str) -> None:
        """Add a website to an item.

        Raises:
            AlreadyExistsError: It is there.
            InvalidArgumentError: There are ``MAX_BINDINGS``.
            FileAccessError: The file can't be read or written, or is damaged.
            BusyError: Another process held it for ten seconds.
        """
        with self._file.locked():
            kept = self.all()
            if any((one.vault_id, one.item_id, one.website) == (vault_id, item_id, website) for one in kept):
                raise AlreadyExistsError("that website is bound to the item already", next_step="Nothing is left to do.")
            if len(kept) >= MAX_BINDINGS:
                raise InvalidArgumentError(
                    f"there are {MAX_BINDINGS} bindings", next_step="Remove some with `r4-mcp bind --remove REF URL`."
                )
            at = min(max(int(self._clock()), 0), MAX_INT)
            self._write((*kept, Binding(vault_id, item_id, website, at)))

    def remove(self, vault_id: VaultId, item_id: ItemId, website: str) -> None:
        """Take a website from an item; one that a person signed stays.

        Raises:
            NotFoundError: It is not bound.
            FileAccessError: As ``add``.
            BusyError: As ``add``.
        """
        with self._file.locked():
            kept = self.all()
            left = tuple(one for one in kept if (one.vault_id, one.item_id, one.website) != (vault_id, item_id, website))
            if len(left) == len(kept):
                raise NotFoundError("that website is not bound to the item", next_step="List them with `r4-mcp bind --list`.")
            self._write(left)

    def _write(self, bindings: tuple[Binding, ...]) -> None:
        rows: list[Json] = [
            {"vault": one.vault_id, "item": one.item_id, "website": one.website, "at": one.at} for one in bindings
        ]
        self._file.replace(compact_json({"schema": _SCHEMA, "bindings": rows}).encode("ascii") + b"\n")


def _parse(raw: bytes) -> tuple[Binding, ...]:
    record = exact(parse_json(raw, what="it"), "it", frozenset({"schema", "bindings"}))
    if record.integer("schema") != _SCHEMA:
        raise MalformedError("it has another schema than this version writes")
    return tuple(record.parts("bindings", _binding))


def _binding(value: Json, what: str) -> Binding:
    row = exact(value, what, frozenset({"vault", "item", "website", "at"}))
    return Binding(VaultId(row.identifier("vault")), ItemId(row.identifier("item")), row.text("website"), row.integer("at"))
