"""The batch of a key rotation: every vault key wrapped again, the request that carries it, and the look at what came of it.

What this file does not do: send, or remember how far the rotation is; ``rotation`` does.

Rules (contract §5):
1. Every vault of ``GET /vault``, each proven before its key is touched. One that does not verify stops everything and is named.
2. A vault of which nothing is wrapped for us has no place in the batch; nor has one that was archived since it was listed.
3. Read back: the directory names the new key as ours, the vault key opens with it, and it is the one that it was. Every vault of
   the batch is asked for by its id, so that a list that hides them proves nothing.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from r4_mcp.core.encoding import Json
from r4_mcp.core.keys import PrivateKey
from r4_mcp.core.signing import Context, sign
from r4_mcp.core.wire import KeyId, KeyRotation, SignerRef, SignerType, VaultId, WrappedKey
from r4_mcp.core.wrapping import Dek, dek_pin, wrapped_entry
from r4_mcp.errors import (
    AwaitingGrantError,
    DisagreementError,
    NotFoundError,
    OnboardingError,
    R4Error,
    ServiceError,
    VerificationError,
)
from r4_mcp.vault.concurrently import map_bounded
from r4_mcp.vault.reader import VaultReader
from r4_mcp.vault.rotation_plan import Pin, Plan

_WIDTH: Final = 8

Progress = Callable[[int, int], Awaitable[None]]
"""Told how many steps of how many are done."""


async def wrap_again(
    reader: VaultReader, key_id: KeyId, new: PrivateKey, progress: Progress
) -> tuple[list[WrappedKey], dict[VaultId, Pin]]:
    """Prove and unwrap every vault key, and wrap it for a new key (rules 1 and 2).

    Args:
        reader: Proven reads with the old key.
        key_id: Id of the new key.
        new: The new key.
        progress: Told of each vault.

    Returns:
        The entries, and the pins by which their vault keys are known again.

    Raises:
        VerificationError: A vault is not proven; the message names it.
        NetworkError: No answer.
        ServiceError: Refused.
    """
    listed = await reader.list_vaults()
    signer = SignerRef(SignerType.AGENT, key_id)
    done = 0

    async def wrap(vault_id: VaultId) -> tuple[WrappedKey, Pin] | None:
        nonlocal done
        dek = await _dek(reader, vault_id)
        done += 1
        await progress(done, 2 * len(listed) + 1)
        if dek is None:
            return None
        entry = await anyio.to_thread.run_sync(wrapped_entry, dek, key_id, new.public, signer, new)
        return entry, Pin(dek.version, dek_pin(dek))

    wrapped = [pair for pair in await map_bounded(wrap, [vault.id for vault in listed], _WIDTH) if pair is not None]
    return [entry for entry, _ in wrapped], {entry.vault_id: pin for entry, pin in wrapped}


def request(plan: Plan, old: PrivateKey, new: PrivateKey, batch: list[WrappedKey]) -> dict[str, Json]:
    """Return the one request that rotates; the old key approves the new one."""
    claim = KeyRotation(plan.key_id, plan.fingerprint, plan.previous_id)
    return {
        "encryptionKeyId": plan.key_id,
        "publicKey": new.public.pem,
        "previousEncryptionKeyId": plan.previous_id,
        "rotationSignature": sign(old, Context.KEY_ROTATION, claim.payload()),
        "rewrappedVaultKeys": [entry.payload() for entry in batch],
    }


async def read_back(reader: VaultReader, plan: Plan, progress: Progress) -> tuple[VaultId, ...]:
    """Look at what a rotation came to (rule 3).

    Args:
        reader: Proven reads with the new key.
        plan: The rotation.
        progress: Told of each vault.

    Returns:
        The vaults of the batch that did not read back: archived meanwhile, or not proven.

    Raises:
        NetworkError: No answer.
        R4Error: Not one of them read back; the first reason.
    """
    done = len(plan.pins)
    reasons: dict[VaultId, R4Error] = {}

    async def check(vault_id: VaultId) -> None:
        nonlocal done
        try:
            await _check_vault(reader, plan, vault_id)
        except (VerificationError, NotFoundError, OnboardingError, ServiceError) as error:
            reasons[vault_id] = error
        done += 1
        await progress(done, 2 * len(plan.pins) + 1)

    await map_bounded(check, list(plan.pins), _WIDTH)
    if reasons and len(reasons) == len(plan.pins):
        raise next(iter(reasons.values()))
    return tuple(reasons)


async def _dek(reader: VaultReader, vault_id: VaultId) -> Dek | None:
    try:
        return await reader.dek(await reader.vault(vault_id))
    except (AwaitingGrantError, NotFoundError):
        return None  # Nothing is wrapped for us there, or it was archived since it was listed: the service knows the same.
    except VerificationError as error:
        # Rule 1; the class, and with it the code, stays.
        message = f"the key was not rotated, because of vault {vault_id}: {error.message}"
        raise type(error)(message, next_step=error.next_step) from None


async def _check_vault(reader: VaultReader, plan: Plan, vault_id: VaultId) -> None:
    vault = await reader.vault(vault_id)
    mine = vault.directory.active_of(plan.fingerprint)
    if mine is None or mine.id != plan.key_id:
        raise DisagreementError(f"vault {vault_id} does not name the new key as ours")
    dek = await reader.dek(vault)
    pin = plan.pins[vault_id]
    # A higher version is a vault key that its owner changed meanwhile; the reader has proven it.
    if dek.version == pin.version and not hmac.compare_digest(dek_pin(dek), pin.value):
        raise DisagreementError(f"vault {vault_id} has another key than before")
