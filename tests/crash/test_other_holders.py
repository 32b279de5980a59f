"""Who else holds something of the agent's: other homes, other agents, a server that had the old key loaded."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest

from r4_mcp.core.trust import SignerStatus
from r4_mcp.core.wire import FieldType, ItemType
from r4_mcp.emulator.drafts import FieldDraft
from r4_mcp.errors import BusyError, KeyMismatchError, R4Error
from r4_mcp.machine.contract import Level
from r4_mcp.secret import SecretKind
from r4_mcp.vault.runtime import VaultRuntime
from tests.vault.rooms import draft

from .invariants import leftovers, remembered, require_whole
from .losses import ROTATE, held, quietly, rotate
from .small_world import SmallWorld, read_everything


async def settle(rooms: VaultRuntime) -> None:
    """Do what the gate does before each call."""
    await rooms.recovery.settle(writes=True, needs_key=True)


@pytest.fixture
def colleague(small: SmallWorld, elsewhere: Path) -> dict[str, str]:
    """Make another agent, which shares both vaults and has a home of its own; returns its environment."""
    agent = small.new_agent(elsewhere, small.spare_keys[-1])
    for vault_id in small.operator.vaults().values():
        small.operator.grant(agent.id, vault_id, Level.WRITE)
    return agent.environment


async def test_another_agent_accepts_the_new_signer_without_a_person(small: SmallWorld, colleague: dict[str, str]) -> None:
    """It had pinned the old key: the continuity signature leads it to the new one, whose writes it then reads."""
    async with small.runtime() as rooms, small.runtime(colleague) as other:
        assert await read_everything(other.reader) == small.values
        await settle(rooms)
        await rooms.writer.create_item(small.vault_id(), draft("Signed with the old key"))
        written = {"One/Signed with the old key/Token": "a value of the test"}
        assert await read_everything(other.reader) == {**small.values, **written}
        done = await rotate(rooms)
        await rooms.writer.create_item(small.vault_id(), draft("Signed with the new key"))
        written["One/Signed with the new key/Token"] = "a value of the test"
        assert await read_everything(other.reader) == {**small.values, **written}
        pinned = remembered(other)[small.vault_id()].signers
    assert pinned[done.key_id].previous_id == done.previous_id
    assert pinned[done.key_id].fingerprint == done.fingerprint
    assert pinned[done.previous_id].status is SignerStatus.RETIRED


async def test_another_agent_that_was_away_follows_several_rotations(small: SmallWorld, colleague: dict[str, str]) -> None:
    """Three rotations later it reads on from what it had pinned, one continuity signature after the other."""
    async with small.runtime(colleague) as other:
        assert await read_everything(other.reader) == small.values
    async with small.runtime() as rooms:
        ids = [(await rotate(rooms)).key_id for _ in range(3)]
    async with small.runtime(colleague) as other:
        assert await read_everything(other.reader) == small.values
        pinned = remembered(other)[small.vault_id()].signers
    assert [pinned[key_id].status for key_id in ids] == [SignerStatus.RETIRED, SignerStatus.RETIRED, SignerStatus.ACTIVE]


async def test_the_same_agent_in_another_home_goes_on_with_the_new_key(small: SmallWorld, elsewhere: Path) -> None:
    """One key file, two homes with a trust store each: the second one follows at its next call, writes included."""
    async with small.runtime() as rooms, small.runtime({"R4_HOME": str(elsewhere)}) as second:
        await settle(second)
        assert await read_everything(second.reader) == small.values
        done = await rotate(rooms)
        await settle(second)
        assert await read_everything(second.reader) == small.values
        await second.writer.create_item(small.vault_id(), draft("From the other home"))
        assert second.key.public.fingerprint == done.fingerprint
        assert (await read_everything(rooms.reader))["One/From the other home/Token"] == "a value of the test"


async def test_a_long_lived_server_goes_on_with_the_new_key_at_its_next_call(small: SmallWorld) -> None:
    """It had the old key loaded; another process rotates; it reads, creates an item and a vault, archives, and rotates itself."""
    async with small.runtime() as server:
        await settle(server)
        assert await read_everything(server.reader) == small.values
        old = server.key.public.fingerprint
        async with small.runtime() as command:
            done = await rotate(command)
        await settle(server)
        assert server.key.public.fingerprint == done.fingerprint != old
        assert await server.registration.ensure() == done.key_id
        assert await read_everything(server.reader) == small.values
        created = await server.writer.create_item(small.vault_id(), draft("After"))
        vault = await server.writer.create_vault("After", None, None)
        await server.writer.archive_item(small.vault_id(), created.item.checkpoint.item_id)
        await server.writer.archive_vault(vault.id)
        assert (await rotate(server)).previous_id == done.key_id
    await require_whole(small, {})


async def test_a_server_that_is_asked_while_another_process_rotates_says_busy(small: SmallWorld) -> None:
    """Between the service's switch and the file's, the loaded key is not the active one: busy, not somebody else's key."""
    async with small.runtime() as server, small.runtime() as command:
        await settle(server)
        # The first question with the new key: the service has switched, and the file has not.
        async with held(small, partial(rotate, command), "GET /vault/", after=ROTATE):
            await settle(server)
            with pytest.raises(R4Error):
                await read_everything(server.reader)
            with pytest.raises(BusyError):
                await server.recovery.recheck()
        await settle(server)
        assert await read_everything(server.reader) == small.values


