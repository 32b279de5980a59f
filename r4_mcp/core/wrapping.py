r"""Vault keys: wrapped for one RSA key, proven before they are unwrapped (contract §4).

What this file does not do: generate keys. The DEK to wrap is an argument.

Rules, cited by errors as "wrapping rule N":
1. The entry is for the vault that was asked for, and its version is the signed summary's ``currentDekVersion``, never lower than
   what is remembered.
2. The recipient is our key: else it is *not mine*, which is not damage.
3. Its signer is a person of the proven directory, or ourselves; another agent never wraps for us. Checked, with the signature,
   before decryption: OAEP gives no sender authenticity, so without this the service could hand us a key of its own.
4. RSA-OAEP with SHA-256, MGF1-SHA-256 and an empty label opens to exactly 32 bytes: else it is *damaged*.
5. The same version is the same key: HMAC-SHA256(DEK, "r4.dek-pin.v1\n" + vaultId) equals the remembered pin.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from r4_mcp.core.checkpoint import ProvenSummary
from r4_mcp.core.directory import Directory
from r4_mcp.core.encoding import b64_decode, b64_encode
from r4_mcp.core.envelope import DEK_SIZE
from r4_mcp.core.keys import MAX_BITS, PrivateKey, PublicKey
from r4_mcp.core.signing import Context, sign, verify
from r4_mcp.core.trust import PinnedDek, SignerStatus, VaultTrust
from r4_mcp.core.wire import KeyId, SignerRef, SignerType, VaultId, WrappedKey
from r4_mcp.errors import (
    DisagreementError,
    EquivocationError,
    MalformedError,
    RollbackError,
    SignerError,
    WrappedKeyDamagedError,
    WrappedKeyNotMineError,
)
from r4_mcp.secret import KnownSecrets, Secret, SecretKind

_PIN_CONTEXT: Final = b"r4.dek-pin.v1\n"


@dataclass(frozen=True, slots=True)
class Dek:
    """A vault's proven data encryption key."""

    vault_id: VaultId
    version: int
    key: Secret[bytes]


def wrap(dek: Secret[bytes], key: PublicKey) -> str:
    """Wrap a DEK for a key; returns standard base64.

    The caller took ``key`` from a proven directory or from its own key pair: never from an unproven answer.
    """
    # reveal: seen by the cipher only.
    return b64_encode(key.rsa.encrypt(dek.reveal(), _oaep()))


def wrapped_entry(dek: Dek, recipient: KeyId, recipient_key: PublicKey, signer: SignerRef, signing_key: PrivateKey) -> WrappedKey:
    """Wrap a DEK and sign the entry."""
    unsigned = WrappedKey(dek.vault_id, recipient, signer, dek.version, wrap(dek.key, recipient_key), "")
    return replace(unsigned, signature=sign(signing_key, Context.WRAPPED_DEK, unsigned.signed_payload()))


def unwrap(entry: WrappedKey, key: PrivateKey, known: KnownSecrets) -> Dek:
    """Decrypt an entry whose signature the caller has proven (rule 4 alone).

    Raises:
        WrappedKeyDamagedError: It does not open to 32 bytes.
    """
    damaged = WrappedKeyDamagedError(f"the wrapped key of vault {entry.vault_id} does not open with our key (wrapping rule 4)")
    try:
        ciphertext = b64_decode(entry.wrapped_dek, what="wrapped key", max_size=MAX_BITS // 8)
    except MalformedError:
        raise damaged from None
    opened = unwrap_bytes(ciphertext, key)
    if opened is None or len(opened) != DEK_SIZE:
        raise damaged
    return Dek(entry.vault_id, entry.dek_version, known.octets(opened, SecretKind.DEK))


def unwrap_bytes(ciphertext: bytes, key: PrivateKey) -> bytes | None:
    """Decrypt RSA-OAEP as rule 4 has it; None where it does not open. What it must open to is for ``unwrap`` to say."""
    try:
        return key.rsa.decrypt(ciphertext, _oaep())
    except ValueError:
        return None


def prove_entry(
    state: VaultTrust, entry: WrappedKey, directory: Directory, summary: ProvenSummary, mine: PublicKey
) -> WrappedKey:
    """Prove a wrapped-key entry before anything is decrypted (rules 1 to 3).

    Args:
        state: What is remembered of this vault.
        entry: The parsed entry.
        directory: The vault's proven signers.
        summary: The vault's proven summary.
        mine: Our public key.

    Raises:
        DisagreementError: Rule 1, another vault or another version than the signed one.
        RollbackError: Rule 1, a lower version than remembered.
        WrappedKeyNotMineError: Rule 2.
        SignerError: Rule 3, the signer may not wrap for us.
        SignatureError: Rule 3, the signature does not verify.
    """
    vault_id = directory.vault_id
    if entry.vault_id != vault_id or entry.dek_version != summary.checkpoint.dek_version:
        raise DisagreementError(f"the wrapped key of vault {vault_id} is not of the signed key version (wrapping rule 1)")
    if state.dek is not None and entry.dek_version < state.dek.version:
        raise RollbackError(
            f"the key version of vault {vault_id} went back from {state.dek.version} to {entry.dek_version} (wrapping rule 1)"
        )
    recipient = directory.signers.get(entry.recipient)
    if recipient is None or recipient.kind is not SignerType.AGENT or recipient.key.fingerprint != mine.fingerprint:
        raise WrappedKeyNotMineError(f"the wrapped key of vault {vault_id} is for key {entry.recipient} (wrapping rule 2)")
    signer = directory.find(entry.signer)
    if signer.kind is SignerType.AGENT and signer.id != recipient.id:
        raise SignerError(f"the wrapped key of vault {vault_id} is signed by another agent, {signer.id} (wrapping rule 3)")
    if signer.status is SignerStatus.RETIRED:
        noted = state.signers[signer.id].retired_dek
        if noted is not None and entry.dek_version > noted:
            raise SignerError(
                f"signer {signer.id} of vault {vault_id} retired at key version {noted} and can't wrap version "
                f"{entry.dek_version} (wrapping rule 3)"
            )
    verify(signer.key, Context.WRAPPED_DEK, entry.signed_payload(), entry.signature)
    return entry


def advance_dek(
    state: VaultTrust,
    entry: WrappedKey,
    directory: Directory,
    summary: ProvenSummary,
    key: PrivateKey,
    known: KnownSecrets,
) -> tuple[VaultTrust, Dek]:
    """Prove a wrapped-key entry, open it, and pin what it holds (all rules).

    Raises:
        WrappedKeyDamagedError: Rule 4.
        EquivocationError: Rule 5.
        VerificationError: As ``prove_entry``.
    """
    proven = prove_entry(state, entry, directory, summary, key.public)
    dek = unwrap(proven, key, known)
    pin = dek_pin(dek)
    if state.dek is not None and state.dek.version == dek.version and not hmac.compare_digest(state.dek.pin, pin):
        raise EquivocationError(f"vault {dek.vault_id} has two keys of version {dek.version} (wrapping rule 5)")
    return replace(state, dek=PinnedDek(dek.version, pin)), dek


def dek_pin(dek: Dek) -> str:
    """Return the pin of rule 5 in hex: it names a DEK without helping to find it."""
    # reveal: seen by HMAC only.
    return hmac.new(dek.key.reveal(), _PIN_CONTEXT + dek.vault_id.encode("ascii"), "sha256").hexdigest()


def _oaep() -> padding.OAEP:
    return padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
