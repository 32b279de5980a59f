"""Rotations whose outcome is not clear: what settles by itself does, and nothing else is guessed."""

from __future__ import annotations

from functools import partial

import pytest
from starlette.responses import Response

from r4_mcp.errors import BusyError, KeyMismatchError, NetworkError, RotationUnresolvedError, VerificationError
from r4_mcp.server.explain import explain
from r4_mcp.vault.runtime import VaultRuntime
from tests.switchboard import Exchange
from tests.vault.rooms import draft
from tests.vault.test_lost_replies import BrokenOff

from .conftest import WARM
from .dying import Death, Moment
from .enumeration import Operation, Point, run_once
from .invariants import leftovers, remembered_on_disk, require_whole
from .losses import ROTATE, Lossy, forward, held, interrupt, quietly, rotate
from .small_world import SmallWorld, read_everything


async def test_an_answer_that_was_lost_is_found_out_at_once(small: SmallWorld) -> None:
    """The service acted: it says so when it is asked, nothing is sent twice, and the call succeeds."""
    network = small.tap.intercept = Lossy(small, unanswered=1)
    before = await remembered_on_disk(small)
    async with small.runtime() as rooms:
        done = await rotate(rooms)
        assert await read_everything(rooms.reader) == small.values
    assert not done.resumed
    assert len(network.bodies) == 1
    await require_whole(small, before)


async def test_a_request_that_never_arrived_is_sent_again_with_the_same_key(small: SmallWorld) -> None:
    """The service still has the old key: the same key under the same id is offered again, never a second one."""
    network = small.tap.intercept = Lossy(small, dropped=2)
    async with small.runtime() as rooms:
        await rotate(rooms)
    assert len(network.bodies) == 3
    assert len(set(network.key_ids)) == 1
    assert small.drawn == 1


async def test_a_service_that_stays_silent_leaves_both_keys_and_is_asked_again_later(small: SmallWorld) -> None:
    """The service acted and says nothing: a person is told to keep the files; when it answers, the next call finishes."""
    before = await remembered_on_disk(small)
    small.tap.intercept = Lossy(small, unanswered=1, silent=2)
    async with small.runtime() as rooms:
        with pytest.raises(RotationUnresolvedError) as caught:
            await rotate(rooms)
        told = explain(caught.value)
        assert told.code == "rotation_unresolved"
        assert told.message == "The service does not say which key is active."
        assert "Run `r4-mcp rotate-key` when the service answers" in told.next_step
        assert "Keep every key file" in told.next_step
        assert [name for name in small.kept_keys() if ".next-" in name]
        assert small.key_on_disk().public.fingerprint != small.active_fingerprint()
        # The first call afterwards gets no answer either and says why; the one after that finishes.
        await rooms.recovery.settle(writes=True, needs_key=True)
        assert isinstance(rooms.rotation.unresolved, RotationUnresolvedError)
        done = await rooms.recovery.settle(writes=True, needs_key=True)
        assert done is not None
        assert done.resumed
        assert await rooms.recovery.settle(writes=True, needs_key=True) is None, "it is told once"
        assert await read_everything(rooms.reader) == small.values
    await require_whole(small, before)


async def test_three_requests_that_never_arrive_leave_the_old_key_in_use(small: SmallWorld) -> None:
    """It is given up for now, as unresolved: one of them may still be on its way. The old key goes on."""
    small.tap.intercept = Lossy(small, dropped=3)
    async with small.runtime() as rooms:
        with pytest.raises(RotationUnresolvedError):
            await rotate(rooms)
        assert await read_everything(rooms.reader) == small.values
    await require_whole(small, {})
    assert small.active_fingerprint() == small.spare_keys[0].public.fingerprint


@pytest.mark.parametrize("acted", [True, False], ids=["the service acted", "the request never arrived"])
async def test_an_interrupted_rotation_is_finished_by_the_next_process(small: SmallWorld, *, acted: bool) -> None:
    """Sent again only where the service still has the old key, with the key that was staged."""
    await interrupt(small, acted=acted)
    await require_whole(small, await remembered_on_disk(small))
    assert small.tap.lines().count(ROTATE) == (0 if acted else 1)
    assert small.drawn == 1
    assert leftovers(small) == {"retired key": 1}


async def test_a_request_that_arrives_late_is_the_same_rotation(small: SmallWorld) -> None:
    """The first request reaches the service just before its repetition does: one new key, whichever of the two made it."""
    network = Lossy(small, dropped=1)
    late: list[int] = []

    async def overtaken(exchange: Exchange) -> Response | None:
        if network.bodies and exchange.line == ROTATE:
            late.append((await forward(small, exchange, network.bodies[0])).status_code)
        return await network(exchange)

    small.tap.intercept = overtaken
    async with small.runtime() as rooms:
        await rotate(rooms)
    assert late == [201]
    assert len(set(network.bodies)) == 2, "the repetition was built anew"
    assert len(set(network.key_ids)) == 1
    await require_whole(small, {})


async def test_a_service_that_went_back_before_it_was_read_back_is_asked_again(small: SmallWorld) -> None:
    """It accepted, then lost its memory of that: with the journal there, the same key is simply sent again."""
    await interrupt(small, acted=True)
    small.put_back_service(WARM)
    await require_whole(small, await remembered_on_disk(small))
    assert small.tap.lines().count(ROTATE) == 1
    assert small.drawn == 1


