"""The exposure ledger: which fields the model has been shown since a person last cleared it, so that they can be rotated.

What this file does not do: hold names or values. It knows ids, times and counts.

Rules:
1. Three tables: what was shown to the model, what was used without showing it, and what was blocked on its way out. A row is a
   place (or an unknown one) with the first and last time and a count.
2. A field is noted before its value leaves. Where that can't be written the caller gets an error and reveals nothing.
3. A table has at most ``MAX_ROWS`` rows, and no place is ever dropped: when there is one too many, the fields of the item that
   has the most become one row for the item, counts added; then the items of a vault one row for the vault, then the vaults one
   row for everything. So the ledger may name more than was shown, never less.
4. A clock that jumps stretches the time between first and last; nothing else depends on it.
5. What is noted together is written at once, row by row as if each had come alone.
6. A damaged ledger is an error until a person clears it; the damaged file is kept aside then. Where there is none, nothing was
   noted yet; whoever may remove it could as well change this program.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Final

from r4_mcp.core.encoding import MAX_INT, Json, compact_json, parse_json
from r4_mcp.core.record import Record, exact, is_id, open_record
from r4_mcp.errors import FileAccessError, MalformedError
from r4_mcp.vault.event_file import EventFile, Form
from r4_mcp.vault.journal import owner_hash

MAX_ROWS: Final = 1_000
"""Rows of a table; with all of them in each table the file has about half a megabyte."""

_MAX_SIZE: Final = 1024 * 1024
_SCHEMA: Final = 1
_TABLES: Final = ("shown", "used", "blocked")
_NUMBERS: Final = ("first", "last", "count")
_UNKNOWN: Final = "?"
_WORD: Final = re.compile(r"[a-z][a-z_]{0,31}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """A field by its ids, or (rule 3) all fields of an item, of a vault, or of all vaults.

    Raises:
        ValueError: Not ids, or an id without the one above it.
    """

    vault_id: str | None = None
    item_id: str | None = None
    field_id: str | None = None

    def __post_init__(self) -> None:
        parts = (self.vault_id, self.item_id, self.field_id)
        if not all(is_id(part) for part in self.ids) or self.ids != parts[: len(self.ids)]:
            raise ValueError("a place is not made of the ids of a vault, an item and a field")

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids that are known, outermost first."""
        return tuple(part for part in (self.vault_id, self.item_id, self.field_id) if part is not None)


@dataclass(frozen=True, slots=True)
class Noted:
    """One row.

    Attributes:
        how: "shown", the way of use, or the kind of block.
        place: What was shown, used or blocked; None where it is not known.
        first: First time, in milliseconds since 1970.
        last: Last time, likewise.
        count: How many times.
    """

    how: str
    place: Place | None
    first: int
    last: int
    count: int


@dataclass(frozen=True, slots=True)
class Exposure:
    """What happened since the ledger was cleared; rows in order of their first time.

    Attributes:
        cleared_at: When, in milliseconds since 1970; None if it never was.
        shown: What the model was shown: to be rotated.
        used: What was used without showing it.
        blocked: What was kept from leaving.
        kept_aside: Where a damaged ledger was moved by ``clear``; what it held is not known.
    """

    cleared_at: int | None
    shown: tuple[Noted, ...]
    used: tuple[Noted, ...]
    blocked: tuple[Noted, ...]
    kept_aside: Path | None = None


_Key = tuple[str, Place | None]


@dataclass(slots=True)
class _Tables:
    cleared_at: int | None = None
    rows: dict[str, dict[_Key, Noted]] = field(default_factory=lambda: {table: {} for table in _TABLES})

    def view(self) -> Exposure:
        ordered = {table: tuple(sorted(rows.values(), key=lambda row: row.first)) for table, rows in self.rows.items()}
        return Exposure(self.cleared_at, ordered["shown"], ordered["used"], ordered["blocked"])


