"""What the machine API serves of its rows, member by member (contract §2).

What this file does not do: read requests or decide who may see what.
"""

from __future__ import annotations

from r4_mcp.core.encoding import Json
from r4_mcp.core.wire import KeyId
from r4_mcp.emulator.item_rows import FieldRow, ItemRow
from r4_mcp.emulator.project_rows import ProjectRow
from r4_mcp.emulator.vault_rows import VaultRow


def vault_view(vault: VaultRow, wrapped_for: KeyId | None) -> dict[str, Json]:
    """Return a vault as listed; ``wrapped_for`` is the caller's key if the vault is wrapped for it."""
    return {
        "id": vault.id,
        "name": vault.name,
        "isEncrypted": True,
        "encryptionKeyId": wrapped_for,
        "dataClassification": vault.classification,
        "itemCount": vault.item_count,
        "createdAt": vault.created_at,
    }


def items_view(vault: VaultRow, items: list[ItemRow]) -> dict[str, Json]:
    """Return a vault's item listing with its signed summary."""
    lines: list[Json] = [{**item.line.payload(), "createdAt": item.created_at, "fieldCount": item.field_count} for item in items]
    return {
        "vaultId": vault.id,
        "vaultName": vault.name,
        "dataClassification": vault.classification,
        "currentDekVersion": vault.dek_version,
        "summaryCheckpoint": vault.summary,
        "items": lines,
        "vaultItemGroups": [],
        "count": len(lines),
    }


def item_view(item: ItemRow, fields: list[FieldRow]) -> dict[str, Json]:
    """Return one item with the ciphertext of each field and its signed detail."""
    return {
        **item.line.payload(),
        "vaultId": item.vault_id,
        "fields": [{**field.line.payload(), "value": field.envelope} for field in fields],
        "detailCheckpoint": item.detail,
    }


def bare_item_view(item: ItemRow, fields: list[FieldRow]) -> dict[str, Json]:
    """Return one item with its signed detail, without any ciphertext."""
    return {
        **item.line.payload(),
        "vaultId": item.vault_id,
        "fields": [field.line.payload() for field in fields],
        "detailCheckpoint": item.detail,
    }


def field_view(item: ItemRow, field: FieldRow) -> dict[str, Json]:
    """Return one field with its ciphertext and its item's signed detail."""
    line = field.line
    return {
        **line.payload(),
        "fieldInstanceId": line.instance_ids[-1] if line.instance_ids else None,
        "assetId": line.asset_ids[-1] if line.asset_ids else None,
        "value": field.envelope,
        "vaultId": item.vault_id,
        "vaultItemId": item.line.id,
        "vaultItemName": item.line.name,
        "detailCheckpoint": item.detail,
    }


def environment_view(vault: VaultRow, found: list[tuple[ItemRow, FieldRow]]) -> dict[str, Json]:
    """Return the fields of a vault that are marked for environment export, each as if it were served alone."""
    fields: list[Json] = [{**field_view(item, field), "isEnvironmentVariable": True} for item, field in found]
    return {"vaultId": vault.id, "fields": fields, "count": len(fields)}


def project_view(project: ProjectRow, vaults_count: int) -> dict[str, Json]:
    """Return a project as listed. Licenses are a feature that the embedded vault does not have."""
    return {
        "id": project.id,
        "name": project.name,
        "externalId": project.external_id,
        "description": project.description,
        "vaultsCount": vaults_count,
        "licensesCount": 0,
        "licenseGroupsCount": 0,
        "archivedAt": None,
    }


def project_detail_view(project: ProjectRow, vaults: list[VaultRow], tenant_id: str | None) -> dict[str, Json]:
    """Return one project with the vaults in it that the caller may see."""
    return {
        **project_view(project, len(vaults)),
        "domainTenantId": tenant_id,
        "createdAt": project.created_at,
        "createdBy": project.created_by,
        "vaults": [{"id": vault.id, "name": vault.name, "isEncrypted": True} for vault in vaults],
        "licenses": [],
        "licenseGroups": [],
    }
