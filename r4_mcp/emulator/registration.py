"""An agent's public key: first registration, and rotation with its complete batch (contract §5).

What this file does not do: answer HTTP. It works in the caller's transaction, so a refused rotation changes nothing.

Rules, cited by refusals as "key rule N":
1. The same key again is answered as before.
2. A different key replaces the current one freely only while no vault is shared with the agent.
3. Otherwise it continues the current key: ``previousEncryptionKeyId`` names it, its ``rotationSignature`` approves the new one.
4. A key that was succeeded does not come back and has no second successor.
5. The batch is complete: one entry for each vault DEK that the agent holds, of the current version, wrapped for the new key and
   signed by it.
6. The switch is one step: old key retired, new key active, wrapped keys replaced, new leaf in every log where the old one stands.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from r4_mcp.core.keys import PublicKey
from r4_mcp.core.signing import Context, verify
from r4_mcp.core.trust import SignerStatus
from r4_mcp.core.wire import KeyId, KeyRotation, SignerType, WrappedKey
from r4_mcp.emulator.directory_log import admit, logged_vaults
from r4_mcp.emulator.fresh import new_id
from r4_mcp.emulator.refusal import RefusalError, invalid_request
from r4_mcp.emulator.signing_keys import SigningKey, active_key, add_key, key_by_id, key_of_owner, retire_key
from r4_mcp.emulator.vault_rows import drop_wrapped_keys, held_vaults, put_wrapped_key, visible_vaults


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """What an agent asks to register; the optional parts are those of a rotation."""

    public: PublicKey
    key_id: KeyId | None = None
    previous_id: KeyId | None = None
    rotation_signature: str | None = None
    batch: tuple[WrappedKey, ...] | None = None
    hostname: str | None = None


def register(db: sqlite3.Connection, agent_id: str, request: KeyRequest) -> SigningKey:
    """Make a key the agent's current one.

    Args:
        db: The store, in a write transaction.
        agent_id: The agent.
        request: What it asks.

    Returns:
        The agent's active key, which has the requested public half.

    Raises:
        RefusalError: Rules 2 to 5.
        SignatureError: A continuity or wrapped-key signature does not verify.
    """
    current = active_key(db, agent_id)
    if current is not None and current.public.fingerprint == request.public.fingerprint:
        return current
    if key_of_owner(db, agent_id, request.public.fingerprint) is not None:
        raise _already_rotated("this key was succeeded by another one (key rule 4)")
    if request.key_id is not None and key_by_id(db, request.key_id) is not None:
        raise invalid_request("the encryptionKeyId is in use")
    if current is None or request.previous_id is None:
        return _replace(db, agent_id, current, request)
    return _rotate(db, current, request)


def _replace(db: sqlite3.Connection, agent_id: str, current: SigningKey | None, request: KeyRequest) -> SigningKey:
    if request.previous_id is not None:
        raise RefusalError(404, "encryption_key_not_found", "this agent has no key to continue")
    if current is not None:
        if visible_vaults(db, agent_id):
            raise _incomplete("vaults are shared with this agent, so a new key must continue the current one (key rule 2)")
        retire_key(db, current.id)
    key = SigningKey(
        id=request.key_id or KeyId(new_id()),
        kind=SignerType.AGENT,
        owner_id=agent_id,
        public=request.public,
        status=SignerStatus.ACTIVE,
        previous_id=None,
        rotation_signature=None,
    )
    add_key(db, key, request.hostname)
    return key


def _rotate(db: sqlite3.Connection, current: SigningKey, request: KeyRequest) -> SigningKey:
    if request.previous_id != current.id:
        previous = None if request.previous_id is None else key_by_id(db, request.previous_id)
        if previous is not None and previous.owner_id == current.owner_id:
            raise _already_rotated("the key to continue was succeeded by another one (key rule 4)")
        raise RefusalError(404, "encryption_key_not_found", "this agent has no key of that id to continue")
    if request.key_id is None or request.rotation_signature is None:
        raise invalid_request("a rotation needs encryptionKeyId and rotationSignature (key rule 3)")
    key = SigningKey(
        id=request.key_id,
        kind=SignerType.AGENT,
        owner_id=current.owner_id,
        public=request.public,
        status=SignerStatus.ACTIVE,
        previous_id=current.id,
        rotation_signature=request.rotation_signature,
    )
    rotation = KeyRotation(key.id, key.public.fingerprint, current.id)
    verify(current.public, Context.KEY_ROTATION, rotation.payload(), request.rotation_signature)
    batch = request.batch or ()
    _check_batch(db, current, key, batch)
    retire_key(db, current.id)
    add_key(db, key, request.hostname)
    drop_wrapped_keys(db, current.id)
    for entry in batch:
        put_wrapped_key(db, entry)
    for vault_id in logged_vaults(db, current):
        admit(db, vault_id, key)
    return key


def _check_batch(db: sqlite3.Connection, current: SigningKey, key: SigningKey, batch: Sequence[WrappedKey]) -> None:
    for entry in batch:
        if entry.recipient != key.id or entry.signer != key.ref:
            raise invalid_request("an entry of the batch is not wrapped for and signed by the new key (key rule 5)")
        verify(key.public, Context.WRAPPED_DEK, entry.signed_payload(), entry.signature)
    versions = {entry.vault_id: entry.dek_version for entry in batch}
    if len(versions) != len(batch):
        raise invalid_request("the batch has two entries for one vault (key rule 5)")
    held = held_vaults(db, current.owner_id, current.id)
    if versions != held:
        missing, foreign = len(held.keys() - versions.keys()), len(versions.keys() - held.keys())
        stale = sum(1 for vault_id, version in versions.items() if held.get(vault_id, version) != version)
        raise _incomplete(
            f"the batch must have one entry for each of the {len(held)} vault keys held: {missing} missing, {foreign} of other"
            f" vaults, {stale} of another DEK version (key rule 5)"
        )


def _incomplete(message: str) -> RefusalError:
    return RefusalError(409, "key_rotation_incomplete", message)


def _already_rotated(message: str) -> RefusalError:
    return RefusalError(409, "key_already_rotated", message)
