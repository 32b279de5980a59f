"""Die at every call of every operation that changes something: no key, no item, no vault is lost or doubled.

Numbers are printed: ``pytest -rP tests/crash`` shows how many points there were and what was left behind.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import pytest
from starlette.responses import Response

from r4_mcp.core.wire import FieldType, ItemType
from r4_mcp.emulator.drafts import FieldDraft
from r4_mcp.emulator.embedded import PERMISSIONS
from r4_mcp.errors import RequestRejectedError
from r4_mcp.secret import KnownSecrets, SecretKind
from r4_mcp.vault.item_update import FieldChange, ItemChange
from r4_mcp.vault.runtime import VaultRuntime
from tests.switchboard import Exchange
from tests.vault.rooms import draft

from .conftest import COLD, WARM
from .enumeration import Operation, die_everywhere
from .invariants import remembered_on_disk
from .judges import ReadingJudge, RefusalJudge, RegistrationJudge, RotationJudge, WriteJudge
from .losses import ROTATE, quietly
from .small_world import SmallWorld, write_agent

NEW: Final = "New"
VALUE: Final = "a value of the crash tests"
UNREGISTERED: Final = "unregistered"


async def rotate(_: SmallWorld, rooms: VaultRuntime) -> None:
    """Rotate the key."""
    await rooms.rotation.rotate(quietly)


async def create_item(world: SmallWorld, rooms: VaultRuntime) -> None:
    """Create an item."""
    await rooms.writer.create_item(world.vault_id(), draft(NEW, VALUE))


async def create_vault(_: SmallWorld, rooms: VaultRuntime) -> None:
    """Create a vault."""
    await rooms.writer.create_vault(NEW, None, None)


async def update_item(world: SmallWorld, rooms: VaultRuntime) -> None:
    """Change a value of an item."""
    vault = await rooms.reader.vault(world.vault_id())
    secret = KnownSecrets().text(VALUE, SecretKind.FIELD)
    change = ItemChange(None, (FieldChange("Token", secret),))
    await rooms.writer.update_item(vault.id, vault.summary.checkpoint.items[0].id, change)


async def read_one(world: SmallWorld, rooms: VaultRuntime) -> None:
    """Verify one vault with its key and its items."""
    vault = await rooms.reader.vault(world.vault_id())
    await rooms.reader.dek(vault)
    for line in vault.summary.checkpoint.items:
        await rooms.reader.item(vault.id, line.id)


async def nothing_more(_: SmallWorld, __: VaultRuntime) -> None:
    """Do nothing: what settles before a call registers the key."""


async def test_a_rotation_that_dies_anywhere(small: SmallWorld, *, every_call: bool) -> None:
    """The key that the service considers active is on this disk and in use after the restart; every value is readable."""
    judge = RotationJudge(await remembered_on_disk(small))
    tally = await die_everywhere(small, Operation(rotate), judge, every_call=every_call)
    judge.report("rotation", tally, fewest=60)
    assert set(judge.outcomes) == {"new key", "old key"}


async def test_a_new_item_that_dies_anywhere(small: SmallWorld, *, every_call: bool) -> None:
    """It is there once, or never begun; asked for again, it is there once."""
    judge = WriteJudge(await remembered_on_disk(small), create_item, {f"One/{NEW}/Token": VALUE})
    tally = await die_everywhere(small, Operation(create_item), judge, every_call=every_call)
    judge.report("create an item", tally, fewest=24)
    assert len(judge.outcomes) == 3


async def test_a_new_vault_that_dies_anywhere(small: SmallWorld, *, every_call: bool) -> None:
    """It is there once and opens, or never begun; asked for again, it is there once."""
    judge = WriteJudge(await remembered_on_disk(small), create_vault, {f"{NEW}/": ""})
    tally = await die_everywhere(small, Operation(create_vault), judge, every_call=every_call)
    judge.report("create a vault", tally, fewest=26)
    assert len(judge.outcomes) == 3


async def test_a_changed_item_that_dies_anywhere(small: SmallWorld, *, every_call: bool) -> None:
    """Its value is the old one or the new one, and the new one if the change was begun; asked for again, the new one."""
    judge = WriteJudge(await remembered_on_disk(small), update_item, {"One/Item/Token": VALUE})
    tally = await die_everywhere(small, Operation(update_item), judge, every_call=every_call)
    judge.report("update an item", tally, fewest=24)
    assert len(judge.outcomes) == 3


async def test_a_refused_rotation_that_dies_anywhere(small: SmallWorld, *, every_call: bool) -> None:
    """The old key goes on; where the refusal was not settled, the same rotation is tried again or a person gives it up."""

    async def refuse(world: SmallWorld) -> None:
        async def refusing(exchange: Exchange) -> Response | None:
            return Response(status_code=400) if exchange.line == ROTATE else None

        world.tap.intercept = refusing

    async def refused(_: SmallWorld, rooms: VaultRuntime) -> None:
        with pytest.raises(RequestRejectedError):
            await rooms.rotation.rotate(quietly)

    judge = RefusalJudge(await remembered_on_disk(small))
    tally = await die_everywhere(small, Operation(refused, WARM, refuse), judge, every_call=every_call)
    judge.report("refused rotation", tally, fewest=24)
    assert {"old key", "new key"} <= set(judge.outcomes)


async def test_a_first_contact_that_dies_anywhere(small: SmallWorld, *, every_call: bool) -> None:
    """The trust store is whole, and what it holds was proven; the next contact goes on from there."""
    judge = ReadingJudge({}, small.values)
    tally = await die_everywhere(small, Operation(read_one, COLD), judge, every_call=every_call)
    judge.report("first contact", tally, fewest=36)


async def test_an_update_of_what_is_remembered_that_dies_anywhere(small: SmallWorld, *, every_call: bool) -> None:
    """The trust store is never behind what was there, whether or not the new state is in it."""

    async def change(world: SmallWorld) -> None:
        token = FieldDraft("Token", FieldType.SECRET, world.known.text(VALUE, SecretKind.FIELD))
        world.operator.create_item(world.vault_id(), NEW, ItemType.CUSTOM, [], [token])
        world.operator.rotate_dek(world.vault_id())

    judge = ReadingJudge(await remembered_on_disk(small), {**small.values, f"One/{NEW}/Token": VALUE})
    tally = await die_everywhere(small, Operation(read_one, WARM, change), judge, every_call=every_call)
    judge.report("update of what is remembered", tally, fewest=40)


@pytest.fixture
def newcomer(small: SmallWorld) -> Iterator[SmallWorld]:
    """Give the small world to an agent that has registered nothing."""
    credentials = small.operator.create_agent("Newcomer", PERMISSIONS)
    write_agent(small.key_file, credentials, small.spare_keys[-1])
    shutil.rmtree(small.home)
    small.home.mkdir(mode=0o700)
    small.keep(UNREGISTERED)
    yield replace(small, agent_id=credentials.agent_id, values={})
    small.drop(UNREGISTERED)


async def test_a_registration_that_dies_anywhere(newcomer: SmallWorld, *, every_call: bool) -> None:
    """One key is registered, once, and it is ours."""
    judge = RegistrationJudge({})
    tally = await die_everywhere(newcomer, Operation(nothing_more, UNREGISTERED), judge, every_call=every_call)
    judge.report("registration", tally, fewest=8)
    assert set(judge.outcomes) == {"registered by the restart", "was registered"}
