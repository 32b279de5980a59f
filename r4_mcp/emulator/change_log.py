"""What changed, in order: kept by triggers, asked by sync (contract §7).

What this file does not do: serve. ``sync_pages`` makes pages of it.

Rules:
1. Every table that a sync page is made of has its triggers, so that no write path can forget to note what it did, and a write that
   is rolled back notes nothing.
2. A note about an agent (its access, its wrapped key, its permissions) concerns that agent; any other concerns whoever may see the
   vault.
3. Notes are never removed, so that each cursor stays good; an embedded vault is small.
4. Envelopes are no part of a sync page, so a value that is sealed again under the same instance is not noted; the new DEK's version
   and wrapped keys are.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from r4_mcp.core.wire import ItemId, VaultId
from r4_mcp.emulator.vault_rows import level_of

_TABLE: Final = """
CREATE TABLE changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL CHECK (kind IN ('VAULT', 'ITEM', 'GRANTED', 'REVOKED', 'ACCESS')),
    vault_id TEXT NOT NULL,
    item_id TEXT,
    agent_id TEXT
) STRICT;
CREATE INDEX changes_by_vault ON changes (vault_id, number);
"""

_OF_VAULT: Final = "INSERT INTO changes (kind, vault_id) "
_OF_ITEM: Final = "INSERT INTO changes (kind, vault_id, item_id) "
_OF_AGENT: Final = "INSERT INTO changes (kind, vault_id, agent_id) "
_FIELDS_ITEM: Final = _OF_ITEM + "SELECT 'ITEM', vault_id, id FROM items WHERE id = "
_OWNER: Final = "(SELECT owner_id FROM signing_keys WHERE id = {row}.key_id)"

_NOTES: Final = {
    "INSERT ON vaults": _OF_VAULT + "VALUES ('VAULT', NEW.id)",
    "UPDATE ON vaults": _OF_VAULT + "VALUES ('VAULT', NEW.id)",
    "INSERT ON log_leaves": _OF_VAULT + "VALUES ('VAULT', NEW.vault_id)",
    "UPDATE ON log_leaves": _OF_VAULT + "VALUES ('VAULT', NEW.vault_id)",
    "UPDATE ON signing_keys": _OF_VAULT + "SELECT 'VAULT', vault_id FROM log_leaves WHERE key_id = NEW.id",
    "INSERT ON items": _OF_ITEM + "VALUES ('ITEM', NEW.vault_id, NEW.id)",
    "UPDATE ON items": _OF_ITEM + "VALUES ('ITEM', NEW.vault_id, NEW.id)",
    "INSERT ON fields": _FIELDS_ITEM + "NEW.item_id",
    "UPDATE ON fields": _FIELDS_ITEM + "NEW.item_id",
    "INSERT ON field_instances": _FIELDS_ITEM + "(SELECT item_id FROM fields WHERE id = NEW.field_id)",
    "INSERT ON grants": _OF_AGENT + "VALUES ('GRANTED', NEW.vault_id, NEW.agent_id)",
    "UPDATE ON grants": _OF_AGENT + "VALUES ('ACCESS', NEW.vault_id, NEW.agent_id)",
    "DELETE ON grants": _OF_AGENT + "VALUES ('REVOKED', OLD.vault_id, OLD.agent_id)",
    "INSERT ON wrapped_keys": _OF_AGENT + f"VALUES ('ACCESS', NEW.vault_id, {_OWNER.format(row='NEW')})",
    "DELETE ON wrapped_keys": _OF_AGENT + f"VALUES ('ACCESS', OLD.vault_id, {_OWNER.format(row='OLD')})",
    "INSERT ON agent_permissions": _OF_AGENT + "SELECT 'ACCESS', vault_id, agent_id FROM grants WHERE agent_id = NEW.agent_id",
    "DELETE ON agent_permissions": _OF_AGENT + "SELECT 'ACCESS', vault_id, agent_id FROM grants WHERE agent_id = OLD.agent_id",
}
"""What is noted after what (rule 1). Rows of the other events are never written: nothing is deleted from vaults to field instances,
and a wrapped key is replaced by an insertion."""

SCRIPT: Final = _TABLE + "".join(
    f"CREATE TRIGGER note_{event.replace(' ON ', '_').lower()} AFTER {event} BEGIN {note}; END;\n" for event, note in _NOTES.items()
)


def last_change(db: sqlite3.Connection) -> int:
    """Return the number of the last change, 0 if there was none."""
    (number,) = db.execute("SELECT COALESCE(MAX(number), 0) FROM changes").fetchone()
    return int(number)


def changed_vaults(db: sqlite3.Connection, agent_id: str, after: int) -> list[tuple[VaultId, int]]:
    """Return the vaults that changed after a change, with the number of the last change of each, in that order.

    Among them are vaults that the agent may not see, and vaults that it never could.
    """
    query = (
        "SELECT vault_id, MAX(number) AS last FROM changes WHERE number > ? AND (agent_id IS NULL OR agent_id = ?)"
        " GROUP BY vault_id ORDER BY last"
    )
    return [(row["vault_id"], row["last"]) for row in db.execute(query, (after, agent_id))]


def changed_items(db: sqlite3.Connection, vault_id: VaultId, after: int) -> set[ItemId]:
    """Return the items of a vault that changed after a change, archived ones too."""
    query = "SELECT DISTINCT item_id FROM changes WHERE vault_id = ? AND number > ? AND item_id IS NOT NULL"
    return {row["item_id"] for row in db.execute(query, (vault_id, after))}


def had_grant(db: sqlite3.Connection, agent_id: str, vault_id: VaultId, at: int) -> bool:
    """Say whether a vault was shared with an agent when a change had just been made."""
    # The first thing that happened to the grant since then tells how it was; where nothing did, it is as it is now.
    row = db.execute(
        "SELECT kind FROM changes WHERE vault_id = ? AND agent_id = ? AND number > ? AND kind IN ('GRANTED', 'REVOKED')"
        " ORDER BY number LIMIT 1",
        (vault_id, agent_id, at),
    ).fetchone()
    return level_of(db, agent_id, vault_id) is not None if row is None else row["kind"] == "REVOKED"
