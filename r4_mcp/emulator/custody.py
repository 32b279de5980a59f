"""A person's proofs over stored vaults: verify, then unwrap, seal, sign (contract §3, §4).

What this file does not do: store. The operator trusts its own store no further than a client would trust the service: what it
signs again, it has proven by the rules of ``core`` first.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace

from r4_mcp.core.checkpoint import ProvenSummary, advance_item, advance_summary
from r4_mcp.core.directory import Directory, advance, read_directory
from r4_mcp.core.envelope import open_envelope, seal
from r4_mcp.core.keys import PrivateKey
from r4_mcp.core.served import read_item, read_items
from r4_mcp.core.signing import Context, sign, verify
from r4_mcp.core.trust import SignerTrust, TrustAnchors, VaultTrust
from r4_mcp.core.wire import (
    DetailCheckpoint,
    KeyId,
    Signed,
    SignedItem,
    SignerRef,
    SignerType,
    SummaryCheckpoint,
    VaultId,
    WrappedKey,
)
from r4_mcp.core.wrapping import Dek, unwrap, wrapped_entry
from r4_mcp.emulator.directory_log import directory_view
from r4_mcp.emulator.fresh import new_iv
from r4_mcp.emulator.item_rows import ItemRow, SealedInstance, item_fields, live_items
from r4_mcp.emulator.signing_keys import SigningKey
from r4_mcp.emulator.vault_rows import find_vault, find_wrapped_key
from r4_mcp.emulator.views import item_view, items_view
from r4_mcp.errors import DisagreementError, NotFoundError, SignerError
from r4_mcp.secret import KnownSecrets, Secret


@dataclass(frozen=True, slots=True)
class ProvenVault:
    """A stored vault whose directory and summary held."""

    trust: VaultTrust
    directory: Directory
    summary: ProvenSummary

    @property
    def checkpoint(self) -> SummaryCheckpoint:
        """The proven summary."""
        return self.summary.checkpoint


@dataclass(frozen=True, slots=True)
class Custodian:
    """A person's key pair, as it acts on vaults."""

    key: PrivateKey
    key_id: KeyId
    known: KnownSecrets

    @property
    def ref(self) -> SignerRef:
        """How this person's signatures name their key."""
        return SignerRef(SignerType.USER, self.key_id)

    def sign_summary(self, checkpoint: SummaryCheckpoint) -> Signed[SummaryCheckpoint]:
        """Sign a summary."""
        return Signed(checkpoint, self.ref, sign(self.key, Context.SUMMARY, checkpoint.payload()))

    def sign_detail(self, checkpoint: DetailCheckpoint) -> Signed[DetailCheckpoint]:
        """Sign a detail."""
        return Signed(checkpoint, self.ref, sign(self.key, Context.DETAIL, checkpoint.payload()))

    def sign_next(self, proven: ProvenVault, items: tuple[SignedItem, ...], dek_version: int) -> Signed[SummaryCheckpoint]:
        """Sign the summary that follows a proven one."""
        stored = proven.checkpoint
        return self.sign_summary(replace(stored, version=stored.version + 1, items=items, dek_version=dek_version))

    def wrap(self, dek: Dek, recipient: SigningKey) -> WrappedKey:
        """Wrap a DEK for a registered key."""
        return wrapped_entry(dek, recipient.id, recipient.public, self.ref, self.key)

    def is_signer(self, proven: ProvenVault) -> bool:
        """Say whether this person may sign in a vault."""
        signer = proven.directory.active_of(self.key.public.fingerprint)
        return signer is not None and signer.id == self.key_id

    def prove(self, db: sqlite3.Connection, vault_id: VaultId) -> ProvenVault:
        """Prove a stored vault, and that this person may sign in it.

        Raises:
            NotFoundError: No live vault of this id.
            SignerError: This person is no active signer of the vault: an agent made it and nobody shared it.
            VerificationError: What is stored does not hold.
        """
        proven = prove_vault(db, vault_id)
        if not self.is_signer(proven):
            raise SignerError(f"this operator is not an active signer of vault {vault_id}")
        return proven

    def open_dek(self, db: sqlite3.Connection, proven: ProvenVault) -> Dek:
        """Unwrap a proven vault's DEK.

        Raises:
            NotFoundError: Nothing is wrapped for this person.
            VerificationError: What is wrapped is not this person's own entry of the signed version, or does not open.
        """
        stored = proven.checkpoint
        entry = find_wrapped_key(db, stored.vault_id, self.key_id)
        if entry is None:
            raise NotFoundError(f"no key of vault {stored.vault_id} is wrapped for this operator")
        if entry.vault_id != stored.vault_id or entry.dek_version != stored.dek_version or entry.recipient != self.key_id:
            raise DisagreementError(f"the wrapped key of vault {stored.vault_id} is not of the signed key version")
        if entry.signer != self.ref:
            raise SignerError(f"the wrapped key of vault {stored.vault_id} is not signed by this operator")
        verify(self.key.public, Context.WRAPPED_DEK, entry.signed_payload(), entry.signature)
        return unwrap(entry, self.key, self.known)

    def open_value(self, dek: Dek, instance: SealedInstance) -> Secret[str]:
        """Open a stored value; secret fields alarm the egress guard of this process.

        Raises:
            EnvelopeError: It does not open in its place.
        """
        return open_envelope(dek.key, instance.place, instance.envelope, self.known, armed=instance.type.is_secret)


def prove_vault(db: sqlite3.Connection, vault_id: VaultId) -> ProvenVault:
    """Prove a stored vault's directory and summary, as a client at first contact would.

    Raises:
        NotFoundError: No live vault of this id.
        VerificationError: What is stored does not hold.
    """
    vault = find_vault(db, vault_id)
    if vault is None:
        raise NotFoundError(f"there is no vault {vault_id}")
    anchors = TrustAnchors(SignerTrust.TOFU, frozenset())
    trust, directory = advance(VaultTrust(), read_directory(directory_view(db, vault_id, None)), vault_id, anchors)
    trust, summary = advance_summary(trust, read_items(items_view(vault, live_items(db, vault_id))), directory)
    return ProvenVault(trust, directory, summary)


def prove_detail(db: sqlite3.Connection, proven: ProvenVault, item: ItemRow) -> DetailCheckpoint:
    """Prove a stored item of a proven vault.

    Raises:
        VerificationError: What is stored does not hold.
    """
    served = read_item(item_view(item, item_fields(db, item.line.id)))
    _, detail, _ = advance_item(proven.trust, served, item.line.id, proven.summary, proven.directory)
    return detail.checkpoint


def seal_again(dek: Dek, instance: SealedInstance, value: Secret[str]) -> str:
    """Seal a value in the place it has, under another DEK: the AAD names no DEK version."""
    return seal(dek.key, instance.place, value, new_iv())
