"""A posted item, checked as a whole (write rules 3 to 8 of ``checks``).

What this file does not do: look at the vault's summary beyond the new item's line, or store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from r4_mcp.core.encoding import Json
from r4_mcp.core.envelope import MAX_ENVELOPE_SIZE
from r4_mcp.core.record import Record, exact
from r4_mcp.core.signing import Context
from r4_mcp.core.wire import (
    DetailCheckpoint,
    FieldId,
    FieldInstanceId,
    FieldType,
    ItemId,
    ItemType,
    Signed,
    SignedField,
    SignedItem,
    VaultId,
    read_detail,
)
from r4_mcp.emulator.checks import check_envelope, check_name, check_websites, signed_by
from r4_mcp.emulator.signing_keys import SigningKey
from r4_mcp.errors import MalformedError
from r4_mcp.machine.contract import MAX_FIELDS

BODY_KEYS: Final = frozenset({"id", "name", "type", "websites", "fields", "summaryCheckpoint", "detailCheckpoint"})
_FIELD_KEYS: Final = frozenset({"id", "fieldInstanceId", "name", "type", "encryptedValue"})


@dataclass(frozen=True, slots=True)
class PostedItem:
    """A new item whose body and detail checkpoint agree."""

    line: SignedItem
    detail: Signed[DetailCheckpoint]
    envelopes: Mapping[FieldInstanceId, str]


@dataclass(frozen=True, slots=True)
class _PostedField:
    id: FieldId
    instance_id: FieldInstanceId
    name: str
    type: FieldType
    envelope: str


def read_posted_item(record: Record, vault_id: VaultId, key: SigningKey) -> PostedItem:
    """Read and check the body of an item creation.

    Args:
        record: The body, with exactly ``BODY_KEYS``.
        vault_id: The vault of the request.
        key: The caller's current key.

    Raises:
        RefusalError: Rule 1.
        SignatureError: Rule 2.
        MalformedError: Rules 3, 4, 7 or 8.
    """
    line = SignedItem(
        id=ItemId(record.identifier("id")),
        name=record.text("name"),
        type=record.choice("type", ItemType),
        websites=record.texts("websites"),
        group_id=None,
    )
    check_name(line.name, "the item's name")
    check_websites(line.websites)
    posted = record.parts("fields", _read_posted_field)
    if len(posted) > MAX_FIELDS:
        raise MalformedError(f"an item has at most {MAX_FIELDS} fields (write rule 8)")
    envelopes = {field.instance_id: field.envelope for field in posted}
    if len(envelopes) != len(posted):
        raise MalformedError("two fields share an instance id (write rule 7)")
    detail = read_detail(record.members["detailCheckpoint"], "detailCheckpoint")
    checkpoint = signed_by(key, detail, Context.DETAIL)
    _check_detail(checkpoint, line, vault_id)
    _check_fields(checkpoint.fields, posted)
    return PostedItem(line, detail, envelopes)


def _check_detail(checkpoint: DetailCheckpoint, line: SignedItem, vault_id: VaultId) -> None:
    if checkpoint.vault_id != vault_id or checkpoint.item_id != line.id:
        raise MalformedError("the detail is for another vault or item (write rule 3)")
    if checkpoint.version != 1:
        raise MalformedError("the detail of a new item has version 1 (write rule 4)")
    if SignedItem(line.id, checkpoint.name, checkpoint.type, checkpoint.websites, checkpoint.group_id) != line:
        raise MalformedError("the detail names the item differently than the body (write rule 7)")


def _check_fields(signed: tuple[SignedField, ...], posted: tuple[_PostedField, ...]) -> None:
    wanted = {field.id: (field.name, field.type, (field.instance_id,), ()) for field in posted}
    found = {line.id: (line.name, line.type, line.instance_ids, line.asset_ids) for line in signed}
    if len(wanted) != len(posted) or found != wanted:
        raise MalformedError("the fields of body and detail differ (write rule 7)")
    if len({line.order for line in signed}) != len(signed):
        raise MalformedError("two fields have the same order (write rule 7)")


def _read_posted_field(value: Json, what: str) -> _PostedField:
    record = exact(value, what, _FIELD_KEYS)
    field = _PostedField(
        id=FieldId(record.identifier("id")),
        instance_id=FieldInstanceId(record.identifier("fieldInstanceId")),
        name=record.text("name"),
        type=record.choice("type", FieldType),
        envelope=record.text("encryptedValue", max_length=MAX_ENVELOPE_SIZE),
    )
    check_name(field.name, f"{what}.name")
    if field.type is FieldType.FILE:
        raise MalformedError(f"{what} is a FILE field, which has no value to post (write rule 7)")
    check_envelope(field.envelope, "encryptedValue")
    return field
