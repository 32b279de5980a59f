"""Identical fetches are shared: whoever asks while one is under way gets its outcome.

What this file does not do: keep anything once the last of them was answered.

Rules:
1. One caller fetches, with its own deadline and cancellation; if it is cancelled, the next one fetches.
2. Who asked before a fetch failed gets that failure; who asks later fetches anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import anyio

from r4_mcp.errors import R4Error

ValueT = TypeVar("ValueT")


@dataclass(slots=True)
class _Flight(Generic[ValueT]):
    """One fetch, and who waits for it."""

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    waiting: int = 0
    outcome: ValueT | R4Error | None = None


class SharedFetch(Generic[ValueT]):
    """Fetches by name; ``ValueT`` is never None."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[ValueT]] = {}

    async def get(self, name: Hashable, fetch: Callable[[], Awaitable[ValueT]]) -> ValueT:
        """Fetch, or wait for the one who does.

        Args:
            name: What is fetched.
            fetch: Fetches it.

        Raises:
            R4Error: The fetch failed.
        """
        flight = self._flights.setdefault(name, _Flight())
        flight.waiting += 1
        try:
            async with flight.lock:
                if flight.outcome is None:
                    flight.outcome = await _outcome(fetch)
                    # Rule 2: who comes from here on begins another flight.
                    self._flights.pop(name, None)
        finally:
            flight.waiting -= 1
            if not flight.waiting and self._flights.get(name) is flight:
                del self._flights[name]
        if isinstance(flight.outcome, R4Error):
            # Without the trace of whoever was told before.
            raise flight.outcome.with_traceback(None)
        return flight.outcome


class Answers:
    """Answers to one request: the first is fetched ahead, the next one when it is asked for again."""

    def __init__(self, ask: Callable[[], Awaitable[bytes]]) -> None:
        self._ask = ask
        self._ahead: bytes | None = None

    async def fetch(self) -> None:
        """Fetch ahead."""
        self._ahead = await self._ask()

    async def next(self) -> bytes:
        """Return the next answer."""
        ahead, self._ahead = self._ahead, None
        return await self._ask() if ahead is None else ahead


async def _outcome(fetch: Callable[[], Awaitable[ValueT]]) -> ValueT | R4Error:
    try:
        return await fetch()
    except R4Error as error:
        return error
