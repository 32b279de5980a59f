"""Items, fields and their ciphertext in the store.

What this file does not do: decrypt or check. Archived items are not found here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from r4_mcp.core.encoding import Json, compact_json, parse_json
from r4_mcp.core.envelope import Place
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
)
from r4_mcp.emulator.fresh import timestamp
from r4_mcp.emulator.vault_rows import wire_form


@dataclass(frozen=True, slots=True)
class ItemRow:
    """A live item as stored."""

    line: SignedItem
    vault_id: VaultId
    detail: Json
    field_count: int
    created_at: str


@dataclass(frozen=True, slots=True)
class FieldRow:
    """A field as stored, with the envelope of its latest instance."""

    line: SignedField
    envelope: str | None
    exported: bool
    """Marked for environment export. No checkpoint names it: the mark is the service's word alone."""


@dataclass(frozen=True, slots=True)
class SealedInstance:
    """One stored ciphertext, where it belongs, and what kind of value it is."""

    place: Place
    type: FieldType
    envelope: str


_SELECT = (
    "SELECT items.*, (SELECT COUNT(*) FROM fields WHERE fields.item_id = items.id AND fields.archived_at IS NULL) AS field_count"
    " FROM items"
)


def vault_of_item(db: sqlite3.Connection, item_id: str) -> VaultId | None:
    """Return the vault of a live item."""
    row = db.execute("SELECT vault_id FROM items WHERE id = ? AND archived_at IS NULL", (item_id,)).fetchone()
    return None if row is None else row["vault_id"]


def live_items(db: sqlite3.Connection, vault_id: VaultId) -> list[ItemRow]:
    """Return a vault's items, oldest first."""
    query = _SELECT + " WHERE vault_id = ? AND items.archived_at IS NULL ORDER BY items.rowid"
    return [_read_item(row) for row in db.execute(query, (vault_id,))]


def find_item(db: sqlite3.Connection, vault_id: VaultId, item_id: str) -> ItemRow | None:
    """Return a live item of a vault."""
    query = _SELECT + " WHERE items.id = ? AND vault_id = ? AND items.archived_at IS NULL"
    row = db.execute(query, (item_id, vault_id)).fetchone()
    return None if row is None else _read_item(row)


def item_of_field(db: sqlite3.Connection, vault_id: VaultId, field_id: str) -> ItemRow | None:
    """Return the live item that a field belongs to."""
    row = db.execute("SELECT item_id FROM fields WHERE id = ? AND archived_at IS NULL", (field_id,)).fetchone()
    return None if row is None else find_item(db, vault_id, row["item_id"])


def item_fields(db: sqlite3.Connection, item_id: ItemId) -> list[FieldRow]:
    """Return an item's fields in order."""
    query = "SELECT * FROM fields WHERE item_id = ? AND archived_at IS NULL ORDER BY position"
    return [_read_field(db, row) for row in db.execute(query, (item_id,)).fetchall()]


def add_item(
    db: sqlite3.Connection,
    detail: Signed[DetailCheckpoint],
    envelopes: Mapping[FieldInstanceId, str],
    exported: Collection[FieldId] = (),
) -> None:
    """Record a new item with the ciphertext of each instance; ``exported`` fields are marked for environment export."""
    checkpoint = detail.checkpoint
    db.execute(
        "INSERT INTO items (id, vault_id, name, type, websites, group_id, detail, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            checkpoint.item_id,
            checkpoint.vault_id,
            checkpoint.name,
            checkpoint.type,
            compact_json(checkpoint.websites),
            checkpoint.group_id,
            compact_json(wire_form(detail)),
            timestamp(),
        ),
    )
    for line in checkpoint.fields:
        _put_field(db, checkpoint.item_id, line, envelopes, exported=line.id in exported)


def change_item(
    db: sqlite3.Connection,
    detail: Signed[DetailCheckpoint],
    envelopes: Mapping[FieldInstanceId, str],
    exported: Collection[FieldId],
) -> None:
    """Record what an item became. Older instances stay, and so do the rows of fields that it no longer has.

    Args:
        db: The store.
        detail: The item's next detail.
        envelopes: The ciphertext of each instance that is new in it.
        exported: The fields that are marked for environment export from now on.
    """
    checkpoint = detail.checkpoint
    db.execute(
        "UPDATE items SET name = ?, type = ?, websites = ?, detail = ? WHERE id = ?",
        (
            checkpoint.name,
            checkpoint.type,
            compact_json(checkpoint.websites),
            compact_json(wire_form(detail)),
            checkpoint.item_id,
        ),
    )
    stored = {row["id"] for row in db.execute("SELECT id FROM fields WHERE item_id = ?", (checkpoint.item_id,))}
    gone = stored - {line.id for line in checkpoint.fields}
    db.executemany("UPDATE fields SET archived_at = ? WHERE id = ? AND archived_at IS NULL", [(timestamp(), key) for key in gone])
    for line in checkpoint.fields:
        _put_field(db, checkpoint.item_id, line, envelopes, exported=line.id in exported)


