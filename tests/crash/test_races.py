"""Two processes of one agent, one of which rotates: whatever overtakes what, nothing is stuck, lost, or said to be another key's.

The second process is a runtime of its own, held at a request or at a call of the operating system while the other one works.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import anyio
import pytest

from r4_mcp.errors import BusyError, R4Error
from r4_mcp.vault.journal import Entry, EntryKind, Journal
from r4_mcp.vault.runtime import VaultRuntime
from tests.switchboard import Exchange
from tests.vault.rooms import draft

from .invariants import require_whole
from .losses import ROTATE, interrupt, quietly, rotate
from .small_world import SmallWorld, read_everything

_WAIT_SECONDS: Final = 30.0
NEW: Final = "Racing"


async def settle(rooms: VaultRuntime) -> None:
    """Do what the gate does before each call."""
    await rooms.recovery.settle(writes=True, needs_key=True)


async def code_of(work: Awaitable[object]) -> str:
    """Return the code that something is refused with; empty if it is not."""
    try:
        await work
    except R4Error as error:
        return error.code
    return ""


async def create_while_rotating(world: SmallWorld, made: str, create: Callable[[VaultRuntime], Awaitable[object]]) -> str:
    """Begin a creation while a rotation's request is held, and let it go on when the rotation is over; returns its code."""
    codes: list[str] = []
    async with world.runtime() as creator, world.runtime() as rotator:
        await settle(creator)
        await settle(rotator)
        begun, held, over = threading.Event(), threading.Event(), threading.Event()

        async def hold(exchange: Exchange) -> None:
            if exchange.line == ROTATE and not begun.is_set():
                begun.set()
                # Until the creation's own request is held, or the creation was refused before it sent one.
                assert await anyio.to_thread.run_sync(held.wait, _WAIT_SECONDS)
            elif exchange.method == "POST" and exchange.path.endswith(made) and not over.is_set():
                held.set()
                assert await anyio.to_thread.run_sync(over.wait, _WAIT_SECONDS)

        async def create_late() -> None:
            codes.append(await code_of(create(creator)))
            held.set()

        async def rotate_first() -> None:
            await rotator.rotation.rotate(quietly)
            over.set()

        world.tap.intercept = hold
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rotate_first)
            assert await anyio.to_thread.run_sync(begun.wait, _WAIT_SECONDS)
            tasks.start_soon(create_late)
        world.tap.intercept = None
    return codes[0]


async def test_a_vault_is_not_created_while_the_key_is_rotated(small: SmallWorld) -> None:
    """Its key would be wrapped for the old key: busy, nothing is sent, and afterwards vaults and rotations go through."""
    code = await create_while_rotating(small, "/wrapped-key", lambda rooms: rooms.writer.create_vault(NEW, None, None))
    assert code == "busy"
    assert not [line for line in small.tap.lines() if line.startswith("POST") and line != ROTATE]
    assert await require_whole(small, {}) == small.values
    async with small.runtime() as rooms:
        await settle(rooms)
        await rooms.writer.create_vault(NEW, None, None)
        await rotate(rooms)
        assert await read_everything(rooms.reader) == {**small.values, f"{NEW}/": ""}


async def test_an_item_is_not_created_while_the_key_is_rotated(small: SmallWorld) -> None:
    """It would be signed with the old key: busy, nothing is sent; asked for again, it is there once."""
    code = await create_while_rotating(small, "/items", lambda rooms: rooms.writer.create_item(small.vault_id(), draft(NEW)))
    assert code == "busy"
    assert await require_whole(small, {}) == small.values
    async with small.runtime() as rooms:
        await settle(rooms)
        await rooms.writer.create_item(small.vault_id(), draft(NEW))
        assert await read_everything(rooms.reader) == {**small.values, f"One/{NEW}/Token": "a value of the test"}


