"""Two processes of one agent, one of which rotates: whatever overtakes what, nothing is stuck, lost, or said to be another key's.

The second process is a runtime of its own, held at a request or at a call of the operating system while the other one works.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from r4_mcp.errors import BusyError, KeyMismatchError, R4Error
from r4_mcp.vault.journal import Entry, EntryKind, Journal
from r4_mcp.vault.runtime import VaultRuntime
from tests.vault.rooms import draft

from .invariants import require_whole
from .losses import ROTATE, interrupt, quietly, rotate
from .small_world import SmallWorld, read_everything

_WAIT_SECONDS: Final = 30.0
NEW: Final = "Racing"


async def settle(rooms: VaultRuntime) -> None:
    """Do what the gate does before each call."""
    await rooms.recovery.settle(writes=True, needs_key=True)


async def create_vault(rooms: VaultRuntime) -> None:
    """Create a vault, or be refused."""
    try:
        await rooms.writer.create_vault(NEW, None, None)
    except R4Error as error:
        assert error.code in {"busy", "signer_refused"}


async def create_item(world: SmallWorld, rooms: VaultRuntime) -> None:
    """Create an item, or be refused."""
    try:
        await rooms.writer.create_item(world.vault_id(), draft(NEW))
    except R4Error as error:
        assert error.code in {"busy", "signer_refused"}


async def create_while_rotating(world: SmallWorld, made: str) -> None:
    """Begin a creation while a rotation's request is held, and let it go on when the rotation is over."""
    async with world.runtime() as creator, world.runtime() as rotator:
        await settle(creator)
        await settle(rotator)
        begun, over, done = threading.Event(), threading.Event(), anyio.Event()
        holding: list[str] = []

        async def hold(exchange: Any) -> None:
            if exchange.line == ROTATE and not begun.is_set():
                begun.set()
                # Until the creation's own request is held, or the creation was refused before it sent one.
                while not (holding or done.is_set()):
                    await anyio.sleep(0.005)
            elif exchange.method == "POST" and exchange.path.endswith(made) and not over.is_set():
                holding.append(exchange.line)
                assert await anyio.to_thread.run_sync(over.wait, _WAIT_SECONDS)

        async def create() -> None:
            await (create_item(world, creator) if made == "/items" else create_vault(creator))
            done.set()

        async def rotate_first() -> None:
            await rotator.rotation.rotate(quietly)
            over.set()

        world.tap.intercept = hold
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rotate_first)
            assert await anyio.to_thread.run_sync(begun.wait, _WAIT_SECONDS)
            tasks.start_soon(create)
        world.tap.intercept = None


@pytest.mark.xfail(
    reason="a vault whose key was wrapped for the old key is never finished, and blocks what comes after it", strict=True
)
async def test_a_vault_that_is_created_during_a_rotation_opens_or_is_not_there(small: SmallWorld) -> None:
    """Its two requests straddle the switch of the key: it is finished or refused; the next vault and rotation go through."""
    await create_while_rotating(small, "/wrapped-key")
    found = await require_whole(small, {})
    assert found in (small.values, {**small.values, f"{NEW}/": ""})
    async with small.runtime() as rooms:
        await settle(rooms)
        await rooms.writer.create_vault("The next one", None, None)
        await rotate(rooms)
        assert await read_everything(rooms.reader) == {**found, "The next one/": ""}


async def test_an_item_that_is_created_during_a_rotation_is_there_once_or_was_refused(small: SmallWorld) -> None:
    """Signed with the old key and late: refused and settled; asked for again, it is there once."""
    await create_while_rotating(small, "/items")
    found = await require_whole(small, {})
    made = {f"One/{NEW}/Token": "a value of the test"}
    assert found in (small.values, {**small.values, **made})
    async with small.runtime() as rooms:
        await settle(rooms)
        if found == small.values:
            await create_item(small, rooms)
        assert await read_everything(rooms.reader) == {**small.values, **made}


@pytest.mark.xfail(reason="the old key's bytes are written over the new key's without a lock on the file", strict=True)
async def test_the_look_whether_a_key_file_can_be_replaced_undoes_no_rotation(
    small: SmallWorld, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two homes, one key file: between one's read and its write of the same bytes, the other one rotates."""
    real = os.replace
    arrived, released = threading.Event(), threading.Event()

    def slow(source: Any, target: Any) -> None:
        if Path(target) == small.key_file and not arrived.is_set():
            arrived.set()
            # No longer than a lock is waited for: with one, the other process waits for this one, not it for the other.
            released.wait(2)
        real(source, target)

    async def look(rooms: VaultRuntime) -> None:
        try:
            await rooms.rotation.rotate(quietly)
        except R4Error as error:
            assert error.code in {"busy", "key_mismatch", "request_rejected"}

    async with small.runtime() as first, small.runtime({"R4_HOME": str(elsewhere)}) as second:
        await settle(first)
        await settle(second)
        monkeypatch.setattr(os, "replace", slow)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look, first)
            assert await anyio.to_thread.run_sync(arrived.wait, _WAIT_SECONDS)
            await look(second)
            released.set()
    kept = {key.public.fingerprint for key in (*small.kept_keys().values(), small.key_on_disk())}
    assert small.active_fingerprint() in kept, "the active key is nowhere on this disk"
    await require_whole(small, {})


@pytest.mark.xfail(
    reason="the loaded key is compared, not the one that is in the file by now", strict=True, raises=KeyMismatchError
)
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


@pytest.mark.xfail(reason="a listed entry that another process settles before it is looked at is taken for an error", strict=True)
def test_an_entry_that_is_settled_while_the_journal_is_read_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process settles it between the listing and the look at its age."""
    journal = Journal(tmp_path, ("http://localhost", "rk_tests"))
    entries = [Entry(EntryKind.CREATE_ITEM, f"{number:024x}", "f" * 24, {}) for number in (1, 2)]
    for entry in entries:
        journal.prepare(entry)
    real = os.stat

    def settled_meanwhile(path: Any, **rest: Any) -> os.stat_result:
        if str(path).endswith(f"{entries[0].id}.json"):
            journal.settle(entries[0])
        return real(path, **rest)

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
            tasks.start_soon(start, first)
            tasks.start_soon(start, second)
        assert len([done for done in finished if done is not None]) == 1
        await settle(first)
        await settle(second)
        assert await read_everything(first.reader) == await read_everything(second.reader) == small.values
    assert small.tap.lines().count(ROTATE) == int(not acted)
    await require_whole(small, {})
