"""The reveal budget: how many fields may be revealed before a person is asked.

What this file does not do: ask, or refuse. It says whether a reveal is within; the gate turns "no" into asking a person.

Rules:
1. Two limits: fields of one connection, which is one ``RevealBudget``, and fields of an hour, counted over all processes of one
   service and agent, because a process may live for one call only. What is not within both spends nothing.
2. The hour is a window that slides: a field counts until 3,600 seconds after it was spent. What was spent is kept in a file, read
   and added to under a lock, so that two processes never both get the last one.
3. A file that can't be read or is damaged is an error, never a fresh budget. That it is absent means that nothing was spent;
   whoever may remove it could as well change this program.
4. A clock that jumps back: what was spent in its future counts as spent now, and is written so, whether or not the call was
   within. So the jump neither gives a fresh budget nor locks anybody out for longer than an hour. What has left the window is
   kept as long as there is room, and counts again if the clock returns to it. (A jump forward looks like time that passed.)
5. Limits may change under a running connection; what was spent stays spent.
6. Attempts that are made together are judged one after the other, as if each had come alone, and spent in one write.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final, Literal

from r4_mcp.core.encoding import MAX_INT, Json, compact_json, parse_json
from r4_mcp.core.record import Record, exact
from r4_mcp.errors import FileAccessError, MalformedError
from r4_mcp.vault.event_file import EventFile, Form
from r4_mcp.vault.journal import owner_hash

PER_CONNECTION: Final = 20
PER_HOUR: Final = 60
MAX_PER_HOUR: Final = 1_000
"""The highest limit that can be set, and how many times are kept."""

_HOUR: Final = 3_600_000
_MAX_SIZE: Final = 64 * 1024
_SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class Spent:
    """What an attempt to spend came to.

    Attributes:
        within: Whether the fields were within the budget, and are spent now.
        which: The limit that they were not within.
        limit: That limit, in fields; the hour's where ``within`` is true.
    """

    within: bool
    which: Literal["connection", "hour"] | None
    limit: int


class RevealBudget:
    """What one connection may still reveal.

    Calls block for the time of a sync to disk: async callers use a thread.

    Args:
        folder: Where state is kept; made (0700) when first written.
        owner: Service address and access key.
        clock: Seconds since 1970.
        per_connection: Fields of one connection.
        per_hour: Fields of an hour, 0 to ``MAX_PER_HOUR``.

    Raises:
        ValueError: A limit is out of its range.
    """

    def __init__(
        self,
        folder: Path,
        owner: tuple[str, str],
        clock: Callable[[], float],
        per_connection: int = PER_CONNECTION,
        per_hour: int = PER_HOUR,
    ) -> None:
        self._file = EventFile(folder / f"budget-{owner_hash(owner)}.json", _MAX_SIZE, _FORM)
        self._clock = clock
        self._connection = 0
        self._turn = Lock()
        self.limit(per_connection, per_hour)

    def limit(self, per_connection: int, per_hour: int) -> None:
        """Take other limits from now on (rule 5).

        Args:
            per_connection: Fields of one connection.
            per_hour: Fields of an hour, 0 to ``MAX_PER_HOUR``.

        Raises:
            ValueError: A limit is out of its range; those before stay.
        """
        if per_connection < 0 or not 0 <= per_hour <= MAX_PER_HOUR:
            raise ValueError(f"the reveal budget is not from 0 to {MAX_PER_HOUR}")
        with self._turn:
            self._per_connection = per_connection
            self._per_hour = per_hour

    def spend(self, count: int = 1) -> Spent:
        """Spend fields before they are revealed, if they are within (rule 1).

        Args:
            count: How many fields, at least one.

        Raises:
            FileAccessError: The file can't be read or written, or is damaged: reveal nothing.
            BusyError: Another process held it for ten seconds.
            ValueError: Less than one field.
        """
        return self._spend([count])[0]

    def spend_each(self, attempts: int) -> list[Spent]:
        """Spend one field for each of some attempts, if it is within (rule 6).

        Args:
            attempts: How many there are, at least one.

        Raises:
            FileAccessError: As ``spend``, for all of them.
            BusyError: As ``spend``.
        """
        return self._spend([1] * attempts)

    def charge(self, count: int = 1) -> None:
        """Spend fields whether or not they are within: for a screening hit, and for what a person allowed beyond the budget.

        Args:
            count: How many fields, at least one.

        Raises:
            FileAccessError: As ``spend``. This connection is charged all the same.
            BusyError: Another process held the file for ten seconds.
            ValueError: Less than one field.
        """
        _require_fields([count])
        with self._turn:
            self._connection += count
            with self._file.locked():
                self._write(self._read(), count)

    def _spend(self, counts: Sequence[int]) -> list[Spent]:
        _require_fields(counts)
        with self._turn:
            if self._connection + min(counts) > self._per_connection:
                return [Spent(within=False, which="connection", limit=self._per_connection) for _ in counts]
            with self._file.locked():
                hour = self._read()
                outcomes = self._judged(counts, hour.spent)
                granted = sum(count for count, outcome in zip(counts, outcomes, strict=True) if outcome.within)
                self._write(hour, granted)
            self._connection += granted
        return outcomes

    def _judged(self, counts: Sequence[int], hour: int) -> list[Spent]:
        outcomes, connection = [], self._connection
        for count in counts:
            if connection + count > self._per_connection:
                outcomes.append(Spent(within=False, which="connection", limit=self._per_connection))
            elif hour + count > self._per_hour:
                outcomes.append(Spent(within=False, which="hour", limit=self._per_hour))
            else:
                hour, connection = hour + count, connection + count
                outcomes.append(Spent(within=True, which=None, limit=self._per_hour))
        return outcomes

    def _read(self) -> _Times:
        now = min(max(int(self._clock() * 1000), 0), MAX_INT)
        try:
            return _Times(now, self._file.read())
        except MalformedError as error:
            raise FileAccessError(
                f"{self._file.path} is damaged: {error.message}",
                next_step="Look how that came about, then remove the file: the budget of the last hour is whole again.",
            ) from None

    def _write(self, times: _Times, granted: int) -> None:
        if times.counting != times.kept:
            self._file.replace([*times.counting, *[times.now] * min(granted, MAX_PER_HOUR)][-MAX_PER_HOUR:])
        elif granted:
            self._file.append([compact_json([times.now, min(granted, MAX_PER_HOUR)]).encode("ascii")])


class _Times:
    """When fields were spent, as of a time.

    Args:
        now: That time, in milliseconds since 1970.
        kept: What the file holds; never changed.
    """

    def __init__(self, now: int, kept: list[int]) -> None:
        self.now = now
        self.kept = kept
        # Rule 4.
        self.counting = [min(time, now) for time in kept] if max(kept, default=0) > now else kept
        # Up to a thousand: they are in order already, and are not looked at one by one.
        self.spent = len(kept) - bisect_right(sorted(self.counting), now - _HOUR)


def _require_fields(counts: Sequence[int]) -> None:
    if min(counts) < 1:
        raise ValueError("less than one field can't be spent")


def _parse(raw: bytes) -> list[int]:
    record = exact(parse_json(raw, what="it"), "it", frozenset({"schema", "spentAt"}))
    if record.integer("schema") != _SCHEMA:
        raise MalformedError("it has another schema than this version writes")
    return list(record.parts("spentAt", _read_time))


def _read_time(value: Json, what: str) -> int:
    return Record(what, {"time": value}).integer("time")


def _dump(times: list[int]) -> bytes:
    return compact_json({"schema": _SCHEMA, "spentAt": times}).encode("ascii")


def _fold(times: list[int], event: bytes) -> None:
    """Spend so many fields at a time: both are what an event is."""
    numbers = parse_json(event, what="an event of it")
    if not isinstance(numbers, list) or len(numbers) != len(_EVENT):
        raise MalformedError("an event of it is not of its form")
    record = Record("an event of it", dict(zip(_EVENT, numbers, strict=True)))
    times += [record.integer("time")] * min(record.integer("fields", minimum=1), MAX_PER_HOUR)
    del times[:-MAX_PER_HOUR]


_EVENT: Final = ("time", "fields")
_FORM: Final[Form[list[int]]] = Form(list, _parse, _dump, _fold)