async def only_rotate(_: SmallWorld, rooms: VaultRuntime) -> None:
    """Rotate the key."""
    await rooms.rotation.rotate(quietly)


async def committed_but_not_switched(world: SmallWorld) -> None:
    """Die between the journal's ``committed`` and the switch of the key file."""
    calls = (await run_once(world, Operation(only_rotate), None)).calls
    number = max(index for index, call in enumerate(calls, 1) if str(call) == f"replace {world.key_file.name}")
    await run_once(world, Operation(only_rotate), Point(number, Moment.BEFORE, Death.KILL))
    (entry,) = world.journal()
    assert entry.body["state"] == "committed"
    assert world.key_on_disk().public.fingerprint != world.active_fingerprint()


async def test_a_rotation_that_was_read_back_is_switched_without_the_service(small: SmallWorld) -> None:
    """What is committed needs no answer: the key file is switched although the service is away."""
    await committed_but_not_switched(small)

    async def away(_: Exchange) -> Response:
        return BrokenOff()

    small.tap.intercept = away
    small.tap.exchanges.clear()
    async with small.runtime() as rooms:
        await rooms.recovery.settle(writes=True, needs_key=True)
    assert small.tap.lines() == []
    assert small.key_on_disk().public.fingerprint == small.active_fingerprint()


@pytest.mark.parametrize("switched", [True, False], ids=["the journal is gone", "the journal is there"])
async def test_a_service_that_went_back_after_it_was_read_back_is_refused(small: SmallWorld, *, switched: bool) -> None:
    """It contradicts what was verified: nothing is believed or sent, and the key that it wants is kept beside the new one."""
    if switched:
        async with small.runtime() as rooms:
            await rotate(rooms)
    else:
        await committed_but_not_switched(small)
    small.put_back_service(WARM)
    small.tap.exchanges.clear()
    async with small.runtime() as rooms:
        await rooms.recovery.settle(writes=True, needs_key=True)
        with pytest.raises(VerificationError) as caught:
            await read_everything(rooms.reader)
        assert explain(caught.value).code in {"rollback", "transparency_failed", "served_differs_from_signed"}
        with pytest.raises(KeyMismatchError) as mismatch:
            await rooms.recovery.recheck()
    assert all(line.startswith("GET ") for line in small.tap.lines())
    (retired,) = small.keys.glob("*.retired-*.pem")
    assert str(retired) in f"{mismatch.value.message} {mismatch.value.next_step}"
    assert small.kept_keys()[retired.name].public.fingerprint == small.active_fingerprint()
    assert small.journal() == ()


async def test_two_processes_that_rotate_at_once_make_one_new_key(small: SmallWorld) -> None:
    """One is at it; the other one is told that it is busy, and sends and makes nothing."""
    async with small.runtime() as first, small.runtime() as second:
        await second.recovery.settle(writes=True, needs_key=True)
        async with held(small, partial(rotate, first), ROTATE):
            with pytest.raises(BusyError) as caught:
                await second.rotation.rotate(quietly)
            assert caught.value.code == "busy"
            # Nor does it settle what is not left, but at work.
            await second.recovery.settle(writes=True, needs_key=True)
            assert second.rotation.unresolved is None
        assert small.drawn == 1
        assert small.tap.lines().count(ROTATE) == 1
        await second.recovery.settle(writes=True, needs_key=True)
        assert await read_everything(second.reader) == small.values
    await require_whole(small, {})


async def test_no_key_is_rotated_over_an_unsettled_write(small: SmallWorld) -> None:
    """An item whose outcome is unknown comes first: its request is signed with the old key."""

    async def lost(exchange: Exchange) -> Response | None:
        return BrokenOff() if exchange.method == "POST" and exchange.path.endswith("/items") else None

    small.tap.intercept = lost
    async with small.runtime() as rooms:
        await rooms.recovery.settle(writes=True, needs_key=True)
        with pytest.raises(NetworkError):
            await rooms.writer.create_item(small.vault_id(), draft("Unsettled"))
        small.tap.exchanges.clear()
        with pytest.raises(BusyError) as caught:
            await rooms.rotation.rotate(quietly)
    assert "settled" in caught.value.message
    assert caught.value.next_step
    assert small.tap.lines() == []
    assert small.drawn == 0
    small.tap.intercept = None
    async with small.runtime() as rooms:
        await rotate(rooms)
        assert (await read_everything(rooms.reader))["One/Unsettled/Token"] == "a value of the test"


@pytest.mark.parametrize("acted", [True, False], ids=["the service acted", "the request never arrived"])
async def test_a_read_only_server_finishes_what_needs_no_request(small: SmallWorld, *, acted: bool) -> None:
    """Where the service acted, the file is switched; where it did not, nothing is sent and the old key goes on."""
    await interrupt(small, acted=acted)
    async with small.runtime({"R4_READ_ONLY": "1"}) as rooms:
        await rooms.recovery.settle(writes=False, needs_key=True)
        assert await read_everything(rooms.reader) == small.values
        assert rooms.rotation.is_begun() == (not acted)
        if not acted:
            assert isinstance(rooms.rotation.unresolved, RotationUnresolvedError)
            assert "may not write" in rooms.rotation.unresolved.message
    assert ROTATE not in small.tap.lines()
    assert small.key_on_disk().public.fingerprint == small.active_fingerprint()
    await require_whole(small, {})
    assert small.active_fingerprint() == small.spare_keys[0].public.fingerprint
