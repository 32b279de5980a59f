"""Changes of an item, well formed, and ways to break them, each with the reason that the refusal must name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import httpx

from r4_mcp.core.envelope import IV_SIZE, Place, seal
from r4_mcp.core.served import read_item
from r4_mcp.core.wire import (
    Classification,
    DetailCheckpoint,
    FieldId,
    FieldInstanceId,
    FieldType,
    ItemId,
    ItemType,
    SignedField,
    SummaryCheckpoint,
    VaultId,
)
from r4_mcp.core.wrapping import Dek
from r4_mcp.emulator.fresh import new_id
from r4_mcp.machine.contract import MAX_FIELDS, MAX_WEBSITES

from .client import AgentClient

JUNK = '{"v":3,"iv":"AAAAAAAAAAAAAAAA","t":"AAAAAAAAAAAAAAAAAAAAAA==","d":""}'


@dataclass(frozen=True)
class Update:
    """A change of one item before it is signed: what is posted, and the checkpoints that it results in."""

    agent: AgentClient
    dek: Dek
    body: dict[str, Any]
    detail: DetailCheckpoint
    summary: SummaryCheckpoint

    @property
    def updates(self) -> list[dict[str, Any]]:
        """The posted updates."""
        return list(self.body["updates"])

    def signed(self) -> dict[str, Any]:
        """Return the signed body."""
        return {
            **self.body,
            "summaryCheckpoint": self.agent.signed_summary(self.summary),
            "detailCheckpoint": self.agent.signed_detail(self.detail),
        }

    async def send(self) -> httpx.Response:
        """Sign and send it."""
        return await self.agent.call("PATCH", path_of(self.detail.item_id), self.signed())

    def sealed(self, field_id: FieldId, instance_id: FieldInstanceId, value: str) -> str:
        """Seal a value in its place."""
        place = Place(self.detail.vault_id, self.detail.item_id, field_id, instance_id)
        return seal(self.dek.key, place, self.agent.secret(value), os.urandom(IV_SIZE))


Change: TypeAlias = Callable[[Update], Update]


def path_of(item_id: str) -> str:
    """Return the path of an item's updates."""
    return f"/vault-item/{item_id}/update"


async def begin(agent: AgentClient, vault_id: VaultId, item_id: ItemId, *changes: Change) -> Update:
    """Return an update over what is stored, with these changes in it."""
    served = read_item(await agent.get(f"/vault/{vault_id}/items/{item_id}"))
    assert served.detail is not None
    detail, summary = served.detail.checkpoint, await agent.summary(vault_id)
    update = Update(
        agent,
        await agent.dek(vault_id),
        {"updates": []},
        replace(detail, version=detail.version + 1),
        replace(summary, version=summary.version + 1),
    )
    for change in changes:
        update = change(update)
    return update


def put(number: int, value: str | None = None, **members: Any) -> Change:  # noqa: ANN401 - members of SignedField have many types
    """Change a field that is there: its value, its members, or both."""

    def change(update: Update) -> Update:
        line = replace(update.detail.fields[number], **members)
        posted: dict[str, Any] = {"action": "update", "fieldId": line.id, "name": line.name, "type": line.type}
        if value is not None:
            line = replace(line, instance_ids=(*line.instance_ids, FieldInstanceId(new_id())))
            envelope = update.sealed(line.id, line.instance_ids[-1], value)
            posted |= {"fieldInstanceId": line.instance_ids[-1], "value": envelope}
        if "order" in members:
            posted["order"] = line.order
        fields = tuple(line if field.id == line.id else field for field in update.detail.fields)
        return replace(
            update,
            body={**update.body, "updates": [*update.updates, posted]},
            detail=replace(update.detail, fields=fields),
        )

    return change


def add(name: str, kind: FieldType, value: str) -> Change:
    """Add a field, at the end."""

    def change(update: Update) -> Update:
        order = 1 + max(field.order for field in update.detail.fields)
        line = SignedField(FieldId(new_id()), name, kind, order, (FieldInstanceId(new_id()),), ())
        posted = {
            "action": "add",
            "fieldId": line.id,
            "fieldInstanceId": line.instance_ids[0],
            "name": name,
            "type": kind,
            "value": update.sealed(line.id, line.instance_ids[0], value),
        }
        return replace(
            update,
            body={**update.body, "updates": [*update.updates, posted]},
            detail=replace(update.detail, fields=(*update.detail.fields, line)),
        )

    return change


def delete(number: int) -> Change:
    """Take a field away."""

    def change(update: Update) -> Update:
        gone = update.detail.fields[number]
        posted = {"action": "delete", "fieldId": gone.id, "name": gone.name, "type": gone.type}
        fields = tuple(field for field in update.detail.fields if field.id != gone.id)
        return replace(
            update,
            body={**update.body, "updates": [*update.updates, posted]},
            detail=replace(update.detail, fields=fields),
        )

    return change


def item(**members: Any) -> Change:  # noqa: ANN401 - name, type and websites
    """Change the item's name, type or websites in all three places."""

    def change(update: Update) -> Update:
        body = {**update.body, **{key: list(value) if key == "websites" else value for key, value in members.items()}}
        items = tuple(replace(line, **members) if line.id == update.detail.item_id else line for line in update.summary.items)
        return replace(update, body=body, detail=replace(update.detail, **members), summary=replace(update.summary, items=items))

    return change


