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
    lied, true = _vaults(asked, lie), _vaults(asked, None)
    if lied is None or lied == true:
        return honest
    told: list[Json] = [*lied]
    return Reply(200, {**honest.body, "full": True, "vaults": told, "removedVaultIds": [], "removedItems": []})


def singles(asked: Asked) -> Iterator[Asked]:
    """Yield the single requests that a sync answers, each answered truthfully."""
    for line in _rows(_body(asked, None, LIST_VAULTS), "vaults"):
        vault_id = str(line["id"])
        for endpoint in (GET_DIRECTORY, LIST_ITEMS):
            yield _single(asked, endpoint, vault_id=vault_id)
        for item in _rows(_body(asked, None, LIST_ITEMS, vault_id=vault_id), "items"):
            yield _single(asked, GET_ITEM, vault_id=vault_id, item_id=str(item["id"]))


def _vaults(asked: Asked, lie: Lie | None) -> list[dict[str, Json]] | None:
    listed, true = (_rows(_body(asked, one, LIST_VAULTS), "vaults") for one in (lie, None))
    if len(listed) < len(true):
        return None
    vaults = []
    # A vault that is listed beyond the true ones is an invented one.
    for line, true_line in zip(listed, [*true, *listed[len(true) :]], strict=True):
        entry = _vault(asked, lie, line, true_line)
        if entry is None:
            return None
        vaults.append(entry)
    return vaults


def _vault(asked: Asked, lie: Lie | None, line: dict[str, Json], true_line: dict[str, Json]) -> dict[str, Json] | None:
    vault_id = str(true_line["id"])
    directory = _body(asked, lie, GET_DIRECTORY, vault_id=vault_id)
    listing = _body(asked, lie, LIST_ITEMS, vault_id=vault_id)
    if directory is None or listing is None:
        return None
    if line == true_line:
        line = {**line, "name": listing.get("vaultName"), "dataClassification": listing.get("dataClassification")}
    items: list[Json] = [_item(asked, lie, vault_id, item) for item in _rows(listing, "items")]
    return {
        "vault": line,
        "wrappedKey": None,
        "directory": directory,
        "summaryCheckpoint": listing.get("summaryCheckpoint"),
        "items": items,
    }


def _item(asked: Asked, lie: Lie | None, vault_id: str, listed: dict[str, Json]) -> dict[str, Json]:
    path = {"vault_id": vault_id, "item_id": str(listed["id"])}
    true = _body(asked, None, GET_ITEM, **path) or {}
    alone = _body(asked, lie, GET_ITEM, **path) or true
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


def _single(asked: Asked, endpoint: Endpoint, **path: str) -> Asked:
    return replace(asked, route=_ROUTES[endpoint], incoming=replace(asked.incoming, path=path, query={}, body=b""))


def _body(asked: Asked, lie: Lie | None, endpoint: Endpoint, **path: str) -> dict[str, Json] | None:
    single = _single(asked, endpoint, **path)
    reply = single.honest() if lie is None else lie(single)
    if not isinstance(reply, Reply) or reply.status >= _REFUSED or not isinstance(reply.body, dict):
        return None
    return reply.body


def _rows(body: Mapping[str, Json] | None, name: str) -> list[dict[str, Json]]:
    found = None if body is None else body.get(name)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
