"""The signer log of each vault: leaves are added, proofs are served (contract §6).

What this file does not do: decide who is admitted. It keeps the order in which keys were, and proves it.

Rules:
1. Leaves are only added. A key enters after all that it continues, so that ancestors stay in the directory.
2. A served status is REVOKED if the key was revoked in this vault, else the key's own.
"""

from __future__ import annotations

import sqlite3

from r4_mcp.core import merkle
from r4_mcp.core.directory import leaf
from r4_mcp.core.encoding import Json, b64_encode
from r4_mcp.core.trust import SignerStatus
from r4_mcp.core.wire import KeyId, VaultId
from r4_mcp.emulator.signing_keys import SigningKey, key_by_id, lineage


def status_in(db: sqlite3.Connection, vault_id: str, key: SigningKey) -> SignerStatus | None:
    """Return a key's status in a vault; None if it is not in the log."""
    row = db.execute("SELECT revoked FROM log_leaves WHERE vault_id = ? AND key_id = ?", (vault_id, key.id)).fetchone()
    if row is None:
        return None
    return SignerStatus.REVOKED if row["revoked"] else key.status


def admit(db: sqlite3.Connection, vault_id: VaultId, key: SigningKey) -> None:
    """Add a key, and first whatever it continues, where they are missing (rule 1)."""
    for entry in lineage(db, key):
        if status_in(db, vault_id, entry) is None:
            _append(db, vault_id, entry)


def logged_vaults(db: sqlite3.Connection, key: SigningKey) -> list[VaultId]:
    """Return the live vaults in whose log a key stands unrevoked."""
    query = (
        "SELECT vault_id FROM log_leaves JOIN vaults ON vaults.id = vault_id"
        " WHERE key_id = ? AND revoked = 0 AND archived_at IS NULL"
    )
    return [row["vault_id"] for row in db.execute(query, (key.id,))]


def revoke_owner(db: sqlite3.Connection, vault_id: VaultId, owner_id: str) -> list[KeyId]:
    """Mark every key of an owner as revoked in a vault; returns those that were not."""
    query = (
        "UPDATE log_leaves SET revoked = 1 WHERE vault_id = ? AND revoked = 0"
        " AND key_id IN (SELECT id FROM signing_keys WHERE owner_id = ?) RETURNING key_id"
    )
    return [row["key_id"] for row in db.execute(query, (vault_id, owner_id)).fetchall()]


def directory_view(db: sqlite3.Connection, vault_id: VaultId, since: int | None) -> dict[str, Json]:
    """Return a vault's directory as it is served.

    Args:
        db: The store.
        vault_id: The vault.
        since: The tree size that the caller remembers; the consistency proof starts there.
    """
    rows = db.execute("SELECT * FROM log_leaves WHERE vault_id = ? ORDER BY leaf_index", (vault_id,)).fetchall()
    hashes: list[bytes] = [row["leaf_hash"] for row in rows]
    consistency: Json = None
    if since is not None and 1 <= since <= len(hashes):
        consistency = {"fromTreeSize": since, "hashes": _texts(merkle.consistency_proof(hashes, since))}
    signers = [_signer(db, row, hashes) for row in rows]
    return {
        "vaultId": vault_id,
        "signers": [signer for signer in signers if signer is not None],
        "head": {"treeSize": len(hashes), "rootHash": merkle.root_of(hashes).hex()},
        "consistencyProof": consistency,
    }


def _append(db: sqlite3.Connection, vault_id: VaultId, key: SigningKey) -> None:
    hashed = merkle.leaf_hash(leaf(vault_id, key.id, key.kind, key.public.fingerprint, key.previous_id))
    db.execute(
        "INSERT INTO log_leaves (vault_id, leaf_index, key_id, leaf_hash)"
        " SELECT ?1, COUNT(*), ?2, ?3 FROM log_leaves WHERE vault_id = ?1",
        (vault_id, key.id, hashed),
    )


def _signer(db: sqlite3.Connection, row: sqlite3.Row, hashes: list[bytes]) -> dict[str, Json] | None:
    key = key_by_id(db, row["key_id"])
    if key is None:
        return None
    return {
        "id": key.id,
        "signerType": key.kind.value,
        "publicKey": key.public.pem,
        "fingerprint": key.public.fingerprint,
        "status": (SignerStatus.REVOKED if row["revoked"] else key.status).value,
        "previousId": key.previous_id,
        "rotationSignature": key.rotation_signature,
        "leafIndex": row["leaf_index"],
        "inclusionProof": _texts(merkle.inclusion_proof(hashes, row["leaf_index"])),
    }


def _texts(hashes: list[bytes]) -> list[Json]:
    return [b64_encode(entry) for entry in hashes]
