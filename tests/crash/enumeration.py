"""Every point at which an operation can die: counted once, then died at one by one.

What this file does not do: know what must hold afterwards; the operations bring that along.

Rules:
1. A first run counts the calls. Then one run for each call and each moment; a last one dies after the operation.
2. Dying after a call of the operating system leaves what dying before the next call leaves, so ``AFTER`` is run for requests
   only: the service acted, and its reply was never seen. A write also dies half way.
3. A point where something was unsynced is run again with a power cut; anywhere else a power cut leaves what a kill leaves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from r4_mcp.errors import R4Error
from r4_mcp.vault.runtime import VaultRuntime

from .conftest import WARM
from .dying import Call, Death, KilledError, Moment, Mortal, living
from .small_world import SmallWorld

Work = Callable[[SmallWorld, VaultRuntime], Awaitable[None]]
Prepare = Callable[[SmallWorld], Awaitable[None]]
Judge = Callable[[SmallWorld, "Point"], Awaitable[None]]


async def _nothing(_: SmallWorld) -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Operation:
    """What dies.

    Attributes:
        work: What one process does, after it has settled what an earlier one left.
        state: The state that it starts from.
        prepare: What happens before it, while nobody can die.
    """

    work: Work
    state: str = WARM
    prepare: Prepare = _nothing


@dataclass(frozen=True)
class Point:
    """Where and how a run dies: at its call of this number, from 1."""

    number: int
    moment: Moment
    death: Death


@dataclass
class Tally:
    """What an enumeration did and found."""

    calls: Sequence[Call]
    deaths: Counter[Death] = field(default_factory=Counter)
    unanswered: int = 0
    failures: list[str] = field(default_factory=list)

    def line(self, name: str) -> str:
        """Say it in one line."""
        kinds = Counter("request" if call.is_request else call.kind for call in self.calls)
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        return (
            f"{name}: {len(self.calls)} calls ({told}); {self.deaths[Death.KILL]} kills, {self.unanswered} of them between a"
            f" request's action and its reply; {self.deaths[Death.POWER_CUT]} power cuts"
        )


def points_of(calls: Sequence[Call]) -> Iterator[Point]:
    """Return every point of a counted run, to be killed at (rules 1 and 2)."""
    for number, call in enumerate(calls, 1):
        yield Point(number, Moment.BEFORE, Death.KILL)
        if call.is_request:
            yield Point(number, Moment.AFTER, Death.KILL)
        if call.kind == "write":
            yield Point(number, Moment.TORN, Death.KILL)
    yield Point(len(calls) + 1, Moment.BEFORE, Death.KILL)


async def run_once(world: SmallWorld, operation: Operation, point: Point | None) -> Mortal:
    """Run an operation from its state, to its end or to its death."""
    world.put_back(operation.state)
    await operation.prepare(world)
    roots = (world.home.resolve(), world.keys.resolve())
    process = Mortal(roots) if point is None else Mortal(roots, point.number, point.moment, point.death)
    finished = False
    with living(process):
        try:
            async with world.runtime() as rooms:
                # As the gate does before each call.
                await rooms.recovery.settle(writes=True, needs_key=True)
                await operation.work(world, rooms)
                finished = True
        except (KilledError, BaseExceptionGroup, R4Error) as error:
            # What a dead process thinks of its death is nobody's business; a living one has none.
            if not process.dead:
                raise AssertionError(process.calls[-3:]) from error
        assert not (finished and process.dead), "it went on after its death"
        if point is not None and not process.dead:
            process.strike()
    world.service.settle()
    return process


async def die_everywhere(world: SmallWorld, operation: Operation, judge: Judge) -> Tally:
    """Die at every point; ``judge`` restarts each time, and asserts what must hold."""
    calls = tuple((await run_once(world, operation, None)).calls)
    await judge(world, Point(0, Moment.AFTER, Death.KILL))
    tally = Tally(calls)
    for point in points_of(calls):
        process = await _die(world, operation, judge, point, tally)
        if process.at_risk:
            await _die(world, operation, judge, replace(point, death=Death.POWER_CUT), tally)
    return tally


async def _die(world: SmallWorld, operation: Operation, judge: Judge, point: Point, tally: Tally) -> Mortal:
    process = await run_once(world, operation, point)
    tally.deaths[point.death] += 1
    tally.unanswered += point.moment is Moment.AFTER
    try:
        await judge(world, point)
    except (AssertionError, R4Error) as error:
        where = process.calls[point.number - 1] if point.number <= len(process.calls) else "the end"
        said = error.message if isinstance(error, R4Error) else str(error)
        tally.failures.append(f"{point.death.value} {point.moment.value} call {point.number} ({where}): {said}")
    return process
