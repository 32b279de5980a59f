"""The same lies, told by sync: a vault that does not verify is listed as that, with the same code, and nothing of it is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import pytest
from starlette.responses import Response

from r4_mcp.cli.wiring import Service
from r4_mcp.emulator.faults import FAULTS
from r4_mcp.machine.contract import MAX_SYNC_PAGE, SYNC
from r4_mcp.vault.sync import MAX_PAGES
from tests.doors import World, in_memory
from tests.switchboard import Exchange, Intercept
from tests.vault.test_reader import genuine_answer

from .stage import ITEM, VAULT, Reach, Stage, succeed
from .table import REFUSED
from .test_refusals import stays

NOT_IN_A_PAGE: Final = frozenset({"dek-version-changed-in-listing", "field-swapped", "item-count-lied", "item-denied-on-get"})
"""A page has no place for these: a count, a key version beside the summary, one field alone, a refusal of one item."""

_BYTES: Final = ("json-", "html-", "summary-version-", "detail-version-")
_REFUSALS: Final = frozenset({"refusal-with-instructions", "bad-request-with-instructions"})
LIES: Final = [
    name
    for name, row in REFUSED.items()
    if stays(name) and row.reach in {Reach.VAULT, Reach.ITEM} and not name.startswith(_BYTES) and name not in _REFUSALS
]
"""Lies in what is served; those in how it is spelled are about the one parser that both ways go through."""


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", LIES)
async def test_a_lie_in_a_page_is_refused_for_its_own_reason(name: str, standing: Stage, remembering: Service) -> None:
    """Listed as not verified with the same code; not searched; no trace in the trust store; then the truth is believed again."""
    before = standing.trust()
    standing.liar.tell(FAULTS[name].lie)
    lines = (await succeed(remembering, "list_vaults"))["vaults"]
    told = standing.liar.told
    found = await succeed(remembering, "search_items", query=ITEM)
    standing.liar.tell(None)
    assert (told == 0) is (name in NOT_IN_A_PAGE)
    if told:
        assert {line["problem"] for line in lines if not line["verified"]} == {REFUSED[name].code}
        line = next(line for line in lines if line["id"] == standing.vault_id)
        assert line["reference"] == f"r4://{standing.vault_id}"
        assert not [hit for hit in found["results"] if hit["vault"] == VAULT]
        assert found["unsearched_vaults"] >= 1
    assert standing.trust() == before
    assert all(line["verified"] for line in (await succeed(remembering, "list_vaults"))["vaults"])
    await standing.read_honestly(remembering)


Page = dict[str, Any]


def rewriting(world: World, change: Callable[[Page], None]) -> Intercept:
    """Change each sync page on its way."""

    async def intercept(exchange: Exchange) -> Response | None:
        if not exchange.path.endswith(SYNC.path):
            return None
        page = await genuine_answer(world, exchange)
        change(page)
        return Response(json.dumps(page), media_type="application/json")

    return intercept


def engineering(page: Page) -> Page:
    """Return a vault of a page."""
    found: Page = next(one for one in page["vaults"] if one["vault"]["name"] == VAULT)
    return found


def _hide(page: Page) -> None:
    del engineering(page)["items"][0]


def _twice(page: Page) -> None:
    page["vaults"].append(page["vaults"][0])


def _removed(page: Page) -> None:
    one = engineering(page)
    gone = one["items"].pop(0)
    page["removedItems"].append({"vaultId": one["vault"]["id"], "itemId": gone["id"]})


def _exchange_items(page: Page) -> None:
    first, second = page["vaults"][:2]
    first["items"], second["items"] = second["items"], first["items"]


def _exchange_directories(page: Page) -> None:
    first, second = page["vaults"][:2]
    first["directory"], second["directory"] = second["directory"], first["directory"]


@pytest.mark.parametrize("change", [_hide, _removed, _exchange_items, _exchange_directories])
async def test_a_page_that_contradicts_its_signatures_is_refused(world: World, change: Callable[[Page], None]) -> None:
    """At first contact; the other vaults are there; and once the truth is told, all are."""
    world.tap.intercept = rewriting(world, change)
    async with in_memory(world.environment) as door:
        lines = {line["name"]: line for line in (await door.ok("list_vaults"))["vaults"]}
        wrong = [line["problem"] for line in lines.values() if not line["verified"]]
        assert wrong == ["served_differs_from_signed"] * (2 if "exchange" in change.__name__ else 1)
        world.tap.intercept = None
        await door.ok("create_vault", name="Anew")
        assert all(line["verified"] for line in (await door.ok("list_vaults"))["vaults"])


def _endless(page: Page) -> None:
    page.update(more=True, cursor=f"{page['cursor']}x"[-400:])


def _loop(page: Page) -> None:
    page.update(more=True, cursor="round-and-round")


def _long(page: Page) -> None:
    page["cursor"] = "x" * 513


@pytest.mark.parametrize("change", [_twice, _endless, _loop, _long])
async def test_pages_that_make_no_sense_are_not_used(world: World, change: Callable[[Page], None]) -> None:
    """Within bounds; every vault is then verified alone."""
    world.tap.intercept = rewriting(world, change)
    async with in_memory(world.environment) as door:
        assert all(line["verified"] for line in (await door.ok("list_vaults"))["vaults"])
    syncs = [line for line in world.tap.lines() if line == "GET /vault/sync"]
    assert len(syncs) <= MAX_PAGES


async def test_a_page_without_end_is_cut_off(world: World) -> None:
    """At the cap, with the error that says so."""
    assert SYNC.max_response > MAX_SYNC_PAGE

    async def intercept(exchange: Exchange) -> Response | None:
        return Response(b" " * (SYNC.max_response + 1)) if exchange.path.endswith(SYNC.path) else None

    world.tap.intercept = intercept
    async with in_memory(world.environment) as door:
        await door.refused("list_vaults", "response_too_large")
