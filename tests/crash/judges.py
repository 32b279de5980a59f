"""Who judges after each death of one operation: restarts, asserts, and counts what was seen.

What this file does not do: break anything. What holds for all of them is in ``invariants``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from .dying import Death
from .enumeration import Point, Tally, Work
from .invariants import Remembered, leftovers, require_whole
from .small_world import SmallWorld, read_everything


class Judge:
    """Counts what was seen over all points of one operation.

    Args:
        before: What was remembered before the operation.
    """

    def __init__(self, before: Remembered) -> None:
        self.before = before
        self.outcomes: Counter[str] = Counter()
        self.left: Counter[str] = Counter()

    def note(self, world: SmallWorld, outcome: str) -> None:
        """Count one outcome and its leftovers."""
        self.outcomes[outcome] += 1
        self.left += leftovers(world)

    def report(self, name: str, tally: Tally, *, fewest: int) -> None:
        """Print the numbers, and fail with every point that failed.

        Args:
            name: Of the operation.
            tally: What was done.
            fewest: How many deaths there are at least, so that an enumeration can't silently become empty.
        """
        print(tally.line(name))  # noqa: T201 - the numbers are what the run is for
        print(f"  outcomes {dict(self.outcomes)}; left behind {dict(self.left)}")  # noqa: T201 - as above
        assert not tally.failures, "\n".join(tally.failures)
        assert tally.deaths.total() >= fewest


class RotationJudge(Judge):
    """After a rotation died: one key is active, it is ours, and the old one is kept."""

    async def __call__(self, world: SmallWorld, point: Point) -> None:
        """Restart and assert."""
        assert world.journal() or not point.is_sent, "a request left before it was in the journal"
        found = await require_whole(world, self.before)
        assert found == world.values
        switched = world.active_fingerprint() == world.spare_keys[0].public.fingerprint
        kept = world.kept_keys()
        retired = [key for name, key in kept.items() if ".retired-" in name]
        staged = [key for name, key in kept.items() if ".next-" in name]
        assert len(retired) == int(switched)
        assert len(staged) <= 1
        # A staged copy outlives its rotation only if nobody heard of it, or if the power cut undid its removal.
        assert not (switched and staged) or point.death is Death.POWER_CUT
        self.note(world, "new key" if switched else "old key")


class WriteJudge(Judge):
    """After a write died: exactly one if it was begun, none or one if not, and exactly one after a retry.

    Args:
        before: What was remembered before.
        again: The write, asked for again.
        made: What can be read once it is there.
    """

    def __init__(self, before: Remembered, again: Work, made: Mapping[str, str]) -> None:
        super().__init__(before)
        self._again = again
        self._made = made

    async def __call__(self, world: SmallWorld, point: Point) -> None:
        """Restart and assert; every other time the caller asks again before anything was settled."""
        begun = len(world.journal())
        assert begun <= 1
        assert begun or not point.is_sent, "a request left before it was in the journal"
        if begun and point.number % 2:
            async with world.runtime() as rooms:
                await self._again(world, rooms)
        found = await require_whole(world, self.before, self._made)
        there = self._made.items() <= found.items()
        assert there or not begun, "a write that was begun was not finished"
        if not there:
            # Where it is there, the gate refuses a second one of that name.
            async with world.runtime() as rooms:
                await self._again(world, rooms)
                found = await read_everything(rooms.reader)
        assert found == {**world.values, **self._made}
        self.note(world, ("finished by the restart" if begun else "was finished") if there else "never begun")


class RefusalJudge(Judge):
    """After a rotation died that the service refuses: the old key goes on, or the service accepts it at last."""

    async def __call__(self, world: SmallWorld, point: Point) -> None:
        """Restart where the service refuses no more, and assert."""
        world.tap.intercept = None
        entries, staged = world.journal(), list(world.keys.glob("*.next-*.pem"))
        if point.call is None and point.death is Death.KILL:
            assert (entries, staged) == ((), []), "a refusal that was heard is not settled"
            assert leftovers(world) == {"refused key": 1}
        if entries and not staged:
            # It died between setting the refused key aside and settling its entry.
            async with world.runtime() as rooms:
                await rooms.recovery.settle(writes=True, needs_key=True)
                if rooms.rotation.unresolved is not None:
                    self.outcomes["needed a person"] += 1
                    await rooms.rotation.abandon()
        assert await require_whole(world, self.before) == world.values
        self.note(world, "new key" if world.kept_keys() and not leftovers(world)["refused key"] and entries else "old key")


class ReadingJudge(Judge):
    """After a read died while it noted what it had verified: nothing is behind, and the next read goes through.

    Args:
        before: What was remembered before.
        readable: What can be read.
    """

    def __init__(self, before: Remembered, readable: Mapping[str, str]) -> None:
        super().__init__(before)
        self._readable = readable

    async def __call__(self, world: SmallWorld, _: Point) -> None:
        """Restart and assert."""
        assert await require_whole(world, self.before) == self._readable
        self.note(world, "read again")


class RegistrationJudge(Judge):
    """After a registration died: the agent has exactly one key, and it is ours."""

    async def __call__(self, world: SmallWorld, _: Point) -> None:
        """Restart and assert."""
        registered = world.active_fingerprint()
        assert registered in {None, world.key_on_disk().public.fingerprint}
        assert await require_whole(world, self.before) == {}
        with world.store.read() as db:
            (keys,) = db.execute("SELECT count(*) FROM signing_keys WHERE owner_id = ?", (world.agent_id,)).fetchone()
        assert keys == 1
        self.note(world, "registered by the restart" if registered is None else "was registered")
