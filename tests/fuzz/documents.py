"""One honest document for each parser, to be bent. Built from the core's own types; nothing here is expected to be refused."""

from __future__ import annotations

from functools import cache
from typing import Final

from r4_mcp.core.encoding import Json, b64_encode, canonical
from r4_mcp.core.keys import PrivateKey
from r4_mcp.core.served import ServedField
from r4_mcp.core.signing import Context, sign
from r4_mcp.core.trust import LogHead, PinnedDek, PinnedDetail, PinnedSigner, PinnedVersion, SignerStatus, VaultTrust
from r4_mcp.core.trust_codec import dump_trust
from r4_mcp.core.wire import KeyId, SignerType, WrappedKey, signed_envelope
from tests.core.builders import (
    FIELDS,
    ITEM,
    ITEMS,
    VAULT,
    Party,
    detail,
    directory_json,
    generate,
    identifier,
    signed_detail,
    signed_summary,
    summary,
)

ENVELOPE: Final = '{"v":3,"iv":"AAAAAAAAAAAAAAAA","t":"AAAAAAAAAAAAAAAAAAAAAA==","d":"c2VhbGVk"}'


@cache
def key(_owner: str = "person") -> PrivateKey:
    """Make one key for each owner."""
    return generate()


@cache
def person() -> Party:
    """Make the person who signs."""
    return Party(KeyId(identifier("person")), SignerType.USER, key())


def directory() -> Json:
    """Serve a directory with a rotation."""
    old = Party(KeyId(identifier("old")), SignerType.AGENT, key("old"), status=SignerStatus.RETIRED)
    new = Party(KeyId(identifier("new")), SignerType.AGENT, key("new"), previous=old)
    return directory_json([person(), old, new], grown_from=1)


def _summary() -> Json:
    signed = signed_summary(person(), summary())
    return signed_envelope(signed.checkpoint.payload(), signed.signer, signed.signature)


def _detail() -> Json:
    signed = signed_detail(person(), detail())
    return signed_envelope(signed.checkpoint.payload(), signed.signer, signed.signature)


def _field(field: ServedField) -> dict[str, Json]:
    return {**field.line.payload(), "value": field.envelope}


def _item_listing() -> Json:
    lines: list[Json] = [{**item.payload(), "createdAt": "2026-01-01T00:00:00Z", "fieldCount": 3} for item in ITEMS]
    return {
        "vaultId": VAULT,
        "vaultName": "Production",
        "dataClassification": "INTERNAL",
        "currentDekVersion": 1,
        "summaryCheckpoint": _summary(),
        "items": lines,
        "vaultItemGroups": [],
        "count": len(lines),
    }


def _item() -> Json:
    fields: list[Json] = [_field(ServedField(line, ENVELOPE if line.instance_ids else None)) for line in FIELDS]
    return {**ITEMS[0].payload(), "vaultId": VAULT, "fields": fields, "detailCheckpoint": _detail()}


def _single_field() -> Json:
    line = FIELDS[1]
    return {
        **_field(ServedField(line, ENVELOPE)),
        "fieldInstanceId": line.instance_ids[-1],
        "assetId": None,
        "vaultId": VAULT,
        "vaultItemId": ITEM,
        "vaultItemName": ITEMS[0].name,
        "detailCheckpoint": _detail(),
    }


def _sync_page() -> Json:
    line: dict[str, Json] = {"id": VAULT, "name": "Production", "dataClassification": "INTERNAL", "itemCount": 2}
    bare: list[Json] = [line.payload() for line in FIELDS]
    synced: dict[str, Json] = {
        "vault": line,
        "wrappedKey": _wrapped_key(),
        "directory": directory_json([person()]),
        "summaryCheckpoint": _summary(),
        "items": [{**ITEMS[0].payload(), "vaultId": VAULT, "fields": bare, "detailCheckpoint": _detail()}],
    }
    return {
        "cursor": "12-34-0123456789abcdef",
        "more": True,
        "full": False,
        "vaults": [synced],
        "removedVaultIds": [identifier("removed vault")],
        "removedItems": [{"vaultId": VAULT, "itemId": identifier("removed item")}],
    }


