"""The signed things of the wire: checkpoints, wrapped keys, key rotations (contract §3, §4, §5).

What this file does not do: verify. It turns parsed JSON into frozen types and back into the payload that a signature covers;
nothing here is proven yet. ``checkpoint`` and ``wrapping`` prove.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, NewType, TypeVar

from r4_mcp.core.encoding import Json, canonical, parse_json
from r4_mcp.core.record import Record, exact, open_record
from r4_mcp.errors import CheckpointMissingError, MalformedError

VaultId = NewType("VaultId", str)
ItemId = NewType("ItemId", str)
FieldId = NewType("FieldId", str)
FieldInstanceId = NewType("FieldInstanceId", str)
KeyId = NewType("KeyId", str)
ProjectId = NewType("ProjectId", str)

SignedT = TypeVar("SignedT")


class Classification(StrEnum):
    """How sensitive a vault is. Unclassified is None, not a member."""

    PUBLIC = "PUBLIC"
    INTERNAL = "INTERNAL"
    CONFIDENTIAL = "CONFIDENTIAL"
    CUI = "CUI"


class ItemType(StrEnum):
    """What an item is (contract §2)."""

    LOGIN = "LOGIN"
    API_KEY = "API_KEY"
    DATABASE = "DATABASE"
    SSH_KEY = "SSH_KEY"
    SERVER = "SERVER"
    SECURE_NOTE = "SECURE_NOTE"
    CREDIT_CARD = "CREDIT_CARD"
    CUSTOM = "CUSTOM"


class FieldType(StrEnum):
    """What a field holds (contract §2)."""

    TEXT = "TEXT"
    PASSWORD = "PASSWORD"  # noqa: S105 - the name of a field type, not a password
    SECRET = "SECRET"  # noqa: S105 - the name of a field type, not a secret
    URL = "URL"
    NUMBER = "NUMBER"
    TOTP = "TOTP"
    FILE = "FILE"

    @property
    def is_secret(self) -> bool:
        """Whether fields of this type are secret fields."""
        return self in _SECRET_TYPES


_SECRET_TYPES: Final = frozenset({FieldType.PASSWORD, FieldType.SECRET, FieldType.TOTP})


class SignerType(StrEnum):
    """Whose key signs: an agent's or a person's."""

    AGENT = "AGENT_ENCRYPTION_KEY"
    USER = "USER_KEY_PAIR"


@dataclass(frozen=True, slots=True)
class SignerRef:
    """Who claims to have signed: exactly one of the two id members of the envelope."""

    kind: SignerType
    id: KeyId

    def members(self) -> dict[str, Json]:
        """Return the one member that names this signer on the wire."""
        return {_SIGNER_MEMBER[self.kind]: self.id}


_SIGNER_MEMBER: Final = {SignerType.AGENT: "signerEncryptionKeyId", SignerType.USER: "signerUserKeyPairId"}


@dataclass(frozen=True, slots=True)
class SignedItem:
    """An item's line in a summary checkpoint."""

    id: ItemId
    name: str
    type: ItemType
    websites: tuple[str, ...]
    group_id: str | None

    def payload(self) -> dict[str, Json]:
        """Return the wire form."""
        return {
            "id": self.id,
            "name": self.name,
            "type": str(self.type),
            "websites": list(self.websites),
            "groupId": self.group_id,
        }


@dataclass(frozen=True, slots=True)
class SummaryCheckpoint:
    """What a vault holds, as its last writer signed it."""

    vault_id: VaultId
    version: int
    name: str
    classification: Classification | None
    dek_version: int
    items: tuple[SignedItem, ...]
    groups: bytes
    """Canonical JSON of ``groups``: its entries are unpublished, so they are carried and signed as they are, never read."""

    def payload(self) -> dict[str, Json]:
        """Return the wire form, which is what the signature covers."""
        return {
            "vaultId": self.vault_id,
            "version": self.version,
            "name": self.name,
            "dataClassification": None if self.classification is None else str(self.classification),
            "currentDekVersion": self.dek_version,
            "items": [item.payload() for item in self.items],
            "groups": parse_json(self.groups, what="groups"),
        }


