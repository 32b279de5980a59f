"""Lies about contents: ciphertext moved, fields and items renamed, retyped, hidden, added, swapped.

What this file does not do: forge signatures. The signed metadata beside these lies is the honest one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Final

from r4_mcp.core.encoding import Json
from r4_mcp.core.envelope import Place
from r4_mcp.emulator.faults_liar import Asked, Edit, Fault, Lie, edit_of, editing, number, part, rows, text
from r4_mcp.emulator.fresh import new_id
from r4_mcp.emulator.item_rows import live_items, sealed_instances
from r4_mcp.emulator.refusal import Reply
from r4_mcp.machine.contract import GET_DIRECTORY, GET_FIELD, GET_ITEM, LIST_ITEMS, LIST_VAULTS

ELSEWHERE: Final = "https://attacker.example"
_Fit = Callable[[Place, Place], bool]


def _fields(asked: Asked, body: dict[str, Json]) -> list[dict[str, Json]]:
    return [body] if asked.endpoint is GET_FIELD else [part(row) for row in rows(body["fields"])]


def _item_id(asked: Asked, body: dict[str, Json]) -> str:
    return text(body["vaultItemId"] if asked.endpoint is GET_FIELD else body["id"])


def _ciphertext_from(fits: _Fit) -> Lie:
    """Serve each field the current ciphertext of a place that fits."""

    def edit(asked: Asked, body: dict[str, Json]) -> None:
        item_id = _item_id(asked, body)
        with asked.store.read() as db:
            places = [one for vault_id in asked.liar.vault_ids() for one in sealed_instances(db, vault_id)]
        here = {one.place.field_id: one.place for one in places if one.place.item_id == item_id}
        for field in _fields(asked, body):
            own = next((place for key, place in here.items() if key == field["id"]), None)
            if own is not None:
                field["value"] = next((one.envelope for one in places if fits(own, one.place)), field["value"])

    return edit_of(edit, GET_ITEM, GET_FIELD)


def _same_item(own: Place, other: Place) -> bool:
    return other.item_id == own.item_id and other.field_id != own.field_id


def _same_vault(own: Place, other: Place) -> bool:
    return other.vault_id == own.vault_id and other.item_id != own.item_id


def _other_vault(own: Place, other: Place) -> bool:
    return other.vault_id != own.vault_id


def _envelope(change: Callable[[str], str]) -> Lie:
    def edit(asked: Asked, body: dict[str, Json]) -> None:
        for field in _fields(asked, body):
            if field["value"] is not None:
                field["value"] = change(text(field["value"]))

    return edit_of(edit, GET_ITEM, GET_FIELD)


def _set_on_fields(key: str, value: Json) -> Lie:
    def edit(asked: Asked, body: dict[str, Json]) -> None:
        for field in _fields(asked, body):
            field[key] = value

    return edit_of(edit, GET_ITEM, GET_FIELD)


def _older_instance(asked: Asked, body: dict[str, Json]) -> None:
    for field in _fields(asked, body):
        if field["fieldInstanceIds"]:
            field["fieldInstanceIds"] = [new_id(), *rows(field["fieldInstanceIds"])][::-1]
            if asked.endpoint is GET_FIELD:
                field["fieldInstanceId"] = rows(field["fieldInstanceIds"])[-1]


def _hide_field(_: Asked, body: dict[str, Json]) -> None:
    rows(body["fields"]).pop()


def _add_field(_: Asked, body: dict[str, Json]) -> None:
    rows(body["fields"]).append({**part(rows(body["fields"])[0]), "id": new_id(), "name": "Recovery Code"})


def _repeat_field(_: Asked, body: dict[str, Json]) -> None:
    rows(body["fields"]).append(copy.deepcopy(rows(body["fields"])[0]))


def _listing(change: Callable[[list[Json]], None]) -> Lie:
    def edit(_: Asked, body: dict[str, Json]) -> None:
        change(rows(body["items"]))
        body["count"] = len(rows(body["items"]))

    return edit_of(edit, LIST_ITEMS)


def _hide_item(items: list[Json]) -> None:
    items.pop()


def _add_item(items: list[Json]) -> None:
    items.append({**part(items[-1]), "id": new_id(), "name": "Root Password"})


def _repeat_item(items: list[Json]) -> None:
    items.append(copy.deepcopy(items[-1]))


def _set_on_item(key: str, value: Json) -> Callable[[list[Json]], None]:
    def change(items: list[Json]) -> None:
        part(items[-1])[key] = value

    return change


def _set(key: str, value: Json) -> Edit:
    def edit(_: Asked, body: dict[str, Json]) -> None:
        body[key] = value

    return edit


def _next_dek_version(_: Asked, body: dict[str, Json]) -> None:
    body["currentDekVersion"] = number(body["currentDekVersion"]) + 1


def _sibling_item(asked: Asked) -> Reply:
    reply = asked.honest()
    if asked.endpoint is not GET_ITEM:
        return reply
    with asked.store.read() as db:
        others = [item.line.id for item in live_items(db, asked.vault_id) if item.line.id != asked.incoming.path["item_id"]]
    return asked.instead(item_id=others[-1])


def _sibling_field(asked: Asked) -> Reply:
    reply = asked.honest()
    if asked.endpoint is not GET_FIELD:
        return reply
    item_id, field_id = part(reply.body)["vaultItemId"], asked.incoming.path["field_id"]
    with asked.store.read() as db:
        places = [one.place for one in sealed_instances(db, asked.vault_id)]
    other = next(place for place in places if place.item_id == item_id and place.field_id != field_id)
    return asked.instead(field_id=other.field_id)


def _other_vaults(asked: Asked) -> Reply:
    reply = asked.honest()
    if asked.endpoint not in {LIST_ITEMS, GET_DIRECTORY}:
        return reply
    return asked.instead(vault_id=next(key for key in asked.liar.vault_ids() if key != asked.vault_id))


def _deny_item(asked: Asked) -> Reply:
    reply = asked.honest()
    gone: Json = {"error": {"code": "vault_item_not_found", "message": "gone"}}
    return Reply(404, gone) if asked.endpoint in {GET_ITEM, GET_FIELD} else reply


def _rotate_names(_: Asked, body: dict[str, Json]) -> None:
    vaults = [part(row) for row in rows(body["vaults"])]
    names = [vault["name"] for vault in vaults]
    for vault, name in zip(vaults, names[1:] + names[:1], strict=True):
        vault["name"] = name


_GET_ITEM_OR_FIELD: Final = {GET_ITEM: _set("name", "Harmless"), GET_FIELD: _set("vaultItemName", "Harmless")}

FAULTS: Final = (
    Fault("ciphertext-of-another-field", "Each field gets the ciphertext of a sibling.", _ciphertext_from(_same_item)),
    Fault("ciphertext-of-another-item", "Each field gets a ciphertext of another item.", _ciphertext_from(_same_vault)),
    Fault("ciphertext-of-another-vault", "Each field gets a ciphertext of another vault.", _ciphertext_from(_other_vault)),
    Fault("ciphertext-truncated", "Each envelope lacks its last character.", _envelope(lambda value: value[:-1])),
    Fault("envelope-version-2", "Envelopes claim version 2.", _envelope(lambda value: value.replace('"v":3', '"v":2'))),
    Fault("envelope-respelled", "Envelopes are spelled with a space.", _envelope(lambda value: value.replace('"v":3', '"v": 3'))),
    Fault(
        "envelope-with-unknown-member",
        "Envelopes have a member more.",
        _envelope(lambda value: value.replace('{"v":3', '{"alg":"none","v":3')),
    ),
    Fault("field-renamed", "Fields are served under another name than the signed one.", _set_on_fields("name", "Harmless")),
    Fault("field-retyped", "Secret fields are served as URLs.", _set_on_fields("type", "URL")),
    Fault(
        "field-in-an-unsigned-instance",
        "Fields get an instance that nobody signed.",
        edit_of(_older_instance, GET_ITEM, GET_FIELD),
    ),
    Fault("field-hidden", "An item lacks its last field.", edit_of(_hide_field, GET_ITEM)),
    Fault("field-added", "An item has a field more.", edit_of(_add_field, GET_ITEM)),
    Fault("field-duplicated", "An item has a field twice.", edit_of(_repeat_field, GET_ITEM)),
    Fault("field-swapped", "A field is answered with its sibling, whole and honest.", _sibling_field),
    Fault("item-hidden", "The listing lacks the newest item.", _listing(_hide_item)),
    Fault("item-added", "The listing has an item more.", _listing(_add_item)),
    Fault("item-duplicated", "The listing has an item twice.", _listing(_repeat_item)),
    Fault("item-renamed-in-listing", "The newest item is listed under another name.", _listing(_set_on_item("name", "Harmless"))),
    Fault(
        "item-retyped-in-listing", "The newest item is listed with another type.", _listing(_set_on_item("type", "SECURE_NOTE"))
    ),
    Fault(
        "item-websites-changed-in-listing",
        "The newest item is listed with the attacker's website.",
        _listing(_set_on_item("websites", [ELSEWHERE])),
    ),
    Fault("item-regrouped-in-listing", "The newest item is listed in a group.", _listing(_set_on_item("groupId", new_id()))),
    Fault("item-renamed-on-get", "Items are served under another name.", editing(_GET_ITEM_OR_FIELD)),
    Fault("item-retyped-on-get", "Items are served with another type.", edit_of(_set("type", "SECURE_NOTE"), GET_ITEM)),
    Fault("item-websites-changed-on-get", "Items get the attacker's website.", edit_of(_set("websites", [ELSEWHERE]), GET_ITEM)),
    Fault("item-swapped", "An item is answered with another one of its vault, whole and honest.", _sibling_item),
    Fault("item-denied-on-get", "A listed item is said not to exist.", _deny_item),
    Fault("vault-swapped", "A vault is answered with another one, whole and honest.", _other_vaults),
    Fault(
        "vault-renamed-in-listing", "The item listing names its vault differently.", edit_of(_set("vaultName", "X"), LIST_ITEMS)
    ),
    Fault(
        "classification-changed-in-listing",
        "The item listing calls its vault PUBLIC.",
        edit_of(_set("dataClassification", "PUBLIC"), LIST_ITEMS),
    ),
    Fault(
        "dek-version-changed-in-listing",
        "The item listing names a higher key version than its signed summary.",
        edit_of(_next_dek_version, LIST_ITEMS),
    ),
    Fault("item-count-lied", "The item listing counts one item more.", edit_of(_set("count", 999), LIST_ITEMS)),
    Fault("vault-listed-under-another-name", "The vault list exchanges the vaults' names.", edit_of(_rotate_names, LIST_VAULTS)),
)
