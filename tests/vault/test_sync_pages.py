"""A sync of several pages: the next one is on its way while one is proven, and each counts for itself."""

from __future__ import annotations

import json
from typing import Final

import pytest
from starlette.responses import JSONResponse, Response

from r4_mcp.core.wire import FieldType
from r4_mcp.machine import contract
from r4_mcp.machine.contract import LIST_VAULTS, SYNC, Level
from r4_mcp.vault import sync
from tests.doors import Door, World, in_memory
from tests.switchboard import Exchange

from .test_reader import genuine_answer

SYNC_LINE: Final = f"GET {SYNC.path}"
LIST_LINE: Final = f"GET {LIST_VAULTS.path}"


@pytest.fixture(autouse=True)
def _a_page_for_each_vault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "MAX_SYNC_PAGE", 1)


def pages(world: World) -> int:
    """Return how many pages were asked for, and forget them."""
    asked = world.tap.lines().count(SYNC_LINE)
    world.tap.exchanges.clear()
    return asked


async def verified(door: Door) -> set[str]:
    """List vaults; returns the names of those that are verified."""
    return {line["name"] for line in (await door.ok("list_vaults"))["vaults"] if line["verified"]}


async def test_every_page_is_asked_for_once(world: World) -> None:
    """A page for each vault, a delta for what changed, and everything is there."""
    async with in_memory(world.environment) as door:
        assert await verified(door) == set(world.seeded.vaults)
        assert pages(world) == len(world.seeded.vaults) > 2
        world.add_item("Engineering", "Newcomer", ("Token", FieldType.SECRET, "a value"))
        await door.ok("create_vault", name="Anew")
        pages(world)
        assert await verified(door) == {*world.seeded.vaults, "Anew"}
        assert pages(world) == 2
        assert len((await door.ok("search_items", query="newcomer"))["results"]) == 1


async def test_a_page_counts_although_the_next_one_can_not_be_had(world: World) -> None:
    """The refusal is told, what came before it is remembered, and the next sync proves everything."""

    async def intercept(exchange: Exchange) -> Response | None:
        refusal = {"error": {"code": "permission_denied", "message": "no"}}
        return JSONResponse(refusal, 403) if exchange.path.endswith(SYNC.path) and exchange.query else None

    world.tap.intercept = intercept
    async with in_memory(world.environment) as door:
        await door.refused("list_vaults", "permission_denied")
        assert len(remembered(world)) == 1
        world.tap.intercept = None
        assert await verified(door) == set(world.seeded.vaults)
    assert remembered(world) == {str(vault_id) for vault_id in world.seeded.vaults.values()}


def remembered(world: World) -> set[str]:
    """Return the ids of the vaults in the trust store."""
    (section,) = json.loads((world.home / "trust-store.json").read_text())["body"]["sections"].values()
    return set(section["vaults"])


async def test_a_page_is_asked_for_again_where_another_process_was_faster(world: World) -> None:
    """It proves everything while our second page is on its way; what we have fetched is then too old to be swapped, not a lie."""
    others: list[set[str]] = []

    async def intercept(exchange: Exchange) -> Response | None:
        if not others and exchange.path.endswith(SYNC.path) and exchange.query:
            others.append(set())
            world.add_item("Engineering", "Newcomer", ("Token", FieldType.SECRET, "a value"))
            async with in_memory(world.environment) as other:
                others[0] |= await verified(other)
        return None

    world.tap.intercept = intercept
    async with in_memory(world.environment) as door:
        assert await verified(door) == others[0] == set(world.seeded.vaults)
        assert len((await door.ok("search_items", query="newcomer"))["results"]) == 1


async def test_a_page_that_fails_once_is_asked_for_again_with_what_follows_it(world: World) -> None:
    """An entry that straddles a write is no lie, and no page is lost or told twice by it."""
    spoiled: list[str] = []

    async def intercept(exchange: Exchange) -> Response | None:
        if spoiled or not exchange.path.endswith(SYNC.path):
            return None
        page = await genuine_answer(world, exchange)
        if page["vaults"][0]["items"]:
            spoiled.append(page["vaults"][0]["items"].pop()["id"])
        return JSONResponse(page)

    world.tap.intercept = intercept
    async with in_memory(world.environment) as door:
        assert await verified(door) == set(world.seeded.vaults)
        assert spoiled
        assert len(world.seeded.vaults) + 1 <= pages(world) <= len(world.seeded.vaults) + 2


async def test_pages_that_do_not_move_on_are_given_up(world: World) -> None:
    """One that says that there is more, and gives the cursor that was asked for; vaults are proven one by one instead."""
    cursors: list[str] = []

    async def intercept(exchange: Exchange) -> Response | None:
        if not exchange.path.endswith(SYNC.path):
            return None
        page = await genuine_answer(world, exchange)
        if not exchange.query:
            cursors.append(page["cursor"])
        return JSONResponse({**page, "cursor": cursors[0], "more": True})

    world.tap.intercept = intercept
    async with in_memory(world.environment) as door:
        assert await verified(door) == set(world.seeded.vaults)
        assert world.tap.lines().count(LIST_LINE) == 1
        assert pages(world) == 2


async def test_a_sync_has_an_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last page that is allowed may be the last one; a page after it is not asked for."""
    monkeypatch.setattr(sync, "MAX_PAGES", len(world.seeded.vaults))
    async with in_memory(world.environment) as door:
        assert await verified(door) == set(world.seeded.vaults)
        assert LIST_LINE not in world.tap.lines()
    monkeypatch.setattr(sync, "MAX_PAGES", len(world.seeded.vaults) - 1)
    async with in_memory(world.environment) as door:
        pages(world)
        assert await verified(door) == set(world.seeded.vaults)
        assert world.tap.lines().count(LIST_LINE) == 1
        assert pages(world) == len(world.seeded.vaults) - 1


async def test_a_vault_whose_directory_can_not_be_had_is_not_shown_as_verified(world: World) -> None:
    """Its log has grown since it was remembered, so a page alone proves nothing of it; the others are shown."""
    async with in_memory(world.environment) as door:
        assert await verified(door) == set(world.seeded.vaults)
    agent_id, environment = world.new_agent()
    async with in_memory(environment) as newcomer:
        await newcomer.ok("list_vaults")
    world.seeded.operator.grant(agent_id, world.vault_id("Engineering"), Level.READ)

    async def intercept(exchange: Exchange) -> Response | None:
        gone = {"error": {"code": "not_found", "message": "no"}}
        return JSONResponse(gone, 404) if exchange.path.endswith("/public-keys") else None

    world.tap.intercept = intercept
    async with in_memory(world.environment) as door:
        assert await verified(door) == set(world.seeded.vaults) - {"Engineering"}
        world.tap.intercept = None
    async with in_memory(world.environment) as door:
        assert await verified(door) == set(world.seeded.vaults)