@dataclass(frozen=True, slots=True)
class SignedField:
    """A field's line in a detail checkpoint. The last instance id is the current one."""

    id: FieldId
    name: str
    type: FieldType
    order: int
    instance_ids: tuple[FieldInstanceId, ...]
    asset_ids: tuple[str, ...]

    def payload(self) -> dict[str, Json]:
        """Return the wire form."""
        return {
            "id": self.id,
            "name": self.name,
            "type": str(self.type),
            "order": self.order,
            "fieldInstanceIds": list(self.instance_ids),
            "assetIds": list(self.asset_ids),
        }


@dataclass(frozen=True, slots=True)
class DetailCheckpoint:
    """What an item is made of, as its last writer signed it."""

    item_id: ItemId
    vault_id: VaultId
    version: int
    name: str
    type: ItemType
    websites: tuple[str, ...]
    group_id: str | None
    fields: tuple[SignedField, ...]

    @property
    def line(self) -> SignedItem:
        """The line that the vault's summary must have for this item."""
        return SignedItem(self.item_id, self.name, self.type, self.websites, self.group_id)

    def payload(self) -> dict[str, Json]:
        """Return the wire form, which is what the signature covers."""
        return {
            "vaultItemId": self.item_id,
            "vaultId": self.vault_id,
            "version": self.version,
            "name": self.name,
            "type": str(self.type),
            "websites": list(self.websites),
            "groupId": self.group_id,
            "fields": [field.payload() for field in self.fields],
        }


@dataclass(frozen=True, slots=True)
class Signed(Generic[SignedT]):
    """A checkpoint with the signature and signer that it claims."""

    checkpoint: SignedT
    signer: SignerRef
    signature: str


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """One vault DEK, wrapped for one key, with the signature that it claims (contract §4)."""

    vault_id: VaultId
    recipient: KeyId
    signer: SignerRef
    dek_version: int
    wrapped_dek: str
    signature: str

    def signed_payload(self) -> dict[str, Json]:
        """Return what the signature covers: every member but the signature."""
        return {
            "vaultId": self.vault_id,
            "encryptionKeyId": self.recipient,
            **self.signer.members(),
            "signerType": self.signer.kind.value,
            "dekVersion": self.dek_version,
            "wrappedDek": self.wrapped_dek,
        }

    def payload(self) -> dict[str, Json]:
        """Return the whole wire form."""
        return {**self.signed_payload(), "wrappedDekSignature": self.signature}


@dataclass(frozen=True, slots=True)
class KeyRotation:
    """The claim that a new key continues an old one; signed by the old key (contract §5)."""

    key_id: KeyId
    fingerprint: str
    previous_id: KeyId

    def payload(self) -> dict[str, Json]:
        """Return what the continuity signature covers."""
        return {
            "encryptionKeyId": self.key_id,
            "fingerprint": self.fingerprint,
            "previousEncryptionKeyId": self.previous_id,
        }


def signed_envelope(payload: dict[str, Json], signer: SignerRef, signature: str) -> dict[str, Json]:
    """Return the wire envelope of a signed checkpoint (contract §3)."""
    return {"checkpoint": payload, "signature": signature, **signer.members()}


_ENVELOPE_KEYS: Final = {kind: frozenset({"checkpoint", "signature", member}) for kind, member in _SIGNER_MEMBER.items()}
_SUMMARY_KEYS: Final = frozenset({"vaultId", "version", "name", "dataClassification", "currentDekVersion", "items", "groups"})
_ITEM_KEYS: Final = frozenset({"id", "name", "type", "websites", "groupId"})
_DETAIL_KEYS: Final = frozenset({"vaultItemId", "vaultId", "version", "name", "type", "websites", "groupId", "fields"})
_FIELD_KEYS: Final = frozenset({"id", "name", "type", "order", "fieldInstanceIds", "assetIds"})
_WRAPPED_KEYS: Final = frozenset({"vaultId", "encryptionKeyId", "signerType", "dekVersion", "wrappedDek", "wrappedDekSignature"})


