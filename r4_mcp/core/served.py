"""What the service serves around the signed things: listings, items, fields, projects, ``/me`` (contract §2, §6).

What this file does not do: believe any of it. Names here are claims; ``checkpoint`` compares them with what was signed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from r4_mcp.core.encoding import Json
from r4_mcp.core.record import Record, open_record
from r4_mcp.core.wire import (
    Classification,
    DetailCheckpoint,
    FieldInstanceId,
    ItemId,
    KeyId,
    ProjectId,
    Signed,
    SignedField,
    SignedItem,
    SummaryCheckpoint,
    VaultId,
    field_line,
    item_line,
    read_detail,
    read_summary,
)
from r4_mcp.errors import MalformedError

MAX_VALUE_TEXT: Final = 400_000
"""Characters of a served envelope string: room for the largest envelope and to spare; the envelope has its own limit."""


@dataclass(frozen=True, slots=True)
class ServedVault:
    """A line of the vault list: unsigned, so nothing is decided from it."""

    id: VaultId
    name: str
    classification: Classification | None
    item_count: int


@dataclass(frozen=True, slots=True)
class Page:
    """Where a listing stands; ``total_pages`` is 1 where it came whole."""

    number: int
    total_pages: int


@dataclass(frozen=True, slots=True)
class ServedItems:
    """A vault's item listing with the summary checkpoint that must cover it; None where the service sent none."""

    vault_id: VaultId
    vault_name: str
    classification: Classification | None
    dek_version: int
    summary: Signed[SummaryCheckpoint] | None
    items: tuple[SignedItem, ...]
    field_counts: dict[ItemId, int]


@dataclass(frozen=True, slots=True)
class ServedField:
    """One field as served: its claimed line, and the ciphertext of its latest instance (None for FILE)."""

    line: SignedField
    envelope: str | None


@dataclass(frozen=True, slots=True)
class ServedItem:
    """One item as served, with the detail checkpoint that must cover it; None where the service sent none."""

    line: SignedItem
    vault_id: VaultId
    fields: tuple[ServedField, ...]
    detail: Signed[DetailCheckpoint] | None


@dataclass(frozen=True, slots=True)
class ServedSingleField:
    """One field served alone, with its parent's detail checkpoint; None where the service sent none."""

    field: ServedField
    instance_id: FieldInstanceId | None
    vault_id: VaultId
    item_id: ItemId
    item_name: str
    detail: Signed[DetailCheckpoint] | None


@dataclass(frozen=True, slots=True)
class Me:
    """Who the API key is (contract §6)."""

    scope: str
    agent_id: str
    agent_name: str
    tenant_id: str | None
    org_id: str | None
    permissions: tuple[str, ...]
    active_key_id: KeyId | None
    active_fingerprint: str | None
    vault_write_allowed: bool
    vault_write_reason: str | None


@dataclass(frozen=True, slots=True)
class ServedProject:
    """One project: unsigned."""

    id: ProjectId
    name: str
    external_id: str | None
    description: str | None
    vaults_count: int


def read_vaults(value: Json) -> tuple[tuple[ServedVault, ...], Page]:
    """Read the vault list, whole or one page of it (contract §1)."""
    record = open_record(value, "vault list")
    if "pagination" in record.members:
        page = record.part("pagination", open_record)
        where = Page(page.integer("page", minimum=1), page.integer("totalPages"))
        return record.parts("data", read_vault), where
    return record.parts("vaults", read_vault), Page(1, 1)


def read_items(value: Json) -> ServedItems:
    """Read a vault's item listing."""
    record = open_record(value, "item listing")
    records = record.parts("items", open_record)
    items = tuple(item_line(item) for item in records)
    if record.integer("count") != len(items):
        raise MalformedError("item listing.count is not the number of items")
    return ServedItems(
        vault_id=VaultId(record.identifier("vaultId")),
        vault_name=record.text("vaultName"),
        classification=record.optional_choice("dataClassification", Classification),
        dek_version=record.integer("currentDekVersion", minimum=1),
        summary=summary_of(record),
        items=items,
        field_counts={ItemId(item.identifier("id")): item.integer("fieldCount") for item in records},
    )


def read_item(value: Json) -> ServedItem:
    """Read one item with its ciphertext."""
    record = open_record(value, "item")
    return ServedItem(
        line=item_line(record),
        vault_id=VaultId(record.identifier("vaultId")),
        fields=record.parts("fields", _read_field),
        detail=detail_of(record),
    )


