"""Group commit: calls that wait for the same file while it is written share the next write.

What this file does not do: know what is written.

Rules:
1. A request is answered only after the work that it was part of is done; if that failed, each of its requests gets the error.
2. Work is done in a worker thread, one at a time. Who comes first takes along everybody who comes until its turn.
3. What a cancelled caller asked for may still be done: its request may be on its way with those of others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import anyio

from r4_mcp.errors import R4Error

RequestT = TypeVar("RequestT")
AnswerT = TypeVar("AnswerT")


@dataclass(slots=True, eq=False)
class _Group(Generic[RequestT, AnswerT]):
    """Requests that share a write, and what they are answered once it is done."""

    requests: list[RequestT] = field(default_factory=list)
    done: anyio.Event = field(default_factory=anyio.Event)
    outcome: Sequence[AnswerT] | R4Error | None = None


class GroupCommit(Generic[RequestT, AnswerT]):
    """Collects requests, and has them done together.

    Args:
        work: Does them, in a thread; returns an answer for each, in their order.
    """

    def __init__(self, work: Callable[[Sequence[RequestT]], Sequence[AnswerT]]) -> None:
        self._work = work
        self._turn = anyio.Lock(fast_acquire=True)
        self._open: _Group[RequestT, AnswerT] | None = None

    async def submit(self, request: RequestT) -> AnswerT:
        """Have one request done, with whatever waits at the same time.

        Raises:
            R4Error: The work failed (rule 1).
        """
        group = self._open
        if group is not None:
            group.requests.append(request)
            number = len(group.requests) - 1
            await group.done.wait()
        else:
            group = self._open = _Group([request])
            number = 0
            # The others depend on it, so a cancellation waits (rule 3).
            with anyio.CancelScope(shield=True):
                await self._lead(group)
        if isinstance(group.outcome, R4Error):
            # Without the trace of whoever was told before.
            raise group.outcome.with_traceback(None)
        if group.outcome is None:
            message = "the work that a request was part of ended unexpectedly; its first caller knows why"
            raise AssertionError(message)
        return group.outcome[number]

    async def _lead(self, group: _Group[RequestT, AnswerT]) -> None:
        try:
            async with self._turn:
                self._open = None
                group.outcome = await anyio.to_thread.run_sync(self._work, group.requests)
        except R4Error as error:
            group.outcome = error
        finally:
            # Also where a cancellation came that no scope shields from: nobody may join what nobody leads.
            if self._open is group:
                self._open = None
            group.done.set()
