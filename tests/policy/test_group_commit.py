"""Calls that wait for one file share its writes: each is answered for itself, after its own write."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from threading import Event

import anyio
import pytest

from r4_mcp.errors import FileAccessError
from r4_mcp.policy.group_commit import GroupCommit

CALLS = 64


class Writes:
    """Work that notes its groups, and waits where it is told to."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.go_on = Event()
        self.go_on.set()

    def __call__(self, requests: Sequence[int]) -> list[int]:
        """Answer each number with its double; a negative one fails them all."""
        assert self.go_on.wait(10)
        self.groups.append(list(requests))
        if min(requests) < 0:
            raise FileAccessError("the disk is full")
        return [2 * number for number in requests]


async def test_everybody_gets_their_own_answer() -> None:
    """Those who wait while the first one writes are the second group; nobody is left over."""
    writes = Writes()
    group = GroupCommit(writes)
    answers: dict[int, int] = {}

    async def call(number: int) -> None:
        answers[number] = await group.submit(number)

    async with anyio.create_task_group() as tasks:
        for number in range(CALLS):
            tasks.start_soon(call, number)
    assert answers == {number: 2 * number for number in range(CALLS)}
    assert [number for requests in writes.groups for number in requests] == list(range(CALLS))
    assert len(writes.groups) <= 2
    assert await group.submit(7) == 14


async def test_a_failure_is_everybodys_who_shared_it_and_nobody_elses() -> None:
    """Each of them gets the error; the next one is served."""
    writes = Writes()
    writes.go_on.clear()
    group = GroupCommit(writes)
    failed: list[int] = []

    async def call(number: int) -> None:
        try:
            assert await group.submit(number) == 2 * number
        except FileAccessError:
            failed.append(number)

    async with anyio.create_task_group() as tasks:
        for number in (1, 2, -3, 4):
            tasks.start_soon(call, number)
        await anyio.wait_all_tasks_blocked()
        writes.go_on.set()
    (requests,) = [requests for requests in writes.groups if -3 in requests]
    assert set(failed) == set(requests)
    assert await group.submit(5) == 10


@pytest.mark.parametrize("cancelled", [0, 1, 2], ids=["who writes", "who leads the next", "who waits"])
async def test_a_cancelled_call_takes_nobody_along(cancelled: int) -> None:
    """Whatever its part was, the others are answered, and so is who comes later."""
    writes = Writes()
    writes.go_on.clear()
    group = GroupCommit(writes)
    answers: dict[int, int] = {}
    scopes = [anyio.CancelScope() for _ in range(4)]

    async def call(number: int) -> None:
        with scopes[number]:
            answers[number] = await group.submit(number)

    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(call, number)
            await anyio.wait_all_tasks_blocked()
        scopes[cancelled].cancel()
        await anyio.wait_all_tasks_blocked()
        writes.go_on.set()
    assert answers.keys() >= {0, 1, 2, 3} - {cancelled}
    assert all(answer == 2 * number for number, answer in answers.items())
    assert await group.submit(9) == 18


async def test_a_leader_that_is_taken_away_leaves_nobody_waiting() -> None:
    """A cancellation of asyncio's own knows no shield. It comes while the leader waits for its turn; the next call is served."""
    writes = Writes()
    writes.go_on.clear()
    group = GroupCommit(writes)
    first = asyncio.ensure_future(group.submit(1))
    await asyncio.sleep(0.05)
    leader = asyncio.ensure_future(group.submit(2))
    await asyncio.sleep(0.05)
    leader.cancel()
    await asyncio.wait([leader])
    writes.go_on.set()
    with anyio.fail_after(10):
        assert (await first, await group.submit(3)) == (2, 6)
    assert leader.cancelled()