def replace_detail(db: sqlite3.Connection, detail: Signed[DetailCheckpoint]) -> None:
    """Store the next detail checkpoint of an item whose make-up did not change."""
    db.execute("UPDATE items SET detail = ? WHERE id = ?", (compact_json(wire_form(detail)), detail.checkpoint.item_id))


def archive_item(db: sqlite3.Connection, item_id: ItemId) -> None:
    """Hide an item; its rows stay."""
    db.execute("UPDATE items SET archived_at = ? WHERE id = ?", (timestamp(), item_id))


def item_ids_used(
    db: sqlite3.Connection, item_id: ItemId, fields: Iterable[FieldId], instances: Iterable[FieldInstanceId]
) -> bool:
    """Say whether any of these ids was ever used."""
    used = db.execute("SELECT 1 FROM items WHERE id = ?", (item_id,)).fetchone() is not None
    return used or field_ids_used(db, fields, instances)


def field_ids_used(db: sqlite3.Connection, fields: Iterable[FieldId], instances: Iterable[FieldInstanceId]) -> bool:
    """Say whether any of these ids was ever used, in this item or another."""
    return any(db.execute("SELECT 1 FROM fields WHERE id = ?", (key,)).fetchone() for key in fields) or any(
        db.execute("SELECT 1 FROM field_instances WHERE id = ?", (key,)).fetchone() for key in instances
    )


def sealed_instances(db: sqlite3.Connection, vault_id: VaultId) -> list[SealedInstance]:
    """Return every ciphertext of a vault's live fields; the last one of a field is its current value."""
    query = (
        "SELECT items.id AS item_id, fields.id AS field_id, fields.type, field_instances.id AS instance_id, envelope"
        " FROM items JOIN fields ON fields.item_id = items.id JOIN field_instances ON field_instances.field_id = fields.id"
        " WHERE items.vault_id = ? AND items.archived_at IS NULL AND fields.archived_at IS NULL"
        " ORDER BY items.rowid, fields.position, field_instances.position"
    )
    return [
        SealedInstance(
            Place(vault_id, row["item_id"], row["field_id"], row["instance_id"]), FieldType(row["type"]), row["envelope"]
        )
        for row in db.execute(query, (vault_id,))
    ]


def replace_envelope(db: sqlite3.Connection, instance_id: FieldInstanceId, envelope: str) -> None:
    """Store a value sealed again, under the same instance id."""
    db.execute("UPDATE field_instances SET envelope = ? WHERE id = ?", (envelope, instance_id))


def _read_item(row: sqlite3.Row) -> ItemRow:
    line = SignedItem(row["id"], row["name"], ItemType(row["type"]), _texts(row["websites"]), row["group_id"])
    detail = parse_json(row["detail"].encode("utf-8"), what="stored detail")
    return ItemRow(line, row["vault_id"], detail, row["field_count"], row["created_at"])


def _read_field(db: sqlite3.Connection, row: sqlite3.Row) -> FieldRow:
    query = "SELECT id, envelope FROM field_instances WHERE field_id = ? ORDER BY position"
    instances = db.execute(query, (row["id"],)).fetchall()
    line = SignedField(
        id=row["id"],
        name=row["name"],
        type=FieldType(row["type"]),
        order=row["position"],
        instance_ids=tuple(instance["id"] for instance in instances),
        asset_ids=_texts(row["asset_ids"]),
    )
    return FieldRow(line, instances[-1]["envelope"] if instances else None, bool(row["exported"]))


def _put_field(
    db: sqlite3.Connection, item_id: ItemId, line: SignedField, envelopes: Mapping[FieldInstanceId, str], *, exported: bool
) -> None:
    db.execute(
        "INSERT INTO fields (id, item_id, name, type, position, asset_ids, exported) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET name = excluded.name, type = excluded.type, position = excluded.position,"
        " exported = excluded.exported",
        (line.id, item_id, line.name, line.type, line.order, compact_json(line.asset_ids), exported),
    )
    db.executemany(
        "INSERT INTO field_instances (id, field_id, position, envelope) VALUES (?, ?, ?, ?)",
        [
            (instance, line.id, position, envelopes[instance])
            for position, instance in enumerate(line.instance_ids)
            if instance in envelopes
        ],
    )


def _texts(stored: str) -> tuple[str, ...]:
    parsed = parse_json(stored.encode("utf-8"), what="stored list")
    return tuple(str(entry) for entry in parsed) if isinstance(parsed, list) else ()
