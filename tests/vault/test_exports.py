"""Which fields a service says are marked for export: its word alone, and for the vault that was asked for alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
from starlette.responses import JSONResponse, Response

from r4_mcp.core.wire import FieldType, ItemType
from r4_mcp.emulator.drafts import CreatedItem, FieldDraft
from r4_mcp.errors import DisagreementError, MalformedError, R4Error
from r4_mcp.secret import SecretKind
from tests.doors import World
from tests.switchboard import Exchange

from .rooms import runtime
from .test_reader import genuine_answer

OTHER: Final = "f" * 24


def add_exported(world: World) -> CreatedItem:
    """Add an item with one exported field and one that is not."""
    drafts = [
        FieldDraft(name, FieldType.SECRET, world.known.text("a value", SecretKind.FIELD), exported=exported)
        for name, exported in (("Key", True), ("Note", False))
    ]
    return world.seeded.operator.create_item(world.vault_id("Engineering"), "Crane", ItemType.CUSTOM, [], drafts)


async def test_only_what_is_marked_is_named(world: World) -> None:
    """By ids: names and values are proven elsewhere."""
    made = add_exported(world)
    async with runtime(world) as rooms:
        assert await rooms.exports.claimed(world.vault_id("Engineering")) == ((made.item_id, made.field_ids[0]),)


LIES: Final[dict[str, tuple[Callable[[dict[str, Any]], object], type[R4Error]]]] = {
    "the answer is for another vault": (lambda told: told.update(vaultId=OTHER), DisagreementError),
    "a field is of another vault": (lambda told: told["fields"][0].update(vaultId=OTHER), DisagreementError),
    "a field is not marked": (lambda told: told["fields"][0].update(isEnvironmentVariable=False), MalformedError),
    "a field comes twice": (lambda told: told.update(fields=told["fields"] * 2, count=2), MalformedError),
    "a field is not counted": (lambda told: told.update(count=0), MalformedError),
}


@pytest.mark.parametrize(("lie", "refusal"), LIES.values(), ids=LIES.keys())
async def test_an_answer_that_contradicts_itself_is_refused(
    world: World, lie: Callable[[dict[str, Any]], object], refusal: type[R4Error]
) -> None:
    """Nothing of it counts."""
    add_exported(world)

    async def intercept(exchange: Exchange) -> Response | None:
        if not exchange.path.endswith("/environment-fields"):
            return None
        told = await genuine_answer(world, exchange)
        lie(told)
        return JSONResponse(told)

    world.tap.intercept = intercept
    async with runtime(world) as rooms:
        with pytest.raises(refusal):
            await rooms.exports.claimed(world.vault_id("Engineering"))