async def test_a_key_is_not_rotated_while_something_is_created(small: SmallWorld) -> None:
    """The other way round: the vault's second request is on its way, and the rotation is told to come back."""
    codes: list[str] = []
    async with small.runtime() as creator, small.runtime() as rotator:
        await settle(creator)
        await settle(rotator)
        held, over = threading.Event(), threading.Event()

        async def hold(exchange: Exchange) -> None:
            if exchange.path.endswith("/wrapped-key") and exchange.method == "POST":
                held.set()
                assert await anyio.to_thread.run_sync(over.wait, _WAIT_SECONDS)

        small.tap.intercept = hold
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(creator.writer.create_vault, NEW, None, None)
            assert await anyio.to_thread.run_sync(held.wait, _WAIT_SECONDS)
            codes.append(await code_of(rotator.rotation.rotate(quietly)))
            over.set()
    assert codes == ["busy"]
    assert small.drawn == 0
    assert await require_whole(small, {}) == {**small.values, f"{NEW}/": ""}


async def test_the_look_whether_a_key_file_can_be_replaced_undoes_no_rotation(
    small: SmallWorld, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two homes, one key file: one of them writes its old bytes again while the other one rotates."""
    real = os.replace
    arrived, released = threading.Event(), threading.Event()

    def slow(source: str | Path, target: str | Path) -> None:
        if Path(target) == small.key_file and not arrived.is_set():
            arrived.set()
            # Less than a lock is waited for: with one, the other process waits for this one.
            released.wait(2)
        real(source, target)

    codes: list[str] = []

    async def try_to_rotate(rooms: VaultRuntime) -> None:
        codes.append(await code_of(rooms.rotation.rotate(quietly)))

    async with small.runtime() as first, small.runtime({"R4_HOME": str(elsewhere)}) as second:
        await settle(first)
        await settle(second)
        monkeypatch.setattr(os, "replace", slow)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(try_to_rotate, first)
            assert await anyio.to_thread.run_sync(arrived.wait, _WAIT_SECONDS)
            await try_to_rotate(second)
            released.set()
    assert "" in codes, codes
    assert small.active_fingerprint() == small.key_on_disk().public.fingerprint


async def test_a_call_that_a_rotation_overtook_is_not_told_of_another_key(small: SmallWorld) -> None:
    """It began with the old key and was refused; by then the file has the new one, so the next try will do."""
    async with small.runtime() as server, small.runtime() as command:
        await settle(server)
        assert await read_everything(server.reader) == small.values
        await rotate(command)
        with pytest.raises(R4Error):
            await server.writer.create_item(small.vault_id(), draft("Overtaken"))
        with pytest.raises(BusyError):
            await server.recovery.recheck()
        await settle(server)
        await server.writer.create_item(small.vault_id(), draft("Overtaken"))


def test_an_entry_that_is_settled_while_the_journal_is_read_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process settles it between the listing and the look at its age."""
    journal = Journal(tmp_path, ("http://localhost", "rk_tests"))
    entries = [Entry(EntryKind.CREATE_ITEM, f"{number:024x}", "f" * 24, {}) for number in (1, 2)]
    for entry in entries:
        journal.prepare(entry)
    real = os.stat

    def settled_meanwhile(path: str | Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if str(path).endswith(f"{entries[0].id}.json"):
            journal.settle(entries[0])
        return real(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(os, "stat", settled_meanwhile)
    assert journal.prepared() == (entries[1],)


@pytest.mark.parametrize("acted", [True, False], ids=["the service acted", "the request never arrived"])
async def test_two_processes_that_start_over_one_unfinished_rotation_finish_it_once(small: SmallWorld, *, acted: bool) -> None:
    """One of them has the lock and finishes it, the other one goes on meanwhile; at the next call both have the new key."""
    await interrupt(small, acted=acted)
    finished = []
    async with small.runtime() as first, small.runtime() as second:

        async def start(rooms: VaultRuntime) -> None:
            try:
                finished.append(await rooms.recovery.settle(writes=True, needs_key=True))
            except BusyError:
                return  # The other one is at it, and the service has switched already.

        async with anyio.create_task_group() as tasks:
            for rooms in (first, second):
                tasks.start_soon(start, rooms)
        assert len([done for done in finished if done is not None]) == 1
        await settle(first)
        await settle(second)
        assert await read_everything(first.reader) == await read_everything(second.reader) == small.values
    assert small.tap.lines().count(ROTATE) == int(not acted)
    await require_whole(small, {})