class ExposureLedger:
    """The ledger of one service and agent, shared by its processes.

    Calls block for the time of a sync to disk: async callers use a thread.

    Args:
        folder: Where state is kept; made (0700) when first written.
        owner: Service address and access key.
        clock: Seconds since 1970.
    """

    def __init__(self, folder: Path, owner: tuple[str, str], clock: Callable[[], float]) -> None:
        self._file = EventFile(folder / f"exposure-{owner_hash(owner)}.json", _MAX_SIZE, _FORM)
        self._clock = clock
        self._turn = Lock()

    def shown(self, place: Place) -> None:
        """Note that the model is about to be shown a field (rule 2).

        Raises:
            FileAccessError: It could not be noted, or the ledger is damaged: reveal nothing.
            BusyError: Another process held the ledger for ten seconds.
        """
        self.shown_each([place])

    def shown_each(self, places: Sequence[Place]) -> None:
        """Note that the model is about to be shown several fields (rule 5).

        Raises:
            FileAccessError: As ``shown``, for all of them.
            BusyError: As ``shown``.
        """
        self._note("shown", "shown", places)

    def used(self, place: Place, how: str) -> None:
        """Note that a field is used without showing it.

        Args:
            place: The field.
            how: The way, in a word of ours: lower-case letters and underscores.

        Raises:
            FileAccessError: As ``shown``.
            BusyError: As ``shown``.
            ValueError: ``how`` is not such a word.
        """
        self._note("used", how, [place])

    def blocked(self, kind: str, place: Place | None) -> None:
        """Note that something was kept from leaving.

        Args:
            kind: What stopped it, in a word of ours: lower-case letters and underscores.
            place: The field whose value it held; None where that is not known.

        Raises:
            FileAccessError: As ``shown``.
            BusyError: As ``shown``.
            ValueError: ``kind`` is not such a word.
        """
        self._note("blocked", kind, [place])

    def read(self) -> Exposure:
        """Return what was noted since the ledger was cleared.

        Raises:
            FileAccessError: It can't be read, or is damaged.
        """
        return self._understood(self._file.look).view()

    def clear(self) -> Exposure:
        """Forget everything, and return what was forgotten. For people's commands; no tool calls this.

        Raises:
            FileAccessError: It can't be written.
            BusyError: Another process held the ledger for ten seconds.
        """
        with self._turn, self._file.locked():
            try:
                before = self._file.read().view()
            except MalformedError:
                before = Exposure(None, (), (), (), self._file.set_aside("damaged"))
            self._file.replace(_Tables(self._now()))
        return before

    def _note(self, table: str, how: str, places: Sequence[Place | None]) -> None:
        if not _WORD.fullmatch(how):
            raise ValueError("what the ledger is told is not a word of lower-case letters")
        with self._turn, self._file.locked():
            self._understood(self._file.read)
            now = self._now()
            self._file.append([compact_json([table, _write_key(how, place), now]).encode("ascii") for place in places])

    def _now(self) -> int:
        return min(max(int(self._clock() * 1000), 0), MAX_INT)

    def _understood(self, read: Callable[[], _Tables]) -> _Tables:
        try:
            return read()
        except MalformedError as error:
            raise FileAccessError(
                f"{self._file.path} is damaged: {error.message}",
                next_step="Run `r4-mcp exposure --clear`: it keeps the damaged file aside and begins a new ledger.",
            ) from None


def _add(rows: dict[_Key, Noted], row: Noted) -> None:
    key = (row.how, row.place)
    old = rows.get(key)
    if old is None:
        rows[key] = row
        return
    first, last = min(old.first, row.first), max(old.last, row.last)
    rows[key] = replace(row, first=first, last=last, count=min(old.count + row.count, MAX_INT))


def _covering(rows: Mapping[_Key, Noted], how: str, place: Place | None) -> Place | None:
    """Return the row that a place belongs to: one that was collapsed before, or its own."""
    if place is None:
        return None
    wider = (Place(*place.ids[:depth]) for depth in range(len(place.ids)))
    return next((known for known in wider if (how, known) in rows), place)


