"""A posted change of an item, checked as a whole (write rules 3 to 8 of ``checks``).

What this file does not do: look at the vault's summary beyond the item's line, or store.

Rules of the wire profile [ours], where the contract leaves the body open (contract §2 *Update item*):
1. ``fieldInstanceId`` and ``value`` come together, or in an ``update`` not at all: then the value stays. FILE fields have none.
2. A ``delete`` needs the field's id; ``name``, ``type`` and ``fieldInstanceId`` may repeat what is stored, nothing else is said.
3. Without ``order`` a new field goes last and an old one keeps its place. Without ``isEnvironmentVariable`` a new field is not
   marked and an old one stays as it is.
4. A field is named once.
5. ``notes`` are refused: no checkpoint covers them and no answer serves them, so they would be unsigned plain text for nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from r4_mcp.core.encoding import Json
from r4_mcp.core.envelope import MAX_ENVELOPE_SIZE
from r4_mcp.core.record import Record, open_record
from r4_mcp.core.signing import Context
from r4_mcp.core.wire import (
    DetailCheckpoint,
    FieldId,
    FieldInstanceId,
    FieldType,
    ItemType,
    Signed,
    SignedField,
    SignedItem,
    read_detail,
)
from r4_mcp.emulator.checks import check_envelope, check_name, check_version, check_websites, signed_by
from r4_mcp.emulator.item_rows import FieldRow, ItemRow
from r4_mcp.emulator.signing_keys import SigningKey
from r4_mcp.errors import MalformedError
from r4_mcp.machine.contract import MAX_FIELDS

_NEEDED: Final = frozenset({"updates", "summaryCheckpoint", "detailCheckpoint"})
_BODY_KEYS: Final = _NEEDED | {"name", "type", "websites"}
_UPDATE_KEYS: Final = frozenset(
    {"action", "fieldId", "fieldInstanceId", "name", "type", "value", "order", "isEnvironmentVariable"}
)
_DELETE_KEYS: Final = frozenset({"action", "fieldId", "fieldInstanceId", "name", "type"})


class Action(StrEnum):
    """What happens to a field."""

    ADD = "add"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class ChangedItem:
    """What an item becomes, where body and detail checkpoint agree.

    Attributes:
        line: Its line in the next summary.
        detail: Its next detail.
        envelopes: The ciphertext of each new instance.
        added: The fields that are new.
        exported: The fields that are marked for environment export from now on.
    """

    line: SignedItem
    detail: Signed[DetailCheckpoint]
    envelopes: Mapping[FieldInstanceId, str]
    added: frozenset[FieldId]
    exported: frozenset[FieldId]


def read_update_body(value: Json) -> Record:
    """Read the members of an update's body.

    Raises:
        MalformedError: One is missing, or there is one that the contract does not name.
    """
    record = open_record(value, "body")
    missing = _NEEDED - record.members.keys()
    if missing:
        raise MalformedError(f"body lacks {', '.join(sorted(missing))}")
    if "notes" in record.members:
        raise MalformedError("notes are covered by no checkpoint and are not taken; make them a field (update rule 5)")
    if record.members.keys() - _BODY_KEYS:
        raise MalformedError("body has a member that the contract does not name")
    return record


def read_changed_item(record: Record, item: ItemRow, fields: Sequence[FieldRow], key: SigningKey) -> ChangedItem:
    """Read and check the body of an update against the item as stored.

    Args:
        record: The body, from ``read_update_body``.
        item: The item as stored.
        fields: Its fields as stored.
        key: The caller's current key.

    Raises:
        RefusalError: Write rules 1 or 4.
        SignatureError: Write rule 2.
        MalformedError: Write rules 3, 7 or 8, or an update rule.
    """
    detail = read_detail(record.members["detailCheckpoint"], "detailCheckpoint")
    checkpoint = signed_by(key, detail, Context.DETAIL)
    stored = read_detail(item.detail, "stored detail").checkpoint
    if checkpoint.vault_id != item.vault_id or checkpoint.item_id != item.line.id:
        raise MalformedError("the detail is for another vault or item (write rule 3)")
    # Before the fields are looked at: a repeated request is a conflict, not a field that is there already.
    check_version(checkpoint.version, stored.version, "detail")
    line = _next_line(record, item.line)
    updates = record.parts("updates", open_record)
    after = _Fields(fields)
    # No item has more fields to change, and none can get more.
    for index, posted in enumerate(updates[: 2 * MAX_FIELDS]):
        after.apply(posted, f"updates[{index}]")
    if len(after.lines) > MAX_FIELDS or len(updates) > 2 * MAX_FIELDS:
        raise MalformedError(f"an item has at most {MAX_FIELDS} fields (write rule 8)")
    if len({field.order for field in after.lines.values()}) != len(after.lines):
        raise MalformedError("two fields have the same order (write rule 7)")
    if SignedItem(line.id, checkpoint.name, checkpoint.type, checkpoint.websites, checkpoint.group_id) != line:
        raise MalformedError("the detail names the item differently than the update leaves it (write rule 7)")
    if {field.id: field for field in checkpoint.fields} != after.lines:
        raise MalformedError("the fields of the detail are not what the update leaves (write rule 7)")
    return ChangedItem(line, detail, after.envelopes, frozenset(after.added), frozenset(after.exported))


def _next_line(record: Record, stored: SignedItem) -> SignedItem:
    line = replace(
        stored,
        name=record.text("name") if "name" in record.members else stored.name,
        type=record.choice("type", ItemType) if "type" in record.members else stored.type,
        websites=record.texts("websites") if "websites" in record.members else stored.websites,
    )
    check_name(line.name, "the item's name")
    check_websites(line.websites)
    return line


class _Fields:
    """An item's fields while updates are applied to them."""

    def __init__(self, stored: Sequence[FieldRow]) -> None:
        self.lines = {field.line.id: field.line for field in stored}
        self.exported = {field.line.id for field in stored if field.exported}
        self.envelopes: dict[FieldInstanceId, str] = {}
        self.added: set[FieldId] = set()
        self._named: set[FieldId] = set()

    def apply(self, posted: Record, what: str) -> None:
        """Apply one update.

        Raises:
            MalformedError: Write rules 7 or 8, or an update rule.
        """
        action = posted.choice("action", Action)
        if posted.members.keys() - (_DELETE_KEYS if action is Action.DELETE else _UPDATE_KEYS):
            raise MalformedError(f"{what} has a member that the contract does not name for its action")
        field_id = FieldId(posted.identifier("fieldId"))
        if field_id in self._named:
            raise MalformedError(f"{what} names a field a second time (update rule 4)")
        self._named.add(field_id)
        before = self.lines.get(field_id)
        if action is Action.ADD:
            if before is not None:
                raise MalformedError(f"{what} adds a field that is there (write rule 7)")
            last = max((line.order for line in self.lines.values()), default=-1)
            before = SignedField(field_id, "", posted.choice("type", FieldType), last + 1, (), ())
            self.added.add(field_id)
        elif before is None:
            raise MalformedError(f"{what} is about a field that the item does not have (write rule 7)")
        if action is Action.DELETE:
            _check_repeated(posted, before, what)
            self.exported.discard(field_id)
            del self.lines[field_id]
        else:
            self._put(posted, before, what)

    def _put(self, posted: Record, before: SignedField, what: str) -> None:
        after = replace(before, name=posted.text("name"), type=posted.choice("type", FieldType))
        check_name(after.name, f"{what}.name")
        if "order" in posted.members:
            after = replace(after, order=posted.integer("order"))
        if "isEnvironmentVariable" in posted.members:
            (self.exported.add if posted.boolean("isEnvironmentVariable") else self.exported.discard)(before.id)
        has_value = "value" in posted.members
        if has_value is not ("fieldInstanceId" in posted.members):
            raise MalformedError(f"{what} has a value without an instance, or an instance without a value (update rule 1)")
        if (after.type is FieldType.FILE) is not (before.type is FieldType.FILE) or (has_value and after.type is FieldType.FILE):
            raise MalformedError(f"{what}: a FILE field has no value to post and stays one (update rule 1)")
        if has_value:
            instance = FieldInstanceId(posted.identifier("fieldInstanceId"))
            if instance in self.envelopes:
                raise MalformedError("two fields share an instance id (write rule 7)")
            self.envelopes[instance] = posted.text("value", max_length=MAX_ENVELOPE_SIZE)
            check_envelope(self.envelopes[instance], "value")
            after = replace(after, instance_ids=(*after.instance_ids, instance))
        elif before.id in self.added:
            raise MalformedError(f"{what} adds a field without a value (update rule 1)")
        self.lines[before.id] = after


def _check_repeated(posted: Record, stored: SignedField, what: str) -> None:
    claimed = (
        posted.text("name") if posted.has("name") else stored.name,
        posted.choice("type", FieldType) if posted.has("type") else stored.type,
        posted.identifier("fieldInstanceId") if posted.has("fieldInstanceId") else None,
    )
    latest = stored.instance_ids[-1] if posted.has("fieldInstanceId") and stored.instance_ids else None
    if claimed != (stored.name, stored.type, latest):
        raise MalformedError(f"{what} deletes a field and describes another one (update rule 2)")