def posted(number: int = 0, **members: object) -> Change:
    """Change members of one posted update alone; None leaves one out."""

    def change(update: Update) -> Update:
        updates = update.updates
        updates[number] = {key: value for key, value in (updates[number] | members).items() if value is not None}
        return replace(update, body={**update.body, "updates": updates})

    return change


def body(**members: object) -> Change:
    """Change members of the body alone."""
    return lambda update: replace(update, body={**update.body, **members})


def detail(**members: Any) -> Change:  # noqa: ANN401 - the members of DetailCheckpoint have many types
    """Sign another detail."""
    return lambda update: replace(update, detail=replace(update.detail, **members))


def line(number: int = 0, **members: Any) -> Change:  # noqa: ANN401 - the members of SignedField have many types
    """Sign another field line."""

    def change(update: Update) -> Update:
        fields = list(update.detail.fields)
        fields[number] = replace(fields[number], **members)
        return replace(update, detail=replace(update.detail, fields=tuple(fields)))

    return change


def summary(**members: Any) -> Change:  # noqa: ANN401 - the members of SummaryCheckpoint have many types
    """Sign another summary."""
    return lambda update: replace(update, summary=replace(update.summary, **members))


def summary_line(number: int, **members: Any) -> Change:  # noqa: ANN401 - the members of SignedItem have many types
    """Sign another item line."""

    def change(update: Update) -> Update:
        items = list(update.summary.items)
        items[number] = replace(items[number], **members)
        return replace(update, summary=replace(update.summary, items=tuple(items)))

    return change


def first_posted_again(update: Update) -> Update:
    """Post the first update twice."""
    return replace(update, body={**update.body, "updates": [*update.updates, update.updates[0]]})


def two_values_of_one_instance(update: Update) -> Update:
    """Give the second posted value the instance id of the first one."""
    return posted(1, fieldInstanceId=update.updates[0]["fieldInstanceId"])(update)


def many(count: int) -> Change:
    """Post this many new fields."""
    extra = {"action": "add", "name": "Extra", "type": "TEXT", "value": JUNK}
    more = [{**extra, "fieldId": new_id(), "fieldInstanceId": new_id()} for _ in range(count)]
    return body(updates=more)


def history_dropped(update: Update) -> Update:
    """Sign a field with its new instance alone."""
    return line(0, instance_ids=update.detail.fields[0].instance_ids[-1:])(update)


def history_reordered(update: Update) -> Update:
    """Sign a field with its new instance before the older one."""
    return line(0, instance_ids=update.detail.fields[0].instance_ids[::-1])(update)


def drop_other(update: Update) -> Update:
    """Sign a summary without the other item."""
    return replace(update, summary=replace(update.summary, items=update.summary.items[:1]))


def drop_own(update: Update) -> Update:
    """Sign a summary without the changed item."""
    return replace(update, summary=replace(update.summary, items=update.summary.items[1:]))


ATTACHMENT = 1
"""The number of the FILE field of the items of these tests."""

