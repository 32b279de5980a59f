"""The tables of the embedded vault, as one script.

What this file does not do: run it. ``store`` does, once per file, with the one of ``change_log`` after it.

Rules:
1. No plaintext of a field and no bare DEK has a column. Envelopes, wrapped keys, signed JSON, names and ids are all there is.
2. Archived things keep their rows; every reader asks for ``archived_at IS NULL``.
3. Log leaves are only ever added; what changes about one is ``revoked``.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 2

SCRIPT: Final = """
CREATE TABLE facts (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT;

CREATE TABLE agents (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    access_key TEXT NOT NULL UNIQUE,
    secret_salt BLOB NOT NULL,
    secret_hash BLOB NOT NULL,
    created_at TEXT NOT NULL
) STRICT;

CREATE TABLE agent_permissions (
    agent_id TEXT NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    permission TEXT NOT NULL,
    PRIMARY KEY (agent_id, permission)
) STRICT, WITHOUT ROWID;

CREATE TABLE signing_keys (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    public_key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('ACTIVE', 'RETIRED')),
    previous_id TEXT UNIQUE REFERENCES signing_keys (id),
    rotation_signature TEXT,
    hostname TEXT,
    created_at TEXT NOT NULL,
    UNIQUE (owner_id, fingerprint)
) STRICT;
CREATE UNIQUE INDEX one_active_key ON signing_keys (owner_id) WHERE status = 'ACTIVE';

CREATE TABLE vaults (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    classification TEXT,
    dek_version INTEGER NOT NULL,
    summary TEXT NOT NULL,
    created_at TEXT NOT NULL,
    archived_at TEXT
) STRICT;

CREATE TABLE grants (
    vault_id TEXT NOT NULL REFERENCES vaults (id),
    agent_id TEXT NOT NULL REFERENCES agents (id),
    level TEXT NOT NULL CHECK (level IN ('READ', 'WRITE', 'ADMIN')),
    created_at TEXT NOT NULL,
    PRIMARY KEY (vault_id, agent_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX grants_by_agent ON grants (agent_id);

CREATE TABLE wrapped_keys (
    vault_id TEXT NOT NULL REFERENCES vaults (id),
    key_id TEXT NOT NULL REFERENCES signing_keys (id),
    dek_version INTEGER NOT NULL,
    entry TEXT NOT NULL,
    PRIMARY KEY (vault_id, key_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX wrapped_keys_by_key ON wrapped_keys (key_id);

CREATE TABLE log_leaves (
    vault_id TEXT NOT NULL REFERENCES vaults (id),
    leaf_index INTEGER NOT NULL,
    key_id TEXT NOT NULL REFERENCES signing_keys (id),
    leaf_hash BLOB NOT NULL,
    revoked INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (vault_id, leaf_index),
    UNIQUE (vault_id, key_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE items (
    id TEXT PRIMARY KEY,
    vault_id TEXT NOT NULL REFERENCES vaults (id),
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    websites TEXT NOT NULL,
    group_id TEXT,
    detail TEXT NOT NULL,
    created_at TEXT NOT NULL,
    archived_at TEXT
) STRICT;
CREATE INDEX items_by_vault ON items (vault_id) WHERE archived_at IS NULL;

CREATE TABLE fields (
    id TEXT PRIMARY KEY,
    item_id TEXT NOT NULL REFERENCES items (id),
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    position INTEGER NOT NULL,
    asset_ids TEXT NOT NULL,
    exported INTEGER NOT NULL DEFAULT 0,
    archived_at TEXT
) STRICT;
CREATE INDEX fields_by_item ON fields (item_id) WHERE archived_at IS NULL;

CREATE TABLE field_instances (
    id TEXT PRIMARY KEY,
    field_id TEXT NOT NULL REFERENCES fields (id),
    position INTEGER NOT NULL,
    envelope TEXT NOT NULL,
    UNIQUE (field_id, position)
) STRICT;

CREATE TABLE projects (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    external_id TEXT,
    description TEXT,
    created_by TEXT NOT NULL REFERENCES users (id),
    created_at TEXT NOT NULL,
    archived_at TEXT
) STRICT;

CREATE TABLE project_vaults (
    project_id TEXT NOT NULL REFERENCES projects (id),
    vault_id TEXT NOT NULL REFERENCES vaults (id),
    PRIMARY KEY (project_id, vault_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE project_members (
    project_id TEXT NOT NULL REFERENCES projects (id),
    agent_id TEXT NOT NULL REFERENCES agents (id),
    PRIMARY KEY (project_id, agent_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE feedback (
    id TEXT PRIMARY KEY,
    agent_id TEXT NOT NULL REFERENCES agents (id),
    surface TEXT NOT NULL,
    summary TEXT NOT NULL,
    details TEXT NOT NULL,
    desired_outcome TEXT,
    submitted_at TEXT NOT NULL
) STRICT;
"""
