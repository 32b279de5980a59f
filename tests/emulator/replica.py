"""A client of sync for the tests: it keeps what the pages told, and asks for the same things one by one to compare.

It proves nothing; that what it keeps can be proven is ``test_sync``'s to show.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from r4_mcp.core.encoding import compact_json
from r4_mcp.core.sync import read_sync_page

from .client import AgentClient

Page = dict[str, Any]
Held = dict[str, dict[str, Any]]
"""Vaults by id: each a page's entry, with its items by id."""


@dataclass
class Replica:
    """What one agent holds, page by page."""

    agent: AgentClient
    held: Held = field(default_factory=dict)
    cursor: str | None = None
    pages: list[Page] = field(default_factory=list)
    _told: Held | None = None

    async def page(self) -> Page:
        """Ask for the next page and take it in."""
        since = "" if self.cursor is None else f"?since={self.cursor}"
        served = await self.agent.get(f"/vault/sync{since}")
        # What the emulator serves is what the strict reader takes.
        read_sync_page(served)
        assert isinstance(served, dict)
        page: Page = copy.deepcopy(served)
        self.pages.append(page)
        self._take(page)
        self.cursor = page["cursor"]
        return page

    async def drain(self) -> list[Page]:
        """Ask until nothing is left to be told; returns the pages."""
        pages = [await self.page()]
        while pages[-1]["more"]:
            pages.append(await self.page())
        return pages

    def _take(self, page: Page) -> None:
        if page["full"] and self._told is None:
            # What is not told from here on is gone.
            self._told = {}
        held = self.held if self._told is None else self._told
        for told in page["vaults"]:
            vault_id = told["vault"]["id"]
            items = held.get(vault_id, {}).get("items", {})
            held[vault_id] = {**told, "items": {**items, **{item["id"]: item for item in told["items"]}}}
        for removed in page["removedItems"]:
            held.get(removed["vaultId"], {"items": {}})["items"].pop(removed["itemId"], None)
        for vault_id in page["removedVaultIds"]:
            held.pop(vault_id, None)
        for told in page["vaults"]:
            signed = told["summaryCheckpoint"]["checkpoint"]["items"]
            assert {item["id"] for item in signed} == set(held[told["vault"]["id"]]["items"])
        if self._told is not None and not page["more"]:
            self.held, self._told = self._told, None


async def fetched_alone(agent: AgentClient) -> Held:
    """Return the same as a full sync, each part from its own endpoint."""
    held: Held = {}
    listed: Any = await agent.get("/vault")
    for vault in listed["vaults"]:
        path = f"/vault/{vault['id']}"
        listing: Any = await agent.get(f"{path}/items")
        wrapped = await agent.call("GET", f"{path}/wrapped-key")
        items = {}
        for line in listing["items"]:
            found: Any = await agent.get(f"{path}/items/{line['id']}")
            bare = [{key: value for key, value in one.items() if key != "value"} for one in found["fields"]]
            items[line["id"]] = {**found, "fields": bare}
        held[vault["id"]] = {
            "vault": vault,
            "wrappedKey": wrapped.json() if wrapped.is_success else None,
            "directory": await agent.get(f"{path}/public-keys"),
            "summaryCheckpoint": listing["summaryCheckpoint"],
            "items": items,
        }
    return held


def told(page: Page) -> dict[str, list[str]]:
    """Return the vaults that a page tells of, by name, each with the names of the items that came."""
    return {one["vault"]["name"]: [item["name"] for item in one["items"]] for one in page["vaults"]}


def size_of(page: Page) -> int:
    """Return how many bytes a page has."""
    return len(compact_json(page).encode("utf-8"))