def _collapse(rows: dict[_Key, Noted]) -> None:
    """Make one row of the largest group that has one thing in common (rule 3)."""
    for depth in (2, 1, 0):  # The ids that the rows of a group share: an item's, a vault's, none.
        groups = Counter((how, place.ids[:depth]) for how, place in rows if place is not None and len(place.ids) > depth)
        (how, ids), size = max(groups.items(), key=lambda group: group[1], default=(("", ()), 0))
        if size > 1:
            for key, row in list(rows.items()):
                if key[0] == how and key[1] is not None and key[1].ids[:depth] == ids:
                    del rows[key]
                    _add(rows, replace(row, place=Place(*ids)))
            return


def _dump(tables: _Tables) -> bytes:
    dumped = {table: _dump_rows(tables.rows[table]) for table in _TABLES}
    return compact_json({"schema": _SCHEMA, "clearedAt": tables.cleared_at, **dumped}).encode("ascii")


def _dump_rows(rows: Mapping[_Key, Noted]) -> dict[str, Json]:
    return {_write_key(how, place): [row.first, row.last, row.count] for (how, place), row in rows.items()}


def _fold(tables: _Tables, event: bytes) -> None:
    """Note one row: an event is a table, a row's key and a time."""
    what = "an event of it"
    parts = parse_json(event, what=what)
    if not isinstance(parts, list) or len(parts) != len(_EVENT):
        raise MalformedError(f"{what} is not of its form")
    record = Record(what, dict(zip(_EVENT, parts, strict=True)))
    rows, time = tables.rows.get(record.text("table")), record.integer("time")
    if rows is None:
        raise MalformedError(f"{what} is of no table")
    how, place = _read_key(record.text("key"), what)
    _add(rows, Noted(how, _covering(rows, how, place), time, time, 1))
    if len(rows) > MAX_ROWS:
        _collapse(rows)


def _parse(raw: bytes) -> _Tables:
    record = exact(parse_json(raw, what="it"), "it", frozenset({"schema", "clearedAt", *_TABLES}))
    if record.integer("schema") != _SCHEMA:
        raise MalformedError("it has another schema than this version writes")
    cleared_at = record.integer("clearedAt") if record.has("clearedAt") else None
    return _Tables(cleared_at, {table: _read_rows(record, table) for table in _TABLES})


def _read_rows(record: Record, table: str) -> dict[_Key, Noted]:
    rows: dict[_Key, Noted] = {}
    for key, numbers in record.part(table, open_record).members.items():
        what = f"a row of {table}"
        how, place = _read_key(key, what)
        if not isinstance(numbers, list) or len(numbers) != len(_NUMBERS):
            raise MalformedError(f"{what} is not of its form")
        row = Record(what, dict(zip(_NUMBERS, numbers, strict=True)))
        rows[how, place] = Noted(how, place, row.integer("first"), row.integer("last"), row.integer("count", minimum=1))
    return rows


def _write_key(how: str, place: Place | None) -> str:
    return f"{how} {_UNKNOWN if place is None else '/'.join(place.ids)}"


def _read_key(text: str, what: str) -> _Key:
    how, _, ids = text.partition(" ")
    try:
        if _WORD.fullmatch(how):
            return how, _read_place(ids)
    except ValueError:
        pass  # As below.
    raise MalformedError(f"{what} is not of its form")


def _read_place(text: str) -> Place | None:
    if text == _UNKNOWN:
        return None
    vault_id, item_id, field_id, *more = [*(text.split("/") if text else []), None, None, None]
    if any(more):
        raise ValueError("more than three ids")
    return Place(vault_id, item_id, field_id)


_EVENT: Final = ("table", "key", "time")
_FORM: Final[Form[_Tables]] = Form(_Tables, _parse, _dump, _fold)
