"""What changed, in order: kept by triggers, asked by sync (contract §7).

What this file does not do: serve. ``sync_pages`` makes pages of it.

Rules:
1. Every table that a sync page is made of has its triggers, for the events that happen to its rows: no write path can forget to
   note what it did, and a write that is rolled back notes nothing. (A wrapped key is replaced by an insertion.)
2. A note about an agent (its access, its wrapped key, its permissions) concerns that agent; any other concerns whoever may see
   the vault.
3. Notes are never removed, so that each cursor stays good; an embedded vault is small.
4. Envelopes are no part of a sync page, so a value that is sealed again under the same instance is not noted; the new DEK's
   version and wrapped keys are.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from r4_mcp.core.wire import ItemId, VaultId
from r4_mcp.emulator.vault_rows import level_of

SCRIPT: Final = """
CREATE TABLE changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL CHECK (kind IN ('VAULT', 'ITEM', 'GRANTED', 'REVOKED', 'ACCESS')),
    vault_id TEXT NOT NULL,
    item_id TEXT,
    agent_id TEXT
) STRICT;
CREATE INDEX changes_by_vault ON changes (vault_id, number);

CREATE TRIGGER vault_added AFTER INSERT ON vaults BEGIN
    INSERT INTO changes (kind, vault_id) VALUES ('VAULT', NEW.id);
END;
CREATE TRIGGER vault_changed AFTER UPDATE ON vaults BEGIN
    INSERT INTO changes (kind, vault_id) VALUES ('VAULT', NEW.id);
END;
CREATE TRIGGER signer_added AFTER INSERT ON log_leaves BEGIN
    INSERT INTO changes (kind, vault_id) VALUES ('VAULT', NEW.vault_id);
END;
CREATE TRIGGER signer_revoked AFTER UPDATE ON log_leaves BEGIN
    INSERT INTO changes (kind, vault_id) VALUES ('VAULT', NEW.vault_id);
END;
CREATE TRIGGER signer_retired AFTER UPDATE ON signing_keys BEGIN
    INSERT INTO changes (kind, vault_id) SELECT 'VAULT', vault_id FROM log_leaves WHERE key_id = NEW.id;
END;
CREATE TRIGGER item_added AFTER INSERT ON items BEGIN
    INSERT INTO changes (kind, vault_id, item_id) VALUES ('ITEM', NEW.vault_id, NEW.id);
END;
CREATE TRIGGER item_changed AFTER UPDATE ON items BEGIN
    INSERT INTO changes (kind, vault_id, item_id) VALUES ('ITEM', NEW.vault_id, NEW.id);
END;
CREATE TRIGGER field_added AFTER INSERT ON fields BEGIN
    INSERT INTO changes (kind, vault_id, item_id) SELECT 'ITEM', vault_id, id FROM items WHERE id = NEW.item_id;
END;
CREATE TRIGGER field_changed AFTER UPDATE ON fields BEGIN
    INSERT INTO changes (kind, vault_id, item_id) SELECT 'ITEM', vault_id, id FROM items WHERE id = NEW.item_id;
END;
CREATE TRIGGER instance_added AFTER INSERT ON field_instances BEGIN
    INSERT INTO changes (kind, vault_id, item_id)
    SELECT 'ITEM', items.vault_id, items.id FROM items JOIN fields ON fields.item_id = items.id WHERE fields.id = NEW.field_id;
END;
CREATE TRIGGER vault_granted AFTER INSERT ON grants BEGIN
    INSERT INTO changes (kind, vault_id, agent_id) VALUES ('GRANTED', NEW.vault_id, NEW.agent_id);
END;
CREATE TRIGGER level_changed AFTER UPDATE ON grants BEGIN
    INSERT INTO changes (kind, vault_id, agent_id) VALUES ('ACCESS', NEW.vault_id, NEW.agent_id);
END;
CREATE TRIGGER vault_revoked AFTER DELETE ON grants BEGIN
    INSERT INTO changes (kind, vault_id, agent_id) VALUES ('REVOKED', OLD.vault_id, OLD.agent_id);
END;
CREATE TRIGGER key_wrapped AFTER INSERT ON wrapped_keys BEGIN
    INSERT INTO changes (kind, vault_id, agent_id)
    SELECT 'ACCESS', NEW.vault_id, owner_id FROM signing_keys WHERE id = NEW.key_id;
END;
CREATE TRIGGER key_dropped AFTER DELETE ON wrapped_keys BEGIN
    INSERT INTO changes (kind, vault_id, agent_id)
    SELECT 'ACCESS', OLD.vault_id, owner_id FROM signing_keys WHERE id = OLD.key_id;
END;
CREATE TRIGGER permission_given AFTER INSERT ON agent_permissions BEGIN
    INSERT INTO changes (kind, vault_id, agent_id)
    SELECT 'ACCESS', vault_id, agent_id FROM grants WHERE agent_id = NEW.agent_id;
END;
CREATE TRIGGER permission_taken AFTER DELETE ON agent_permissions BEGIN
    INSERT INTO changes (kind, vault_id, agent_id)
    SELECT 'ACCESS', vault_id, agent_id FROM grants WHERE agent_id = OLD.agent_id;
END;
"""


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


def next_grant(db: sqlite3.Connection, agent_id: str, vault_id: VaultId, after: int) -> int | None:
    """Return the change by which a vault was next shared with an agent, for the first time or again, after another change."""
    query = "SELECT MIN(number) FROM changes WHERE vault_id = ? AND agent_id = ? AND number > ? AND kind = 'GRANTED'"
    (number,) = db.execute(query, (vault_id, agent_id, after)).fetchone()
    return None if number is None else int(number)


def had_grant(db: sqlite3.Connection, agent_id: str, vault_id: VaultId, at: int) -> bool:
    """Say whether a vault was shared with an agent when a change had just been made."""
    # The first thing that happened to the grant since then tells how it was; where nothing did, it is as it is now.
    row = db.execute(
        "SELECT kind FROM changes WHERE vault_id = ? AND agent_id = ? AND number > ? AND kind IN ('GRANTED', 'REVOKED')"
        " ORDER BY number LIMIT 1",
        (vault_id, agent_id, at),
    ).fetchone()
    return level_of(db, agent_id, vault_id) is not None if row is None else row["kind"] == "REVOKED"
