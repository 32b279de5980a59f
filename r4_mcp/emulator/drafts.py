"""Items to be created by the operator, and how they are sealed.

What this file does not do: sign or store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from r4_mcp.core.envelope import Place, seal
from r4_mcp.core.wire import DetailCheckpoint, FieldId, FieldInstanceId, FieldType, ItemId, ItemType, SignedField
from r4_mcp.core.wrapping import Dek
from r4_mcp.emulator.fresh import new_id, new_iv
from r4_mcp.errors import InvalidArgumentError
from r4_mcp.secret import Secret


@dataclass(frozen=True, slots=True)
class FieldDraft:
    """A field to create; FILE fields have no value. ``exported`` ones are marked for environment export."""

    name: str
    type: FieldType
    value: Secret[str] | None
    exported: bool = False


@dataclass(frozen=True, slots=True)
class ItemDraft:
    """An item to create."""

    name: str
    type: ItemType
    websites: Sequence[str]
    fields: Sequence[FieldDraft]


@dataclass(frozen=True, slots=True)
class CreatedItem:
    """The ids of a new item and its fields, in the order given."""

    item_id: ItemId
    field_ids: tuple[FieldId, ...]


def seal_item(dek: Dek, draft: ItemDraft) -> tuple[DetailCheckpoint, dict[FieldInstanceId, str]]:
    """Return a new item's first detail and the envelope of each instance.

    Raises:
        InvalidArgumentError: A value is missing, too large or not UTF-8, or a FILE field has one.
    """
    item_id = ItemId(new_id())
    lines, envelopes = [], {}
    for order, field in enumerate(draft.fields):
        field_id, instance_id = FieldId(new_id()), FieldInstanceId(new_id())
        if (field.value is None) != (field.type is FieldType.FILE):
            raise InvalidArgumentError("every field has a value, except FILE fields, which have none")
        if field.value is None:
            lines.append(SignedField(field_id, field.name, field.type, order, (), (new_id(),)))
            continue
        envelopes[instance_id] = seal(dek.key, Place(dek.vault_id, item_id, field_id, instance_id), field.value, new_iv())
        lines.append(SignedField(field_id, field.name, field.type, order, (instance_id,), ()))
    return (
        DetailCheckpoint(item_id, dek.vault_id, 1, draft.name, draft.type, tuple(draft.websites), None, tuple(lines)),
        envelopes,
    )
