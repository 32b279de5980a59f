"""Honest, validly signed things, made with the project's own core functions; attack tests change one part of them.

What this file does not do: judge. Nothing here is expected to be refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

from r4_mcp.core import merkle
from r4_mcp.core.directory import Directory, advance, leaf, read_directory
from r4_mcp.core.encoding import Json, b64_encode
from r4_mcp.core.keys import PrivateKey, public_key
from r4_mcp.core.served import ServedField, ServedItem, ServedItems, ServedSingleField
from r4_mcp.core.signing import Context, sign
from r4_mcp.core.trust import SignerStatus, SignerTrust, TrustAnchors, VaultTrust
from r4_mcp.core.wire import (
    Classification,
    DetailCheckpoint,
    FieldId,
    FieldInstanceId,
    FieldType,
    ItemId,
    ItemType,
    KeyId,
    KeyRotation,
    Signed,
    SignedField,
    SignedItem,
    SignerRef,
    SignerType,
    SummaryCheckpoint,
    VaultId,
)

from .mutate import at, replaced


def identifier(name: str) -> str:
    """Return an id that is the same for the same name."""
    return hashlib.sha256(name.encode("utf-8")).hexdigest()[:24]


VAULT: Final = VaultId(identifier("vault"))
OTHER_VAULT: Final = VaultId(identifier("other vault"))
ITEM: Final = ItemId(identifier("item"))
OTHER_ITEM: Final = ItemId(identifier("other item"))
USERNAME: Final = FieldId(identifier("username"))
SECRET_FIELD: Final = FieldId(identifier("token"))
EMPTY_FIELD: Final = FieldId(identifier("empty"))
TOFU: Final = TrustAnchors(SignerTrust.TOFU, frozenset())
PINNED: Final = TrustAnchors(SignerTrust.PINNED, frozenset())


@dataclass(frozen=True)
class Party:
    """One signer as a directory will show it.

    Attributes:
        id: The key's id.
        kind: Agent or person.
        key: The key pair.
        previous: The party that this one continues.
        approver: Whose key signs the continuity; the previous one's if None.
        status: As served.
    """

    id: KeyId
    kind: SignerType
    key: PrivateKey
    previous: Party | None = None
    approver: Party | None = None
    status: SignerStatus = SignerStatus.ACTIVE

    @property
    def ref(self) -> SignerRef:
        """Return the reference that signed things carry."""
        return SignerRef(self.kind, self.id)

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint of the key."""
        return self.key.public.fingerprint

    @property
    def leaf(self) -> dict[str, Json]:
        """Return the log leaf in the vault of these tests."""
        return leaf(VAULT, self.id, self.kind, self.fingerprint, None if self.previous is None else self.previous.id)

    def continuing(self, previous: Party, approver: Party | None = None) -> Party:
        """Return this party as the successor of another."""
        return replace(self, previous=previous, approver=approver)

    def served_as(self, status: SignerStatus) -> Party:
        """Return this party with another served status."""
        return replace(self, status=status)


@dataclass(frozen=True)
class Parties:
    """Everybody in these tests."""

    human: Party
    agent: Party
    peer: Party
    successor: Party
    second_successor: Party
    stranger: Party


def generate(bits: int = 2048, exponent: int = 65537) -> PrivateKey:
    """Make a key pair."""
    key = rsa.generate_private_key(exponent, bits)
    return PrivateKey(key, public_key(key.public_key()))


def make_parties() -> Parties:
    """Make a key pair for everybody."""

    def party(name: str, kind: SignerType) -> Party:
        return Party(KeyId(identifier(f"key of {name}")), kind, generate())

    return Parties(
        human=party("human", SignerType.USER),
        agent=party("agent", SignerType.AGENT),
        peer=party("peer", SignerType.AGENT),
        successor=party("successor", SignerType.AGENT),
        second_successor=party("second successor", SignerType.AGENT),
        stranger=party("stranger", SignerType.USER),
    )


def directory_json(parties: Sequence[Party], *, grown_from: int | None = None) -> dict[str, Json]:
    """Return the wire form of a directory whose log holds exactly these parties, in this order."""
    hashes = [merkle.leaf_hash(party.leaf) for party in parties]
    signers: list[Json] = [_entry(party, hashes, index) for index, party in enumerate(parties)]
    proof: Json = None
    if grown_from is not None:
        proof = {
            "fromTreeSize": grown_from,
            "hashes": [b64_encode(entry) for entry in merkle.consistency_proof(hashes, grown_from)],
        }
    return {
        "vaultId": VAULT,
        "signers": signers,
        "head": {"treeSize": len(hashes), "rootHash": merkle.root_of(hashes).hex()},
        "consistencyProof": proof,
    }


def _entry(party: Party, hashes: Sequence[bytes], index: int) -> dict[str, Json]:
    continuity: str | None = None
    if party.previous is not None:
        rotation = KeyRotation(party.id, party.fingerprint, party.previous.id)
        continuity = sign((party.approver or party.previous).key, Context.KEY_ROTATION, rotation.payload())
    return {
        "id": party.id,
        "signerType": party.kind.value,
        "publicKey": party.key.public.pem,
        "fingerprint": party.fingerprint,
        "status": party.status.value,
        "previousId": None if party.previous is None else party.previous.id,
        "rotationSignature": continuity,
        "leafIndex": index,
        "inclusionProof": [b64_encode(entry) for entry in merkle.inclusion_proof(hashes, index)],
    }