def read_summary(value: Json, what: str) -> Signed[SummaryCheckpoint]:
    """Read a signed summary checkpoint.

    Raises:
        MalformedError: Not exactly the form of contract §3.
        CheckpointMissingError: It is null.
    """
    body, signer, signature = _read_envelope(value, what)
    record = exact(body, f"{what}.checkpoint", _SUMMARY_KEYS)
    items = record.parts("items", _read_item)
    if len({item.id for item in items}) != len(items):
        raise MalformedError(f"{what} lists an item twice")
    groups = record.members["groups"]
    if not isinstance(groups, list):
        raise MalformedError(f"{what}.groups is not a list")
    checkpoint = SummaryCheckpoint(
        vault_id=VaultId(record.identifier("vaultId")),
        version=record.integer("version", minimum=1),
        name=record.text("name"),
        classification=record.optional_choice("dataClassification", Classification),
        dek_version=record.integer("currentDekVersion", minimum=1),
        items=items,
        groups=canonical(groups),
    )
    return Signed(checkpoint, signer, signature)


def read_detail(value: Json, what: str) -> Signed[DetailCheckpoint]:
    """Read a signed detail checkpoint.

    Raises:
        MalformedError: Not exactly the form of contract §3.
        CheckpointMissingError: It is null.
    """
    body, signer, signature = _read_envelope(value, what)
    record = exact(body, f"{what}.checkpoint", _DETAIL_KEYS)
    fields = record.parts("fields", _read_field)
    if len({field.id for field in fields}) != len(fields):
        raise MalformedError(f"{what} lists a field twice")
    checkpoint = DetailCheckpoint(
        item_id=ItemId(record.identifier("vaultItemId")),
        vault_id=VaultId(record.identifier("vaultId")),
        version=record.integer("version", minimum=1),
        name=record.text("name"),
        type=record.choice("type", ItemType),
        websites=record.texts("websites"),
        group_id=record.optional_text("groupId"),
        fields=fields,
    )
    return Signed(checkpoint, signer, signature)


def read_wrapped_key(value: Json, what: str) -> WrappedKey:
    """Read a wrapped-key entry.

    Raises:
        MalformedError: Not exactly the form of contract §4, or ``signerType`` contradicts the signer's member.
    """
    record = open_record(value, what)
    kind = record.choice("signerType", SignerType)
    record = exact(value, what, _WRAPPED_KEYS | {_SIGNER_MEMBER[kind]})
    return WrappedKey(
        vault_id=VaultId(record.identifier("vaultId")),
        recipient=KeyId(record.identifier("encryptionKeyId")),
        signer=SignerRef(kind, KeyId(record.identifier(_SIGNER_MEMBER[kind]))),
        dek_version=record.integer("dekVersion", minimum=1),
        wrapped_dek=record.text("wrappedDek"),
        signature=record.text("wrappedDekSignature"),
    )


def _read_envelope(value: Json, what: str) -> tuple[Json, SignerRef, str]:
    if value is None:
        raise CheckpointMissingError(f"{what} is absent")
    members = open_record(value, what).members
    named = [kind for kind, member in _SIGNER_MEMBER.items() if member in members]
    if len(named) != 1:
        raise MalformedError(f"{what} names {len(named)} signers instead of one")
    kind = named[0]
    record = exact(value, what, _ENVELOPE_KEYS[kind])
    signer = SignerRef(kind, KeyId(record.identifier(_SIGNER_MEMBER[kind])))
    return record.members["checkpoint"], signer, record.text("signature")


def _read_item(value: Json, what: str) -> SignedItem:
    record = exact(value, what, _ITEM_KEYS)
    return SignedItem(
        id=ItemId(record.identifier("id")),
        name=record.text("name"),
        type=record.choice("type", ItemType),
        websites=record.texts("websites"),
        group_id=record.optional_text("groupId"),
    )


def _read_field(value: Json, what: str) -> SignedField:
    record = exact(value, what, _FIELD_KEYS)
    return SignedField(
        id=FieldId(record.identifier("id")),
        name=record.text("name"),
        type=record.choice("type", FieldType),
        order=record.integer("order"),
        instance_ids=tuple(map(FieldInstanceId, record.identifiers("fieldInstanceIds"))),
        asset_ids=record.texts("assetIds"),
    )


def item_line(record: Record) -> SignedItem:
    """Read the same members from an unsigned record, to compare them with the signed ones."""
    return _read_item({key: record.members.get(key) for key in _ITEM_KEYS}, record.what)


def field_line(record: Record) -> SignedField:
    """Read a field's signed members from an unsigned record, to compare them with the signed ones."""
    return _read_field({key: record.members.get(key) for key in _FIELD_KEYS}, record.what)
