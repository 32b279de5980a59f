"""Several calls at once: results in order, one plain error, nothing left running."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import pytest

from r4_mcp.errors import NotFoundError, R4Error, SignatureError
from r4_mcp.vault.concurrently import gather, map_bounded

PATIENCE = 10


class Tally:
    """How many calls run at once, and what became of them."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.started: list[int] = []
        self.cancelled: list[int] = []

    async def linger(self, number: int) -> None:
        """Wait for ever, and note the cancellation."""
        self.started.append(number)
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            self.cancelled.append(number)
            raise

    async def count(self, number: int) -> int:
        """Let the others in before returning, and note how many there are."""
        self.running += 1
        self.most = max(self.most, self.running)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        self.running -= 1
        return number * 10


async def fail(error: BaseException) -> None:
    """Raise after the others have started."""
    await anyio.lowlevel.checkpoint()
    raise error


async def test_both_results_come_back_in_their_places() -> None:
    """Whichever is first to end."""
    first_may_end = anyio.Event()

    async def first() -> str:
        await first_may_end.wait()
        return "first"

    async def second() -> int:
        first_may_end.set()
        return 2

    with anyio.fail_after(PATIENCE):
        assert await gather(first, second) == ("first", 2)


@pytest.mark.parametrize("failing", ["first", "second"])
@pytest.mark.parametrize("error", [NotFoundError("gone"), ValueError("a bug")], ids=["ours", "not ours"])
async def test_the_error_comes_out_as_itself_and_the_other_is_cancelled(failing: str, error: Exception) -> None:
    """Not in a group, the very object that was raised; the sibling does not go on."""
    tally = Tally()
    calls: list[Callable[[], Awaitable[None]]] = [partial(fail, error), partial(tally.linger, 1)]
    if failing == "second":
        calls.reverse()
    with anyio.fail_after(PATIENCE), pytest.raises(type(error)) as refused:
        await gather(*calls)
    assert refused.value is error
    assert (tally.started, tally.cancelled) == ([1], [1])


@pytest.mark.parametrize("order", [0, 1])
async def test_our_error_comes_before_what_a_cancelled_sibling_raised(order: int) -> None:
    """A sibling that fails while it is cancelled adds noise, and noise loses."""

    async def noisy() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            message = "noise"
            raise RuntimeError(message)

    calls: list[Callable[[], Awaitable[None]]] = [partial(fail, SignatureError("it does not verify")), noisy]
    with anyio.fail_after(PATIENCE), pytest.raises(SignatureError, match="it does not verify"):
        await gather(calls[order], calls[1 - order])


async def test_a_nested_error_comes_out_as_itself() -> None:
    """Calls that run calls of their own: still one plain error."""
    error = NotFoundError("gone")
    tally = Tally()

    async def inner() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail, error)
            tasks.start_soon(tally.linger, 1)

    with anyio.fail_after(PATIENCE), pytest.raises(R4Error) as refused:
        await gather(inner, partial(tally.linger, 2))
    assert refused.value is error
    assert sorted(tally.cancelled) == [1, 2]


async def test_a_caller_that_is_cancelled_cancels_its_calls() -> None:
    """A scope around both reaches both."""
    tally = Tally()

    async def end(scope: anyio.CancelScope) -> None:
        while len(tally.started) < 2:
            await anyio.lowlevel.checkpoint()
        scope.cancel()

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:
                tasks.start_soon(end, scope)
                await gather(partial(tally.linger, 1), partial(tally.linger, 2))
    assert scope.cancelled_caught
    assert sorted(tally.cancelled) == [1, 2]


@pytest.mark.parametrize("limit", [1, 3, 20])
async def test_results_keep_the_order_of_inputs_within_the_limit(limit: int) -> None:
    """At most so many at once, really that many where there is enough to do, and results as if one by one."""
    tally = Tally()
    with anyio.fail_after(PATIENCE):
        assert await map_bounded(tally.count, list(range(12)), limit) == [number * 10 for number in range(12)]
    assert tally.most == min(limit, 12)


async def test_results_do_not_depend_on_who_ends_first() -> None:
    """The last to start ends first, and still comes last."""
    gates = [anyio.Event() for _ in range(3)]
    gates[2].set()

    async def wait(number: int) -> int:
        await gates[number].wait()
        if number:
            gates[number - 1].set()
        return number

    with anyio.fail_after(PATIENCE):
        assert await map_bounded(wait, [0, 1, 2], 3) == [0, 1, 2]


async def test_nothing_to_do_is_done_at_once() -> None:
    """No input, no result."""
    assert await map_bounded(Tally().count, [], 4) == []


async def test_the_first_error_stops_the_rest() -> None:
    """It comes out as itself; who runs is cancelled, who waits is not let in."""
    tally, error = Tally(), NotFoundError("gone")

    async def call(number: int) -> None:
        await (fail(error) if number == 1 else tally.linger(number))

    with anyio.fail_after(PATIENCE), pytest.raises(NotFoundError) as refused:
        await map_bounded(call, list(range(10)), 2)
    assert refused.value is error
    assert tally.started == sorted(tally.cancelled)
    # The slot that the failing call gives back may let one more begin; it gets no further than its first wait.
    assert tally.started in ([0], [0, 2])
