"""Every point at which an operation can die: counted once, then died at one by one.

What this file does not do: know what must hold afterwards; the operations bring that along.

Rules:
1. A first run counts the calls. Then each run dies at one of them, before it or after it; a write dies half way, too; the last
   one dies after the operation. After a request means: the service acted, and its reply was never seen.
2. Where something is unsynced, the point is run again with a power cut; anywhere else a power cut leaves what a kill leaves.
3. Syncing, closing, opening what exists and asking change nothing that outlives the process, and dying after a call of the
   operating system leaves what dying before the next one leaves. These points repeat others; they are run where every call is
   asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from r4_mcp.errors import R4Error
from r4_mcp.vault.runtime import VaultRuntime

from .conftest import WARM
from .dying import Call, Death, KilledError, Moment, Mortal
from .small_world import SmallWorld
from .watching import living

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
    """Where and how a run dies.

    Attributes:
        number: Number of the deadly call, from 1.
        moment: Before it, after it, or half way.
        death: What kills.
        call: What the run died at; before it ran, what the counted run says. None after the last one.
    """

    number: int
    moment: Moment
    death: Death
    call: Call | None = None

    @property
    def is_sent(self) -> bool:
        """Whether it dies at a request that changes something."""
        return self.call is not None and self.call.is_request and self.call.changes


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


def points_of(calls: Sequence[Call], *, every_call: bool) -> Iterator[Point]:
    """Return the points of a counted run, to be killed at (rules 1 to 3)."""
    for number, call in enumerate(calls, 1):
        if not (call.changes or every_call):
            continue
        yield Point(number, Moment.BEFORE, Death.KILL, call)
        if call.is_request or every_call:
            yield Point(number, Moment.AFTER, Death.KILL, call)
        if call.kind == "write":
            yield Point(number, Moment.TORN, Death.KILL, call)
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


async def die_everywhere(world: SmallWorld, operation: Operation, judge: Judge, *, every_call: bool) -> Tally:
    """Die at every point; ``judge`` restarts each time, and asserts what must hold.

    Args:
        world: Where.
        operation: What dies.
        judge: Asserts.
        every_call: Whether calls count that leave nothing new behind (rule 3).
    """
    calls = tuple((await run_once(world, operation, None)).calls)
    await judge(world, Point(0, Moment.AFTER, Death.KILL))
    tally = Tally(calls)
    for point in points_of(calls, every_call=every_call):
        process = await _die(world, operation, judge, point, tally)
        if process.at_risk and (every_call or point.moment is Moment.BEFORE):
            await _die(world, operation, judge, replace(point, death=Death.POWER_CUT), tally)
    return tally


async def _die(world: SmallWorld, operation: Operation, judge: Judge, point: Point, tally: Tally) -> Mortal:
    process = await run_once(world, operation, point)
    # Concurrent requests make this run's calls differ from the counted one's: what it died at is what is judged.
    point = replace(point, call=process.calls[point.number - 1] if point.number <= len(process.calls) else None)
    tally.deaths[point.death] += 1
    tally.unanswered += point.moment is Moment.AFTER
    try:
        await judge(world, point)
    except (AssertionError, R4Error) as error:
        said = error.message if isinstance(error, R4Error) else str(error)
        where = point.call or "the end"
        tally.failures.append(f"{point.death.value} {point.moment.value} call {point.number} ({where}): {said}")
    return process
