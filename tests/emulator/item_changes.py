"""Ways to break a well-formed item creation, each with the reason that the refusal must name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from r4_mcp.core.wire import Classification, FieldId, FieldInstanceId, ItemId, ItemType, VaultId
from r4_mcp.emulator.fresh import new_id
from r4_mcp.machine.contract import MAX_FIELDS, MAX_WEBSITES

from .client import ItemParts

Change: TypeAlias = Callable[[ItemParts], ItemParts]


def body_with(**members: object) -> Change:
    """Change members of the posted body alone."""
    return lambda parts: replace(parts, body={**parts.body, **members})


def field_with(**members: object) -> Change:
    """Change members of the first posted field alone."""

    def change(parts: ItemParts) -> ItemParts:
        first, *rest = parts.body["fields"]
        return replace(parts, body={**parts.body, "fields": [{**first, **members}, *rest]})

    return change


def detail_with(**members: Any) -> Change:  # noqa: ANN401 - the members of DetailCheckpoint have many types
    """Sign another detail."""
    return lambda parts: replace(parts, detail=replace(parts.detail, **members))


def line_with(**members: Any) -> Change:  # noqa: ANN401 - the members of SignedField have many types
    """Sign another first field."""

    def change(parts: ItemParts) -> ItemParts:
        first, *rest = parts.detail.fields
        return replace(parts, detail=replace(parts.detail, fields=(replace(first, **members), *rest)))

    return change


def summary_with(**members: Any) -> Change:  # noqa: ANN401 - the members of SummaryCheckpoint have many types
    """Sign another summary."""
    return lambda parts: replace(parts, summary=replace(parts.summary, **members))


def everywhere(name: str = "Example API", websites: tuple[str, ...] = ()) -> Change:
    """Give the item another name and websites in all three places."""

    def change(parts: ItemParts) -> ItemParts:
        *others, line = parts.summary.items
        return ItemParts(
            {**parts.body, "name": name, "websites": list(websites)},
            replace(parts.detail, name=name, websites=websites),
            replace(parts.summary, items=(*others, replace(line, name=name, websites=websites))),
        )

    return change


def two_fields(shared: str) -> Change:
    """Add a second field that shares one member with the first one."""

    def change(parts: ItemParts) -> ItemParts:
        (line,), (posted,) = parts.detail.fields, parts.body["fields"]
        fresh: dict[str, Any] = {
            "id": FieldId(new_id()),
            "instance_ids": (FieldInstanceId(new_id()),),
            "order": line.order + 1,
        }
        del fresh[shared]
        other = replace(line, **fresh)
        again = {**posted, "id": other.id, "fieldInstanceId": other.instance_ids[0]}
        detail = replace(parts.detail, fields=(line, other))
        return replace(parts, body={**parts.body, "fields": [posted, again]}, detail=detail)

    return change


def many_fields(parts: ItemParts) -> ItemParts:
    """Post one field more than an item may have."""
    return replace(parts, body={**parts.body, "fields": parts.body["fields"] * (MAX_FIELDS + 1)})


def drop_older(parts: ItemParts) -> ItemParts:
    """Sign a summary without the item that was there before."""
    return replace(parts, summary=replace(parts.summary, items=parts.summary.items[-1:]))


def rename_older(parts: ItemParts) -> ItemParts:
    """Sign a summary that renames the item that was there before."""
    first, *rest = parts.summary.items
    return replace(parts, summary=replace(parts.summary, items=(replace(first, name="Renamed"), *rest)))


def forget_new(parts: ItemParts) -> ItemParts:
    """Sign a summary without the new item."""
    return replace(parts, summary=replace(parts.summary, items=parts.summary.items[:-1]))


GOOD_IV, GOOD_TAG = "AAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAA=="

REFUSED_PARTS: Mapping[str, tuple[str, Change]] = {
    "the name is empty": ("rule 8", everywhere(name="")),
    "the name is too long": ("rule 8", everywhere(name="x" * 256)),
    "there are too many websites": ("rule 8", everywhere(websites=("https://example.com",) * (MAX_WEBSITES + 1))),
    "there are too many fields": ("rule 8", many_fields),
    "the body has an unknown member": ("body has 1 member(s)", body_with(groupId=None)),
    "the body's type is unknown": ("body.type", body_with(type="PASSPORT")),
    "the body's id is not an id": ("body.id", body_with(id="X" * 24)),
    "the body names another item": ("rule 3", body_with(id=new_id())),
    "the body has another name": ("rule 7", body_with(name="Other")),
    "the body has other websites": ("rule 7", body_with(websites=[])),
    "the body's fields are not a list": ("body.fields", body_with(fields={})),
    "a field is missing in the body": ("rule 7", body_with(fields=[])),
    "a field has another id": ("rule 7", field_with(id=new_id())),
    "a field has another name": ("rule 7", field_with(name="Other")),
    "a field has another type": ("rule 7", field_with(type="PASSWORD")),
    "a field has another instance": ("rule 7", field_with(fieldInstanceId=new_id())),
    "a field has an unknown member": ("body.fields[0] has 1 member(s)", field_with(order=0)),
    "a field has an empty name": ("rule 8", field_with(name="")),
    "a field is a file": ("rule 7", field_with(type="FILE")),
    "a value is plain text": ("encryptedValue is not JSON", field_with(encryptedValue="hunter2")),
    "a value is null": ("encryptedValue is not a string", field_with(encryptedValue=None)),
    "a value is of envelope version 2": (
        "rule 7",
        field_with(encryptedValue=f'{{"v":2,"iv":"{GOOD_IV}","t":"{GOOD_TAG}","d":""}}'),
    ),
    "a value has a short iv": ("rule 7", field_with(encryptedValue=f'{{"v":3,"iv":"AAAA","t":"{GOOD_TAG}","d":""}}')),
    "a value has a short tag": ("rule 7", field_with(encryptedValue=f'{{"v":3,"iv":"{GOOD_IV}","t":"AAAA","d":""}}')),
    "a value has an unknown member": (
        "encryptedValue has 1 member(s)",
        field_with(encryptedValue=f'{{"v":3,"iv":"{GOOD_IV}","t":"{GOOD_TAG}","d":"","k":1}}'),
    ),
    "a value has spaces": ("rule 7", field_with(encryptedValue=f'{{"v": 3,"iv":"{GOOD_IV}","t":"{GOOD_TAG}","d":""}}')),
    "a value is over its size": ("characters", field_with(encryptedValue="x" * 400_000)),
    "two fields share an id": ("lists a field twice", two_fields("id")),
    "two fields share an instance": ("rule 7", two_fields("instance_ids")),
    "two fields share an order": ("rule 7", two_fields("order")),
    "the detail is for another vault": ("rule 3", detail_with(vault_id=VaultId(new_id()))),
    "the detail is for another item": ("rule 3", detail_with(item_id=ItemId(new_id()))),
    "the detail has another name": ("rule 7", detail_with(name="Other")),
    "the detail has another type": ("rule 7", detail_with(type=ItemType.LOGIN)),
    "the detail has other websites": ("rule 7", detail_with(websites=())),
    "the detail has a group": ("rule 7", detail_with(group_id="group")),
    "the detail has version 2": ("rule 4", detail_with(version=2)),
    "the detail has no fields": ("rule 7", detail_with(fields=())),
    "a signed field has another name": ("rule 7", line_with(name="Other")),
    "a signed field has an asset": ("rule 7", line_with(asset_ids=("asset",))),
    "a signed field has two instances": (
        "rule 7",
        line_with(instance_ids=(FieldInstanceId(new_id()), FieldInstanceId(new_id()))),
    ),
    "the summary is for another vault": ("rule 3", summary_with(vault_id=VaultId(new_id()))),
    "the summary renames the vault": ("rule 6", summary_with(name="Other")),
    "the summary reclassifies the vault": ("rule 6", summary_with(classification=Classification.PUBLIC)),
    "the summary changes the DEK version": ("rule 6", summary_with(dek_version=2)),
    "the summary adds a group": ("rule 6", summary_with(groups=b'[{"id":"x"}]')),
    "the summary drops an item": ("rule 5", drop_older),
    "the summary renames an item": ("rules 6", rename_older),
    "the summary lacks the new item": ("rule 5", forget_new),
}
