"""Vaults, grants and wrapped keys in the store.

What this file does not do: check anything; ``checks`` and ``registration`` did. Archived vaults are not found here.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from r4_mcp.core.encoding import Json, compact_json, parse_json
from r4_mcp.core.wire import (
    Classification,
    DetailCheckpoint,
    KeyId,
    ProjectId,
    Signed,
    SummaryCheckpoint,
    VaultId,
    WrappedKey,
    read_wrapped_key,
    signed_envelope,
)
from r4_mcp.emulator.fresh import timestamp
from r4_mcp.machine.contract import Level


@dataclass(frozen=True, slots=True)
class VaultRow:
    """A live vault as stored."""

    id: VaultId
    name: str
    classification: Classification | None
    dek_version: int
    summary: Json
    item_count: int
    created_at: str


_SELECT = (
    "SELECT vaults.*, (SELECT COUNT(*) FROM items WHERE items.vault_id = vaults.id AND items.archived_at IS NULL) AS item_count"
    " FROM vaults"
)


_SHARED_WITH = (
    " JOIN grants ON grants.vault_id = vaults.id AND grants.agent_id = ?1 WHERE vaults.archived_at IS NULL"
    " AND (?2 IS NULL OR vaults.id IN (SELECT vault_id FROM project_vaults WHERE project_id = ?2)) ORDER BY vaults.rowid"
)


def wire_form(signed: Signed[SummaryCheckpoint] | Signed[DetailCheckpoint]) -> dict[str, Json]:
    """Return a signed checkpoint as it is served."""
    return signed_envelope(signed.checkpoint.payload(), signed.signer, signed.signature)


def find_vault(db: sqlite3.Connection, vault_id: str) -> VaultRow | None:
    """Return a live vault."""
    row = db.execute(_SELECT + " WHERE vaults.id = ? AND vaults.archived_at IS NULL", (vault_id,)).fetchone()
    return None if row is None else _read(row)


def vault_id_used(db: sqlite3.Connection, vault_id: str) -> bool:
    """Say whether a vault, live or archived, has this id."""
    return db.execute("SELECT 1 FROM vaults WHERE id = ?", (vault_id,)).fetchone() is not None


def visible_vaults(db: sqlite3.Connection, agent_id: str, project_id: ProjectId | None = None) -> list[VaultRow]:
    """Return the live vaults that an agent has a grant on, oldest first."""
    query = _SELECT + _SHARED_WITH
    return [_read(row) for row in db.execute(query, (agent_id, project_id))]


def all_vaults(db: sqlite3.Connection) -> list[VaultRow]:
    """Return every live vault, oldest first."""
    return [_read(row) for row in db.execute(_SELECT + " WHERE vaults.archived_at IS NULL ORDER BY vaults.rowid")]


def add_vault(db: sqlite3.Connection, summary: Signed[SummaryCheckpoint]) -> None:
    """Record a new vault with its first summary."""
    checkpoint = summary.checkpoint
    db.execute(
        "INSERT INTO vaults (id, name, classification, dek_version, summary, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        (
            checkpoint.vault_id,
            checkpoint.name,
            checkpoint.classification,
            checkpoint.dek_version,
            compact_json(wire_form(summary)),
            timestamp(),
        ),
    )


def replace_summary(db: sqlite3.Connection, summary: Signed[SummaryCheckpoint]) -> None:
    """Store the next summary of a vault, with the DEK version that it names."""
    checkpoint = summary.checkpoint
    db.execute(
        "UPDATE vaults SET summary = ?, dek_version = ? WHERE id = ?",
        (compact_json(wire_form(summary)), checkpoint.dek_version, checkpoint.vault_id),
    )


def archive_vault(db: sqlite3.Connection, vault_id: VaultId) -> None:
    """Hide a vault; its rows stay."""
    db.execute("UPDATE vaults SET archived_at = ? WHERE id = ?", (timestamp(), vault_id))


def level_of(db: sqlite3.Connection, agent_id: str, vault_id: str) -> Level | None:
    """Return an agent's level on a vault."""
    row = db.execute("SELECT level FROM grants WHERE vault_id = ? AND agent_id = ?", (vault_id, agent_id)).fetchone()
    return None if row is None else Level(row["level"])


def put_grant(db: sqlite3.Connection, agent_id: str, vault_id: VaultId, level: Level) -> None:
    """Give an agent a level on a vault, in place of another one."""
    db.execute(
        "INSERT INTO grants (vault_id, agent_id, level, created_at) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (vault_id, agent_id) DO UPDATE SET level = excluded.level",
        (vault_id, agent_id, level, timestamp()),
    )


def drop_grant(db: sqlite3.Connection, agent_id: str, vault_id: VaultId) -> None:
    """Take an agent's access to a vault away, wrapped keys with it."""
    db.execute("DELETE FROM grants WHERE vault_id = ? AND agent_id = ?", (vault_id, agent_id))
    db.execute(
        "DELETE FROM wrapped_keys WHERE vault_id = ? AND key_id IN (SELECT id FROM signing_keys WHERE owner_id = ?)",
        (vault_id, agent_id),
    )


def put_wrapped_key(db: sqlite3.Connection, entry: WrappedKey) -> None:
    """Store the wrapped key of one recipient, in place of an older one."""
    db.execute(
        "INSERT OR REPLACE INTO wrapped_keys (vault_id, key_id, dek_version, entry) VALUES (?, ?, ?, ?)",
        (entry.vault_id, entry.recipient, entry.dek_version, compact_json(entry.payload())),
    )


def drop_wrapped_keys(db: sqlite3.Connection, key_id: KeyId) -> None:
    """Remove everything that is wrapped for one key."""
    db.execute("DELETE FROM wrapped_keys WHERE key_id = ?", (key_id,))


def find_wrapped_key(db: sqlite3.Connection, vault_id: str, key_id: KeyId) -> WrappedKey | None:
    """Return what is wrapped for one key in one vault."""
    row = db.execute("SELECT entry FROM wrapped_keys WHERE vault_id = ? AND key_id = ?", (vault_id, key_id)).fetchone()
    return None if row is None else read_wrapped_key(_parse(row["entry"]), "stored wrapped key")


def recipients(db: sqlite3.Connection, vault_id: VaultId) -> list[KeyId]:
    """Return the ids of the keys that a vault is wrapped for."""
    return [row["key_id"] for row in db.execute("SELECT key_id FROM wrapped_keys WHERE vault_id = ?", (vault_id,))]


def held_vaults(db: sqlite3.Connection, agent_id: str, key_id: KeyId) -> dict[VaultId, int]:
    """Return the live vaults that an agent holds a wrapped key of, with their DEK versions."""
    query = (
        "SELECT vaults.id, vaults.dek_version FROM vaults JOIN grants ON grants.vault_id = vaults.id AND grants.agent_id = ?"
        " JOIN wrapped_keys ON wrapped_keys.vault_id = vaults.id AND wrapped_keys.key_id = ? WHERE vaults.archived_at IS NULL"
    )
    return {row["id"]: row["dek_version"] for row in db.execute(query, (agent_id, key_id))}


def _read(row: sqlite3.Row) -> VaultRow:
    classification = row["classification"]
    return VaultRow(
        id=row["id"],
        name=row["name"],
        classification=None if classification is None else Classification(classification),
        dek_version=row["dek_version"],
        summary=_parse(row["summary"]),
        item_count=row["item_count"],
        created_at=row["created_at"],
    )


def _parse(text: str) -> Json:
    return parse_json(text.encode("utf-8"), what="stored JSON")