def _search() -> Json:
    item: dict[str, Json] = {"vaultId": VAULT, "itemId": ITEM, "fieldId": None, "matched": "item"}
    field: dict[str, Json] = {**item, "fieldId": FIELDS[0].id, "matched": "field"}
    vault: dict[str, Json] = {**item, "itemId": None, "matched": "vault"}
    return {"results": [vault, item, field, {**item, "matched": "website"}]}


def _environment() -> Json:
    field = _single_field()
    assert isinstance(field, dict)
    return {"vaultId": VAULT, "fields": [{**field, "isEnvironmentVariable": True}], "count": 1}


def _wrapped_key() -> Json:
    entry = WrappedKey(VAULT, person().id, person().ref, 1, b64_encode(bytes(256)), "")
    return {**entry.signed_payload(), "wrappedDekSignature": sign(key(), Context.WRAPPED_DEK, entry.signed_payload())}


def trust() -> VaultTrust:
    """Return a state with a pin of every kind."""
    signer = PinnedSigner(SignerType.USER, key().public.fingerprint, SignerStatus.RETIRED, None, 2, 1)
    return VaultTrust(
        signers={person().id: signer},
        head=LogHead(3, bytes(32)),
        summary=PinnedVersion(2, "0" * 64),
        dek=PinnedDek(1, "1" * 64),
        details={ITEM: PinnedDetail(1, "2" * 64, ("https://api.example.com",), 1)},
    )


def trust_store_body() -> dict[str, Json]:
    """Return the part of a trust store's file that its checksum covers."""
    vault: dict[str, Json] = {"trust": dump_trust(trust()), "verifiedAt": 1}
    section: dict[str, Json] = {"vaults": {VAULT: vault}, "anchors": {"3" * 64: 1}}
    return {"sections": {"http://localhost rk_tests": section}}


@cache
def documents() -> dict[str, bytes]:
    """Return the honest documents by the name of their target."""
    vault: dict[str, Json] = {
        "id": VAULT, "name": "Production", "isEncrypted": True, "encryptionKeyId": None,
        "dataClassification": "CUI", "itemCount": 2, "createdAt": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    project: dict[str, Json] = {
        "id": VAULT, "name": "Relaunch", "externalId": None, "description": "A website", "vaultsCount": 1,
        "licensesCount": 0, "licenseGroupsCount": 0, "archivedAt": None,
    }  # fmt: skip
    me: dict[str, Json] = {
        "scope": "AGENT", "agentId": VAULT, "agentName": "Agent", "tenantId": None, "orgId": VAULT,
        "permissions": ["machine.vault.read"], "activeEncryptionKeyId": VAULT, "activeFingerprint": "4" * 64,
        "vaultWrite": {"allowed": True, "reason": None},
    }  # fmt: skip
    page: dict[str, Json] = {"page": 1, "limit": 50, "total": 1, "totalPages": 1}
    error: dict[str, Json] = {"code": "permission_denied", "message": "no", "requiredPermission": "machine.vault.read"}
    values: dict[str, Json] = {
        "any JSON": _item_listing(),
        "vault list": {"vaults": [vault]},
        "vault list, paged": {"data": [vault], "pagination": page},
        "item listing": _item_listing(),
        "item": _item(),
        "field": _single_field(),
        "environment fields": _environment(),
        "sync page": _sync_page(),
        "search": _search(),
        "me": me,
        "key registration": {"encryptionKeyId": VAULT, "publicKey": key().public.pem, "fingerprint": "5" * 64},
        "creation": {"id": VAULT},
        "feedback": {"id": "fb_1", "submittedAt": "2026-01-01T00:00:00Z", "notified": True},
        "project list": {"projects": [project]},
        "signer directory": directory(),
        "signer directory, proven": directory(),
        "wrapped key": _wrapped_key(),
        "pins": dump_trust(trust()),
        "error answer": {"error": error},
    }
    return {name: canonical(value) for name, value in values.items()} | {
        "envelope": ENVELOPE.encode("ascii"),
        "public key": key().public.pem.encode("ascii"),
        "reference": b"r4://Production/GitHub%20Production/Token",
        "trust store": canonical(trust_store_body()),
        "trust store, no checksum": canonical(trust_store_body()),
    }
