"""Who holds a vault: grant, revoke, change the DEK (contract §4, §5).

What this file does not do: open transactions. Each function works in the operator's, proves the stored vault first, and leaves it
whole or raises.
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace

from r4_mcp.core.trust import SignerStatus
from r4_mcp.core.wire import VaultId, read_detail
from r4_mcp.core.wrapping import Dek
from r4_mcp.emulator import item_rows, vault_rows
from r4_mcp.emulator.custody import Custodian, ProvenVault, prove_detail, prove_vault, seal_again
from r4_mcp.emulator.directory_log import admit, revoke_owner, status_in
from r4_mcp.emulator.fresh import new_dek
from r4_mcp.emulator.signing_keys import active_key, key_by_id
from r4_mcp.errors import InvalidArgumentError
from r4_mcp.machine.contract import Level
from r4_mcp.secret import SecretKind


def grant(db: sqlite3.Connection, me: Custodian, agent_id: str, vault_id: VaultId, level: Level) -> None:
    """Share a vault with an agent; wraps and admits only if it has registered a key.

    Raises:
        NotFoundError: No such vault, or its DEK is not wrapped for this operator.
        InvalidArgumentError: The agent's current key was revoked in this vault.
        VerificationError: The stored vault does not hold.
    """
    proven = me.prove(db, vault_id)
    key = active_key(db, agent_id)
    if key is not None:
        if status_in(db, vault_id, key) is SignerStatus.REVOKED:
            raise InvalidArgumentError(f"key {key.id} was revoked in vault {vault_id}, and a revoked signer stays revoked")
        admit(db, vault_id, key)
        vault_rows.put_wrapped_key(db, me.wrap(me.open_dek(db, proven), key))
    vault_rows.put_grant(db, agent_id, vault_id, level)


def revoke(db: sqlite3.Connection, me: Custodian, agent_id: str, vault_id: VaultId) -> None:
    """Take an agent's access away and revoke its keys as signers of the vault.

    Raises:
        NotFoundError: No such vault.
        VerificationError: The stored vault does not hold.
    """
    proven = prove_vault(db, vault_id)
    if me.is_signer(proven):
        _sign_for(db, me, proven, agent_id)
    vault_rows.drop_grant(db, agent_id, vault_id)
    revoke_owner(db, vault_id, agent_id)


def rotate_dek(db: sqlite3.Connection, me: Custodian, vault_id: VaultId) -> int:
    """Seal every live value again under a new DEK and wrap it for everyone who holds the old one.

    Returns:
        The new DEK version.

    Raises:
        NotFoundError: No such vault, or its DEK is not wrapped for this operator.
        VerificationError: The stored vault does not hold, or a value does not open.
    """
    proven = me.prove(db, vault_id)
    old = me.open_dek(db, proven)
    new = Dek(vault_id, old.version + 1, me.known.octets(new_dek(), SecretKind.DEK))
    for instance in item_rows.sealed_instances(db, vault_id):
        item_rows.replace_envelope(db, instance.place.instance_id, seal_again(new, instance, me.open_value(old, instance)))
    for key_id in vault_rows.recipients(db, vault_id):
        key = key_by_id(db, key_id)
        if key is not None:
            vault_rows.put_wrapped_key(db, me.wrap(new, key))
    vault_rows.replace_summary(db, me.sign_next(proven, proven.checkpoint.items, new.version))
    return new.version


def _sign_for(db: sqlite3.Connection, me: Custodian, proven: ProvenVault, agent_id: str) -> None:
    for item in item_rows.live_items(db, proven.checkpoint.vault_id):
        signer = key_by_id(db, read_detail(item.detail, "stored detail").signer.id)
        if signer is not None and signer.owner_id == agent_id:
            checkpoint = prove_detail(db, proven, item)
            item_rows.replace_detail(db, me.sign_detail(replace(checkpoint, version=checkpoint.version + 1)))
    signer = key_by_id(db, proven.summary.signer.id)
    if signer is not None and signer.owner_id == agent_id:
        stored = proven.checkpoint
        vault_rows.replace_summary(db, me.sign_next(proven, stored.items, stored.dek_version))