def step(
    state: VaultTrust, parties: Sequence[Party], *, grown_from: int | None = None, anchors: TrustAnchors = TOFU
) -> tuple[VaultTrust, Directory]:
    """Advance a state by an honest directory of these parties."""
    return advance(state, read_directory(directory_json(parties, grown_from=grown_from)), VAULT, anchors)


def first_met(all_: Parties) -> list[Party]:
    """Return the parties of the first contact."""
    return [all_.human, all_.agent, all_.peer]


def entries(served: Json) -> list[Json]:
    """Return the signer entries of a served directory."""
    found = at(served, ("signers",))
    assert isinstance(found, list)
    return found


def without(served: Json, index: int) -> Json:
    """Leave one signer out of the answer, though it stays in the log."""
    return replaced(served, ("signers",), [entry for at_, entry in enumerate(entries(served)) if at_ != index])


def grown(all_: Parties, *newcomers: Party) -> dict[str, Json]:
    """Return the directory of first contact with newcomers, and an honest proof of the log's growth."""
    return directory_json([*first_met(all_), *newcomers], grown_from=3)


ITEMS: Final = (
    SignedItem(ITEM, "GitHub Production", ItemType.API_KEY, ("https://api.example.com",), None),
    SignedItem(OTHER_ITEM, "Database", ItemType.DATABASE, (), "a group"),
)
FIELDS: Final = (
    SignedField(USERNAME, "Username", FieldType.TEXT, 0, (FieldInstanceId(identifier("username 1")),), ()),
    SignedField(
        SECRET_FIELD,
        "Token",
        FieldType.SECRET,
        1,
        (FieldInstanceId(identifier("token 1")), FieldInstanceId(identifier("token 2"))),
        (),
    ),
    SignedField(EMPTY_FIELD, "Attachment", FieldType.FILE, 2, (), ("asset",)),
)


def summary(version: int = 1, dek_version: int = 1, items: tuple[SignedItem, ...] = ITEMS) -> SummaryCheckpoint:
    """Return a summary checkpoint of the vault of these tests."""
    return SummaryCheckpoint(VAULT, version, "Production", Classification.INTERNAL, dek_version, items, b"[]")


def detail(version: int = 1, item: SignedItem = ITEMS[0], fields: tuple[SignedField, ...] = FIELDS) -> DetailCheckpoint:
    """Return a detail checkpoint of an item."""
    return DetailCheckpoint(item.id, VAULT, version, item.name, item.type, item.websites, item.group_id, fields)


def signed_summary(party: Party, checkpoint: SummaryCheckpoint, context: Context = Context.SUMMARY) -> Signed[SummaryCheckpoint]:
    """Sign a summary."""
    return Signed(checkpoint, party.ref, sign(party.key, context, checkpoint.payload()))


def signed_detail(party: Party, checkpoint: DetailCheckpoint, context: Context = Context.DETAIL) -> Signed[DetailCheckpoint]:
    """Sign a detail."""
    return Signed(checkpoint, party.ref, sign(party.key, context, checkpoint.payload()))


def listing(signed: Signed[SummaryCheckpoint]) -> ServedItems:
    """Serve a listing that says what its summary says."""
    checkpoint = signed.checkpoint
    return ServedItems(
        vault_id=checkpoint.vault_id,
        vault_name=checkpoint.name,
        classification=checkpoint.classification,
        dek_version=checkpoint.dek_version,
        summary=signed,
        items=checkpoint.items,
        field_counts={item.id: 3 for item in checkpoint.items},
    )


def served_item(signed: Signed[DetailCheckpoint]) -> ServedItem:
    """Serve an item that says what its detail says."""
    checkpoint = signed.checkpoint
    line = SignedItem(checkpoint.item_id, checkpoint.name, checkpoint.type, checkpoint.websites, checkpoint.group_id)
    fields = tuple(ServedField(field, "an envelope" if field.instance_ids else None) for field in checkpoint.fields)
    return ServedItem(line, checkpoint.vault_id, fields, signed)


def served_field(signed: Signed[DetailCheckpoint], field_id: FieldId) -> ServedSingleField:
    """Serve one field alone, in its current instance."""
    checkpoint = signed.checkpoint
    line = next(field for field in checkpoint.fields if field.id == field_id)
    return ServedSingleField(
        field=ServedField(line, "an envelope" if line.instance_ids else None),
        instance_id=line.instance_ids[-1] if line.instance_ids else None,
        vault_id=checkpoint.vault_id,
        item_id=checkpoint.item_id,
        item_name=checkpoint.name,
        detail=signed,
    )


def frozen_copy(state: VaultTrust) -> VaultTrust:
    """Return a copy that shares no mapping with the state, to compare with it later."""
    return replace(state, signers=dict(state.signers), details=dict(state.details))
