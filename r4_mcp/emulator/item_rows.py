"""Items, fields and their ciphertext in the store.

What this file does not do: decrypt or check. Archived items are not found here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
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


@dataclass(frozen=True, slots=True)
class SealedInstance:
    """One stored ciphertext, where it belongs, and what kind of value it is."""

    place: Place
    type: FieldType
    envelope: str


_SELECT = "SELECT items.*, (SELECT COUNT(*) FROM fields WHERE fields.item_id = items.id) AS field_count FROM items"


def live_items(db: sqlite3.Connection, vault_id: VaultId) -> list[ItemRow]:
    """Return a vault's items, oldest first."""
    query = _SELECT + " WHERE vault_id = ? AND archived_at IS NULL ORDER BY items.rowid"
    return [_read_item(row) for row in db.execute(query, (vault_id,))]


def find_item(db: sqlite3.Connection, vault_id: VaultId, item_id: str) -> ItemRow | None:
    """Return a live item of a vault."""
    query = _SELECT + " WHERE items.id = ? AND vault_id = ? AND archived_at IS NULL"
    row = db.execute(query, (item_id, vault_id)).fetchone()
    return None if row is None else _read_item(row)


def item_of_field(db: sqlite3.Connection, vault_id: VaultId, field_id: str) -> ItemRow | None:
    """Return the live item that a field belongs to."""
    row = db.execute("SELECT item_id FROM fields WHERE id = ?", (field_id,)).fetchone()
    return None if row is None else find_item(db, vault_id, row["item_id"])


def item_fields(db: sqlite3.Connection, item_id: ItemId) -> list[FieldRow]:
    """Return an item's fields in order."""
    query = "SELECT * FROM fields WHERE item_id = ? ORDER BY position"
    return [_read_field(db, row) for row in db.execute(query, (item_id,)).fetchall()]


def add_item(db: sqlite3.Connection, detail: Signed[DetailCheckpoint], envelopes: Mapping[FieldInstanceId, str]) -> None:
    """Record a new item with the ciphertext of each instance."""
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
        db.execute(
            "INSERT INTO fields (id, item_id, name, type, position, asset_ids) VALUES (?, ?, ?, ?, ?, ?)",
            (line.id, checkpoint.item_id, line.name, line.type, line.order, compact_json(line.asset_ids)),
        )
        db.executemany(
            "INSERT INTO field_instances (id, field_id, position, envelope) VALUES (?, ?, ?, ?)",
            [(instance, line.id, position, envelopes[instance]) for position, instance in enumerate(line.instance_ids)],
        )


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
    return (
        db.execute("SELECT 1 FROM items WHERE id = ?", (item_id,)).fetchone() is not None
        or any(db.execute("SELECT 1 FROM fields WHERE id = ?", (key,)).fetchone() for key in fields)
        or any(db.execute("SELECT 1 FROM field_instances WHERE id = ?", (key,)).fetchone() for key in instances)
    )


def sealed_instances(db: sqlite3.Connection, vault_id: VaultId) -> list[SealedInstance]:
    """Return every ciphertext of a vault's live items; the last one of a field is its current value."""
    query = (
        "SELECT items.id AS item_id, fields.id AS field_id, fields.type, field_instances.id AS instance_id, envelope"
        " FROM items JOIN fields ON fields.item_id = items.id JOIN field_instances ON field_instances.field_id = fields.id"
        " WHERE items.vault_id = ? AND items.archived_at IS NULL ORDER BY items.rowid, fields.position, field_instances.position"
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
    return FieldRow(line, instances[-1]["envelope"] if instances else None)


def _texts(stored: str) -> tuple[str, ...]:
    parsed = parse_json(stored.encode("utf-8"), what="stored list")
    return tuple(str(entry) for entry in parsed) if isinstance(parsed, list) else ()
