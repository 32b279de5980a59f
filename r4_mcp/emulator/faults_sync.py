"""Every lie is told by sync too: a page that is put together from what the liar answers to single requests.

What this file does not do: invent lies. What has no place in a page (a count, a consistency proof, a wrapped key that is fetched
when it is used) is told where it is asked for alone.

Rules:
1. A page with a lie in it is a full one, so that it tells of vaults that did not change. One without is the honest page.
2. Where two single answers would carry one thing (an item's name in the listing and in the item), the lied one is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from r4_mcp.core.encoding import Json
from r4_mcp.emulator import routes_items, routes_vaults
from r4_mcp.emulator.dispatch import Route
from r4_mcp.emulator.refusal import Reply
from r4_mcp.machine.contract import GET_DIRECTORY, GET_ITEM, LIST_ITEMS, LIST_VAULTS, Endpoint

if TYPE_CHECKING:
    from r4_mcp.emulator.faults_liar import Answer, Asked, Lie

_ROUTES: Final[Mapping[Endpoint, Route]] = {route.endpoint: route for route in (*routes_vaults.ROUTES, *routes_items.ROUTES)}
_LINE: Final = ("name", "type", "websites", "groupId")
_REFUSED: Final = 300


def tell_by_sync(lie: Lie, asked: Asked) -> Answer:
    """Answer a sync request with what a lie makes of it.

    Args:
        lie: The lie.
        asked: The request; its endpoint is sync.
    """
    given, honest = lie(asked), asked.honest()
    if given != honest or not isinstance(honest.body, dict) or honest.status >= _REFUSED:
        return given
    page = _Page(asked)
    lied, true = page.vaults(lie), page.vaults(None)
    if lied is None or lied == true:
        return honest
    told: list[Json] = [*lied]
    return Reply(200, {**honest.body, "full": True, "vaults": told, "removedVaultIds": [], "removedItems": []})


def singles(asked: Asked) -> Iterator[Asked]:
    """Yield the single requests that a sync answers; each keeps its truthful answer once it is asked for."""
    page = _Page(asked)
    for line in _rows(page.body(None, LIST_VAULTS), "vaults"):
        vault_id = str(line["id"])
        for endpoint in (GET_DIRECTORY, LIST_ITEMS):
            yield page.single(endpoint, vault_id=vault_id)
        for item in _rows(page.body(None, LIST_ITEMS, vault_id=vault_id), "items"):
            yield page.single(GET_ITEM, vault_id=vault_id, item_id=str(item["id"]))


class _Page:
    """One page, truthful or lied: what it needs is asked for once.

    Args:
        asked: The sync request.
    """

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._singles: dict[tuple[str, ...], Asked] = {}

    def single(self, endpoint: Endpoint, **path: str) -> Asked:
        """Return a single request, which keeps its truthful answer."""
        named = (endpoint.path, *path.values())
        if named not in self._singles:
            incoming = replace(self._asked.incoming, path=path, query={}, body=b"")
            self._singles[named] = replace(self._asked, route=_ROUTES[endpoint], incoming=incoming)
        return self._singles[named]

    def body(self, lie: Lie | None, endpoint: Endpoint, **path: str) -> dict[str, Json] | None:
        """Return what is answered to a single request; None for a refusal."""
        single = self.single(endpoint, **path)
        reply = single.honest() if lie is None else lie(single)
        if not isinstance(reply, Reply) or reply.status >= _REFUSED or not isinstance(reply.body, dict):
            return None
        return reply.body

    def vaults(self, lie: Lie | None) -> list[dict[str, Json]] | None:
        """Return the vaults of the page; None where the lie has no place in one."""
        listed, true = (_rows(self.body(one, LIST_VAULTS), "vaults") for one in (lie, None))
        if len(listed) < len(true):
            return None
        vaults = []
        # A vault that is listed beyond the true ones is an invented one.
        for line, true_line in zip(listed, [*true, *listed[len(true) :]], strict=True):
            entry = self._vault(lie, line, true_line)
            if entry is None:
                return None
            vaults.append(entry)
        return vaults

    def _vault(self, lie: Lie | None, line: dict[str, Json], true_line: dict[str, Json]) -> dict[str, Json] | None:
        vault_id = str(true_line["id"])
        directory = self.body(lie, GET_DIRECTORY, vault_id=vault_id)
        listing = self.body(lie, LIST_ITEMS, vault_id=vault_id)
        if directory is None or listing is None:
            return None
        if line == true_line:
            line = {**line, "name": listing.get("vaultName"), "dataClassification": listing.get("dataClassification")}
        items: list[Json] = [self._item(lie, vault_id, item) for item in _rows(listing, "items")]
        return {
            "vault": line,
            "wrappedKey": None,
            "directory": directory,
            "summaryCheckpoint": listing.get("summaryCheckpoint"),
            "items": items,
        }

    def _item(self, lie: Lie | None, vault_id: str, listed: dict[str, Json]) -> dict[str, Json]:
        path = {"vault_id": vault_id, "item_id": str(listed["id"])}
        true = self.body(None, GET_ITEM, **path) or {}
        alone = self.body(lie, GET_ITEM, **path) or true
        fields: list[Json] = [{key: one[key] for key in one if key != "value"} for one in _rows(alone, "fields")]
        differs = {key: listed.get(key) for key in _LINE if alone.get(key) == true.get(key)}
        return {
            "id": listed["id"],
            "vaultId": alone.get("vaultId", vault_id),
            **{key: alone.get(key) for key in _LINE},
            **differs,
            "fields": fields,
            "detailCheckpoint": alone.get("detailCheckpoint"),
        }


def _rows(body: Mapping[str, Json] | None, name: str) -> list[dict[str, Json]]:
    found = None if body is None else body.get(name)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