def read_field(value: Json, what: str = "field") -> ServedSingleField:
    """Read one field with its ciphertext."""
    record = open_record(value, what)
    instance = record.optional_identifier("fieldInstanceId")
    return ServedSingleField(
        field=_read_field(value, what),
        instance_id=None if instance is None else FieldInstanceId(instance),
        vault_id=VaultId(record.identifier("vaultId")),
        item_id=ItemId(record.identifier("vaultItemId")),
        item_name=record.text("vaultItemName"),
        detail=detail_of(record),
    )


def read_environment_fields(value: Json) -> tuple[VaultId, tuple[ServedSingleField, ...]]:
    """Read a vault's fields that are marked for environment export; the mark is unsigned, so it is the service's word alone."""
    record = open_record(value, "environment fields")
    marked = record.parts("fields", open_record)
    if not all(field.boolean("isEnvironmentVariable") for field in marked):
        raise MalformedError("environment fields has a field that is not marked for export")
    fields = record.parts("fields", read_field)
    if record.integer("count") != len(fields) or len({field.field.line.id for field in fields}) != len(fields):
        raise MalformedError("environment fields has a field twice, or a count that is not the number of fields")
    return VaultId(record.identifier("vaultId")), fields


def read_me(value: Json) -> Me:
    """Read ``GET /me``."""
    record = open_record(value, "me")
    key_id = record.optional_identifier("activeEncryptionKeyId")
    write = record.part("vaultWrite", open_record)
    return Me(
        scope=record.text("scope"),
        agent_id=record.text("agentId"),
        agent_name=record.text("agentName"),
        tenant_id=record.optional_text("tenantId"),
        org_id=record.optional_text("orgId"),
        permissions=record.texts("permissions"),
        active_key_id=None if key_id is None else KeyId(key_id),
        active_fingerprint=None if record.optional_text("activeFingerprint") is None else record.hex_digest("activeFingerprint"),
        vault_write_allowed=write.boolean("allowed"),
        vault_write_reason=write.optional_text("reason"),
    )


def read_registration(value: Json) -> tuple[KeyId, str]:
    """Read the answer to a key registration: the key's id and fingerprint."""
    record = open_record(value, "key registration")
    return KeyId(record.identifier("encryptionKeyId")), record.hex_digest("fingerprint")


def read_created(value: Json) -> str:
    """Read the id that a creation answers with."""
    return open_record(value, "creation").identifier("id")


def read_feedback(value: Json) -> str:
    """Read the id of a feedback report."""
    return open_record(value, "feedback").text("id", max_length=128)


def read_projects(value: Json) -> tuple[ServedProject, ...]:
    """Read the project list."""
    return open_record(value, "project list").parts("projects", _read_project)


def _read_project(value: Json, what: str) -> ServedProject:
    record = open_record(value, what)
    return ServedProject(
        id=ProjectId(record.identifier("id")),
        name=record.text("name"),
        external_id=record.optional_text("externalId"),
        description=record.optional_text("description"),
        vaults_count=record.integer("vaultsCount"),
    )


def read_vault(value: Json, what: str) -> ServedVault:
    """Read a line of the vault list."""
    record = open_record(value, what)
    return ServedVault(
        id=VaultId(record.identifier("id")),
        name=record.text("name"),
        classification=record.optional_choice("dataClassification", Classification),
        item_count=record.integer("itemCount"),
    )


def _read_field(value: Json, what: str) -> ServedField:
    record = open_record(value, what)
    return ServedField(line=field_line(record), envelope=_envelope(record))


def summary_of(record: Record) -> Signed[SummaryCheckpoint] | None:
    """Read the summary checkpoint beside what it covers. Absence is no damage; it is judged where the proof is made."""
    return read_summary(record.members["summaryCheckpoint"], "summary checkpoint") if record.has("summaryCheckpoint") else None


def detail_of(record: Record) -> Signed[DetailCheckpoint] | None:
    """Read the detail checkpoint beside what it covers; as ``summary_of``."""
    return read_detail(record.members["detailCheckpoint"], "detail checkpoint") if record.has("detailCheckpoint") else None


def _envelope(record: Record) -> str | None:
    return record.text("value", max_length=MAX_VALUE_TEXT) if record.has("value") else None
