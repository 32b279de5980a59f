"""Public keys of agents and people, with their line of succession.

What this file does not do: check that a key may be registered. ``registration`` does.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from r4_mcp.core.keys import PublicKey, load_public_key
from r4_mcp.core.trust import SignerStatus
from r4_mcp.core.wire import KeyId, SignerRef, SignerType
from r4_mcp.emulator.fresh import timestamp

MAX_HOSTNAME: Final = 255


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One registered key."""

    id: KeyId
    kind: SignerType
    owner_id: str
    public: PublicKey
    status: SignerStatus
    previous_id: KeyId | None
    rotation_signature: str | None

    @property
    def ref(self) -> SignerRef:
        """How a signature names this key."""
        return SignerRef(self.kind, self.id)


def active_key(db: sqlite3.Connection, owner_id: str) -> SigningKey | None:
    """Return the key that an agent or person signs with now."""
    row = db.execute("SELECT * FROM signing_keys WHERE owner_id = ? AND status = 'ACTIVE'", (owner_id,)).fetchone()
    return None if row is None else _read(row)


def key_by_id(db: sqlite3.Connection, key_id: str) -> SigningKey | None:
    """Return a key by id, retired ones too."""
    row = db.execute("SELECT * FROM signing_keys WHERE id = ?", (key_id,)).fetchone()
    return None if row is None else _read(row)


def key_of_owner(db: sqlite3.Connection, owner_id: str, fingerprint: str) -> SigningKey | None:
    """Return an owner's key by fingerprint, retired ones too."""
    query = "SELECT * FROM signing_keys WHERE owner_id = ? AND fingerprint = ?"
    row = db.execute(query, (owner_id, fingerprint)).fetchone()
    return None if row is None else _read(row)


def user_key(db: sqlite3.Connection, fingerprint: str) -> SigningKey | None:
    """Return a person's active key by fingerprint."""
    query = "SELECT * FROM signing_keys WHERE kind = ? AND fingerprint = ? AND status = 'ACTIVE'"
    row = db.execute(query, (SignerType.USER, fingerprint)).fetchone()
    return None if row is None else _read(row)


def lineage(db: sqlite3.Connection, key: SigningKey) -> list[SigningKey]:
    """Return a key with all it continues, oldest first."""
    line = [key]
    while (previous_id := line[0].previous_id) is not None:
        previous = key_by_id(db, previous_id)
        if previous is None:
            break
        line.insert(0, previous)
    return line


def add_key(db: sqlite3.Connection, key: SigningKey, hostname: str | None = None) -> None:
    """Record a new key."""
    db.execute(
        "INSERT INTO signing_keys (id, kind, owner_id, public_key, fingerprint, status, previous_id, rotation_signature,"
        " hostname, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            key.id,
            key.kind,
            key.owner_id,
            key.public.pem,
            key.public.fingerprint,
            key.status,
            key.previous_id,
            key.rotation_signature,
            hostname,
            timestamp(),
        ),
    )


def retire_key(db: sqlite3.Connection, key_id: KeyId) -> None:
    """Mark a key as no longer signing."""
    db.execute("UPDATE signing_keys SET status = 'RETIRED' WHERE id = ?", (key_id,))


def _read(row: sqlite3.Row) -> SigningKey:
    return SigningKey(
        id=row["id"],
        kind=SignerType(row["kind"]),
        owner_id=row["owner_id"],
        public=load_public_key(row["public_key"], what="stored key"),
        status=SignerStatus(row["status"]),
        previous_id=row["previous_id"],
        rotation_signature=row["rotation_signature"],
    )