async def test_a_copy_of_the_old_key_on_another_machine_is_refused(small: SmallWorld, elsewhere: Path) -> None:
    """A machine that was left behind has the old key alone: a key mismatch, and nothing is registered over the new one."""
    left_behind = elsewhere / "agent.json"
    shutil.copy2(small.key_file, left_behind)
    async with small.runtime() as rooms:
        await rotate(rooms)
    small.tap.exchanges.clear()
    async with small.runtime({"R4_CONFIG": str(left_behind), "R4_HOME": str(elsewhere / "home")}) as other:
        with pytest.raises(KeyMismatchError):
            await settle(other)
        with pytest.raises(KeyMismatchError):
            await other.rotation.rotate(quietly)
    assert {line.split(" ")[0] for line in small.tap.lines()} == {"GET"}
    await require_whole(small, {})


async def test_a_vault_that_was_shared_meanwhile_opens_with_the_new_key(small: SmallWorld) -> None:
    """Granted after the rotation: wrapped for the new key, no trace of the old one."""
    async with small.runtime() as rooms:
        await rotate(rooms)
        vault_id = small.operator.create_vault("Shared later")
        token = FieldDraft("Token", FieldType.SECRET, small.known.text("later", SecretKind.FIELD))
        small.operator.create_item(vault_id, "Item", ItemType.CUSTOM, [], [token])
        small.operator.grant(small.agent_id, vault_id, Level.READ)
        assert await read_everything(rooms.reader) == {**small.values, "Shared later/Item/Token": "later"}


async def test_two_homes_with_one_key_file_never_lose_the_active_key(small: SmallWorld, elsewhere: Path) -> None:
    """Each home has a rotation lock of its own, so both may rotate at once: the service lets one through, the other gives up."""
    codes: list[str] = []

    async def first() -> None:
        async with small.runtime() as rooms:
            with pytest.raises(R4Error) as caught:
                await rotate(rooms)
            codes.append(caught.value.code)

    async with small.runtime({"R4_HOME": str(elsewhere)}) as second, held(small, first, ROTATE):
        done = await rotate(second)
    # It was refused, and yet the service has a key that it does not know: that is for a person to look at.
    assert codes == ["rotation_unresolved"]
    assert small.active_fingerprint() == done.fingerprint == small.key_on_disk().public.fingerprint
    async with small.runtime() as rooms:
        await settle(rooms)
        assert await read_everything(rooms.reader) == small.values
        assert await rooms.rotation.abandon()
    assert await require_whole(small, {}) == small.values
    assert leftovers(small) == {"retired key": 1, "refused key": 1}
