"""The reveal budget: how many fields may be revealed before a person is asked.

What this file does not do: ask, or refuse. It says whether a reveal is within; the gate turns "no" into asking a person.

Rules:
1. Two limits: fields of one connection, which is one ``RevealBudget``, and fields of an hour, counted over all processes of one
   service and agent, because a process may live for one call only. What is not within both spends nothing.
2. The hour is a window that slides: a field counts until 3,600 seconds after it was spent. What was spent is kept in a file, read
   and replaced under a lock, so that two processes never both get the last one.
3. A file that can't be read or is damaged is an error, never a fresh budget. That it is absent means that nothing was spent;
   whoever may remove it could as well change this program.
4. A clock that jumps back: what was spent in its future counts as spent now, and is written so, whether or not the call was
   within. So the jump neither gives a fresh budget nor locks anybody out for longer than an hour. What has left the window is
   kept as long as there is room, and counts again if the clock returns to it. (A jump forward looks like time that passed.)
5. Limits may change under a running connection; what was spent stays spent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final, Literal

from r4_mcp.core.encoding import MAX_INT, Json, compact_json, parse_json
from r4_mcp.core.record import Record, exact
from r4_mcp.errors import FileAccessError, MalformedError
from r4_mcp.vault.journal import owner_hash
from r4_mcp.vault.locked_file import LockedFile

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

    Calls block for the time of two syncs to disk: async callers use a thread.

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
        self._file = LockedFile(folder / f"budget-{owner_hash(owner)}.json", _MAX_SIZE)
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
        return self._spend(count, always=False)

    def charge(self, count: int = 1) -> None:
        """Spend fields whether or not they are within: for a screening hit, and for what a person allowed beyond the budget.

        Args:
            count: How many fields, at least one.

        Raises:
            FileAccessError: As ``spend``. This connection is charged all the same.
            BusyError: Another process held the file for ten seconds.
            ValueError: Less than one field.
        """
        self._spend(count, always=True)

    def _spend(self, count: int, *, always: bool) -> Spent:
        if count < 1:
            raise ValueError("less than one field can't be spent")
        with self._turn:
            if always:
                self._connection += count
            elif self._connection + count > self._per_connection:
                return Spent(within=False, which="connection", limit=self._per_connection)
            within = self._spend_hour(count, always=always)
            if within and not always:
                self._connection += count
        return Spent(within=within, which=None if within else "hour", limit=self._per_hour)

    def _spend_hour(self, count: int, *, always: bool) -> bool:
        with self._file.locked():
            now = min(max(int(self._clock() * 1000), 0), MAX_INT)
            kept = self._read()
            times = [min(time, now) for time in kept]
            spent = sum(now - time < _HOUR for time in times)
            within = always or spent + count <= self._per_hour
            if within:
                times = [*times, *[now] * min(count, MAX_PER_HOUR)][-MAX_PER_HOUR:]
            if times != kept:
                self._file.replace(compact_json({"schema": _SCHEMA, "spentAt": times}).encode("ascii") + b"\n")
        return within

    def _read(self) -> list[int]:
        raw = self._file.read()
        if raw is None:
            return []
        try:
            return _parse(raw)
        except MalformedError as error:
            raise FileAccessError(
                f"{self._file.path} is damaged: {error.message}",
                next_step="Look how that came about, then remove the file: the budget of the last hour is whole again.",
            ) from None


def _parse(raw: bytes) -> list[int]:
    record = exact(parse_json(raw, what="it"), "it", frozenset({"schema", "spentAt"}))
    if record.integer("schema") != _SCHEMA:
        raise MalformedError("it has another schema than this version writes")
    return list(record.parts("spentAt", _read_time))


def _read_time(value: Json, what: str) -> int:
    return Record(what, {"time": value}).integer("time")
