"""An edit whose answer got lost is made once: websites, types and names are found again, and are not signed a second time."""

from __future__ import annotations

import pytest
from starlette.responses import Response

from r4_mcp.core.wire import FieldType, ItemType
from r4_mcp.errors import NetworkError
from r4_mcp.vault.item_update import FieldChange, ItemChange
from tests.doors import World
from tests.switchboard import Exchange
from tests.vault.rooms import runtime
from tests.vault.test_lost_replies import BrokenOff, Loss, journal_files

EDIT = ItemChange("After", (FieldChange("Token", retype=FieldType.PASSWORD),), ItemType.LOGIN, ("https://a.example",))
OTHERS = {
    "another name": ItemChange("Other", EDIT.fields, EDIT.type, EDIT.websites),
    "another type": ItemChange(EDIT.name, EDIT.fields, ItemType.SERVER, EDIT.websites),
    "other websites": ItemChange(EDIT.name, EDIT.fields, EDIT.type, ()),
    "another type of a field": ItemChange(EDIT.name, (FieldChange("Token", retype=FieldType.TEXT),), EDIT.type, EDIT.websites),
}


def is_patch(exchange: Exchange) -> bool:
    """Match the request that changes an item."""
    return exchange.method == "PATCH"


async def interrupted(world: World, *, acts: bool) -> tuple[str, str]:
    """Begin the edit and lose every answer; returns the ids of vault and item."""
    made = world.add_item("Engineering", "Before", ("Token", FieldType.SECRET, "a value of the test"))
    vault_id = world.vault_id("Engineering")
    loss = Loss(world, is_patch, times=1, acts=acts)

    async def gone(exchange: Exchange) -> Response | None:
        return await loss(exchange) if not loss.bodies else BrokenOff()

    async with runtime(world) as rooms:
        world.tap.intercept = gone
        with pytest.raises(NetworkError):
            await rooms.writer.update_item(vault_id, made.item_id, EDIT)
    world.tap.intercept = None
    assert len(journal_files(world)) == 1
    return vault_id, made.item_id


@pytest.mark.parametrize("acts", [True, False], ids=["the service acted", "the request never arrived"])
async def test_the_same_edit_again_is_made_once(world: World, acts: bool) -> None:  # noqa: FBT001 - a case
    """Whatever got lost, one version is added, and the value stays."""
    await interrupted(world, acts=acts)
    async with runtime(world) as rooms:
        found = await rooms.locator.listed_item("r4://Engineering/Before" if not acts else "r4://Engineering/After")
        opened = await rooms.writer.update_item(found[0].vault.id, found[1], EDIT)
        checkpoint = opened.item.checkpoint
        assert (checkpoint.version, checkpoint.name, checkpoint.type) == (2, "After", ItemType.LOGIN)
        assert checkpoint.websites == ("https://a.example",)
        assert [(field.type, len(field.instance_ids)) for field in checkpoint.fields] == [(FieldType.PASSWORD, 1)]
    assert journal_files(world) == []


@pytest.mark.parametrize("case", OTHERS)
async def test_another_edit_is_not_taken_for_it(world: World, case: str) -> None:
    """The interrupted one is finished first; then the other one is made."""
    await interrupted(world, acts=True)
    async with runtime(world) as rooms:
        found = await rooms.locator.listed_item("r4://Engineering/After")
        opened = await rooms.writer.update_item(found[0].vault.id, found[1], OTHERS[case])
        assert opened.item.checkpoint.version == 3
    assert journal_files(world) == []