REFUSED: Mapping[str, tuple[str, tuple[Change, ...]]] = {
    "the body has an unknown member": ("does not name", (put(0, "x"), body(groupId=None))),
    "the body has notes": ("update rule 5", (put(0, "x"), body(notes="hunter2"))),
    "the updates are not a list": ("body.updates", (put(0, "x"), body(updates={}))),
    "an update is not an object": ("not an object", (put(0, "x"), body(updates=[[]]))),
    "the item's name is empty": ("rule 8", (item(name=""),)),
    "the item's name is too long": ("rule 8", (item(name="x" * 256),)),
    "the item's name is null": ("body.name", (body(name=None),)),
    "the item's type is unknown": ("body.type", (body(type="PASSPORT"),)),
    "there are too many websites": ("rule 8", (item(websites=("https://example.com",) * (MAX_WEBSITES + 1)),)),
    "there are too many fields": ("rule 8", (many(MAX_FIELDS - 1),)),
    "there are more updates than there can be fields": ("rule 8", (many(2 * MAX_FIELDS + 1),)),
    "the body alone has another name": ("rule 7", (body(name="Other"),)),
    "the body alone has another type": ("rule 7", (body(type="LOGIN"),)),
    "the body alone has other websites": ("rule 7", (body(websites=[]),)),
    "an action is unknown": (".action", (put(0, "x"), posted(action="replace"))),
    "an update has an unknown member": ("does not name", (put(0, "x"), posted(encryptedValue=JUNK))),
    "an update's field is not an id": (".fieldId", (put(0, "x"), posted(fieldId="X" * 24))),
    "an update is about no field of the item": ("rule 7", (put(0, "x"), posted(fieldId=new_id()))),
    "an update is said twice": ("update rule 4", (put(0, "x"), first_posted_again)),
    "an update lacks the name": ("lacks name", (put(0, "x"), posted(name=None))),
    "an update lacks the type": ("lacks type", (put(0, "x"), posted(type=None))),
    "an update has an empty name": ("rule 8", (put(0, "x", name=""),)),
    "an update lacks the instance": ("update rule 1", (put(0, "x"), posted(fieldInstanceId=None))),
    "an update lacks the value": ("update rule 1", (put(0, "x"), posted(value=None))),
    "a value is plain text": ("value is not JSON", (put(0, "x"), posted(value="hunter2"))),
    "a value has version 2": ("rule 7", (put(0, "x"), posted(value=JUNK.replace('"v":3', '"v":2')))),
    "a value has spaces": ("rule 7", (put(0, "x"), posted(value=JUNK.replace('"v":3', '"v": 3')))),
    "a value is over its size": ("characters", (put(0, "x"), posted(value="x" * 400_000))),
    "an order is negative": (".order", (put(0, "x"), posted(order=-1))),
    "a mark is no boolean": (".isEnvironmentVariable", (put(0, "x"), posted(isEnvironmentVariable=1))),
    "an attachment gets a value": ("FILE", (put(ATTACHMENT, "x"),)),
    "an attachment becomes a text": ("FILE", (put(ATTACHMENT, type=FieldType.TEXT),)),
    "a secret becomes an attachment": ("FILE", (put(0, type=FieldType.FILE),)),
    "an attachment is added": ("FILE", (add("More", FieldType.FILE, "x"),)),
    "a field is added without a value": (
        "update rule 1",
        (add("More", FieldType.TEXT, "x"), posted(value=None, fieldInstanceId=None)),
    ),
    "two values share an instance": ("rule 7", (put(0, "x"), add("More", FieldType.TEXT, "y"), two_values_of_one_instance)),
    "two fields share an order": ("same order", (put(0, order=1),)),
    "a deleted field gets a value": ("does not name", (delete(0), posted(value=JUNK))),
    "a deleted field is named otherwise": ("update rule 2", (delete(0), posted(name="Other"))),
    "a deleted field is typed otherwise": ("update rule 2", (delete(0), posted(type="TEXT"))),
    "a deleted field has another instance": ("update rule 2", (delete(0), posted(fieldInstanceId=new_id()))),
    "a deleted field is still signed": ("rule 7", (put(0, "x"), posted(action="delete", value=None, fieldInstanceId=None))),
    "a signed field has no older instance": ("rule 7", (put(0, "x"), history_dropped)),
    "a signed field has its instances in another order": ("rule 7", (put(0, "x"), history_reordered)),
    "a signed field has another instance": ("rule 7", (put(0, "x"), posted(fieldInstanceId=new_id()))),
    "a signed field has an instance that was not posted": ("rule 7", (line(0, instance_ids=(FieldInstanceId(new_id()),)),)),
    "a signed field has another name": ("rule 7", (put(0, "x"), line(0, name="Other"))),
    "a signed field has another type": ("rule 7", (put(0, "x"), line(0, type=FieldType.PASSWORD))),
    "a signed field has another order": ("rule 7", (put(0, "x"), line(0, order=7))),
    "a signed field has another asset": ("rule 7", (put(0, "x"), line(ATTACHMENT, asset_ids=("asset",)))),
    "an untouched field is renamed in the detail": ("rule 7", (put(0, "x"), line(ATTACHMENT, name="Other"))),
    "the detail has no fields": ("rule 7", (put(0, "x"), detail(fields=()))),
    "the detail is for another vault": ("rule 3", (put(0, "x"), detail(vault_id=VaultId(new_id())))),
    "the detail has another name": ("rule 7", (put(0, "x"), detail(name="Other"))),
    "the detail has another type": ("rule 7", (put(0, "x"), detail(type=ItemType.LOGIN))),
    "the detail has other websites": ("rule 7", (put(0, "x"), detail(websites=()))),
    "the detail has a group": ("rule 7", (put(0, "x"), detail(group_id="group"))),
    "the summary is for another vault": ("rule 3", (put(0, "x"), summary(vault_id=VaultId(new_id())))),
    "the summary renames the vault": ("rule 6", (put(0, "x"), summary(name="Other"))),
    "the summary reclassifies the vault": ("rule 6", (put(0, "x"), summary(classification=Classification.PUBLIC))),
    "the summary changes the DEK version": ("rule 6", (put(0, "x"), summary(dek_version=2))),
    "the summary adds a group": ("rule 6", (put(0, "x"), summary(groups=b'[{"id":"x"}]'))),
    "the summary drops the other item": ("rule 5", (put(0, "x"), drop_other)),
    "the summary drops the changed item": ("rule 5", (put(0, "x"), drop_own)),
    "the summary renames the other item": ("rules 6", (put(0, "x"), summary_line(1, name="Other"))),
    "the summary alone renames the item": ("rules 6", (put(0, "x"), summary_line(0, name="Other"))),
    "the summary keeps the item's old name": ("rules 6", (item(name="Renamed"), summary_line(0, name="Item 0"))),
    "the summary alone changes the websites": ("rules 6", (put(0, "x"), summary_line(0, websites=()))),
}
"""What the refusal must say, and the changes that lead to it; the vault has two items, and the first one is changed."""
