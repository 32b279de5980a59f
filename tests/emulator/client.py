"""A small agent for the tests: it signs with ``core`` and calls the app over HTTP, as the runtime would.

It verifies nothing on its own; tests that prove something call ``core`` by name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
from starlette.applications import Starlette

from r4_mcp.core.encoding import Json, canonical, parse_json
from r4_mcp.core.envelope import DEK_SIZE, IV_SIZE, Place, seal
from r4_mcp.core.keys import PrivateKey
from r4_mcp.core.served import read_items
from r4_mcp.core.signing import Context, sign
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
    SignedField,
    SignedItem,
    SignerRef,
    SignerType,
    SummaryCheckpoint,
    VaultId,
    read_wrapped_key,
    signed_envelope,
)
from r4_mcp.core.wrapping import Dek, unwrap, wrapped_entry
from r4_mcp.emulator.accounts import AgentCredentials
from r4_mcp.emulator.fresh import new_id
from r4_mcp.machine.contract import API_KEY_HEADER, API_PREFIX
from r4_mcp.secret import KnownSecrets, Secret, SecretKind

BASE = "http://emulator.test"


@dataclass(frozen=True)
class ItemParts:
    """Everything that an item creation posts, before it is signed; tests change one part and post it."""

    body: dict[str, Any]
    detail: DetailCheckpoint
    summary: SummaryCheckpoint


@dataclass
class AgentClient:
    """One agent with its API key and private key."""

    app: Starlette
    credentials: AgentCredentials
    key: PrivateKey
    known: KnownSecrets
    key_id: KeyId = field(default_factory=lambda: KeyId(new_id()))

    @property
    def api_key(self) -> str:
        """The header's value."""
        return f"{self.credentials.access_key}.{self.credentials.access_secret.reveal()}"

    @property
    def ref(self) -> SignerRef:
        """How this agent's signatures name its key."""
        return SignerRef(SignerType.AGENT, self.key_id)

    async def call(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Call the API with this agent's key."""
        sent = {API_KEY_HEADER: self.api_key, **(headers or {})}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=self.app), base_url=BASE) as http:
            return await http.request(method, API_PREFIX + path, json=body, headers=sent)

    async def get(self, path: str) -> Json:
        """Read something that must be there."""
        response = await self.call("GET", path)
        assert response.status_code == 200, response.text
        return parse_json(response.content, what="test response")

    async def register(self) -> httpx.Response:
        """Register this agent's public key under its id."""
        return await self.call("POST", "/vault/public-key", {"publicKey": self.key.public.pem, "encryptionKeyId": self.key_id})

    def signed_summary(self, checkpoint: SummaryCheckpoint) -> dict[str, Json]:
        """Sign a summary."""
        return signed_envelope(checkpoint.payload(), self.ref, sign(self.key, Context.SUMMARY, checkpoint.payload()))

    def signed_detail(self, checkpoint: DetailCheckpoint) -> dict[str, Json]:
        """Sign a detail."""
        return signed_envelope(checkpoint.payload(), self.ref, sign(self.key, Context.DETAIL, checkpoint.payload()))

    async def summary(self, vault_id: VaultId) -> SummaryCheckpoint:
        """Return the stored summary."""
        signed = read_items(await self.get(f"/vault/{vault_id}/items")).summary
        assert signed is not None
        return signed.checkpoint

    async def dek(self, vault_id: VaultId) -> Dek:
        """Unwrap the vault's DEK with this agent's key."""
        entry = read_wrapped_key(await self.get(f"/vault/{vault_id}/wrapped-key"), "wrapped key")
        return unwrap(entry, self.key, self.known)

    def vault_body(self, name: str = "Mine", classification: Classification | None = None) -> dict[str, Any]:
        """Return a well-formed vault creation."""
        vault_id = VaultId(new_id())
        summary = SummaryCheckpoint(vault_id, 1, name, classification, 1, (), canonical([]))
        body: dict[str, Any] = {"id": vault_id, "name": name, "summaryCheckpoint": self.signed_summary(summary)}
        return body if classification is None else {**body, "dataClassification": classification}

    async def create_vault(self, name: str = "Mine") -> VaultId:
        """Create a vault and store its DEK for this agent."""
        body = self.vault_body(name)
        created = await self.call("POST", "/vault", body)
        assert created.status_code == 201, created.text
        vault_id = VaultId(body["id"])
        stored = await self.call("POST", f"/vault/{vault_id}/wrapped-key", self.new_entry(vault_id))
        assert stored.status_code == 201, stored.text
        return vault_id

    def new_entry(self, vault_id: VaultId, version: int = 1) -> dict[str, Json]:
        """Wrap a new DEK for this agent."""
        dek = Dek(vault_id, version, self.known.octets(os.urandom(DEK_SIZE), SecretKind.DEK))
        return wrapped_entry(dek, self.key_id, self.key.public, self.ref, self.key).payload()

    async def item_parts(
        self,
        vault_id: VaultId,
        name: str = "Example API",
        fields: Sequence[tuple[str, FieldType, str]] = (("Token", FieldType.SECRET, "demo-value"),),
    ) -> ItemParts:
        """Return a well-formed item creation over the stored summary."""
        summary, dek = await self.summary(vault_id), await self.dek(vault_id)
        item_id = ItemId(new_id())
        lines, posted = [], []
        for order, (label, kind, value) in enumerate(fields):
            line = SignedField(FieldId(new_id()), label, kind, order, (FieldInstanceId(new_id()),), ())
            place = Place(vault_id, item_id, line.id, line.instance_ids[0])
            envelope = seal(dek.key, place, self.secret(value), os.urandom(IV_SIZE))
            lines.append(line)
            posted.append(
                {
                    "id": line.id,
                    "fieldInstanceId": line.instance_ids[0],
                    "name": label,
                    "type": kind,
                    "encryptedValue": envelope,
                }
            )
        websites = ("https://api.example.com",)
        return ItemParts(
            body={"id": item_id, "name": name, "type": ItemType.API_KEY, "websites": list(websites), "fields": posted},
            detail=DetailCheckpoint(item_id, vault_id, 1, name, ItemType.API_KEY, websites, None, tuple(lines)),
            summary=replace(
                summary,
                version=summary.version + 1,
                items=(*summary.items, SignedItem(item_id, name, ItemType.API_KEY, websites, None)),
            ),
        )

    def signed_body(self, parts: ItemParts) -> dict[str, Any]:
        """Sign an item creation."""
        return {
            **parts.body,
            "summaryCheckpoint": self.signed_summary(parts.summary),
            "detailCheckpoint": self.signed_detail(parts.detail),
        }

    async def post_item(self, vault_id: VaultId, parts: ItemParts) -> httpx.Response:
        """Sign and post an item creation."""
        return await self.call("POST", f"/vault/{vault_id}/items", self.signed_body(parts))

    async def archive_body(self, vault_id: VaultId, item_id: str) -> dict[str, Any]:
        """Return a well-formed item archiving."""
        stored = await self.summary(vault_id)
        rest = tuple(item for item in stored.items if item.id != item_id)
        return {"summaryCheckpoint": self.signed_summary(replace(stored, version=stored.version + 1, items=rest))}

    async def rotation_body(self, new: AgentClient) -> dict[str, Any]:
        """Return a well-formed rotation from this agent's key to ``new``'s, its batch complete."""
        listed = await self.get("/vault")
        assert isinstance(listed, dict)
        vaults: Any = listed["vaults"]
        held = [VaultId(vault["id"]) for vault in vaults if vault["encryptionKeyId"] is not None]
        deks = [await self.dek(vault_id) for vault_id in held]
        rotation = KeyRotation(new.key_id, new.key.public.fingerprint, self.key_id).payload()
        return {
            "encryptionKeyId": new.key_id,
            "publicKey": new.key.public.pem,
            "previousEncryptionKeyId": self.key_id,
            "rotationSignature": sign(self.key, Context.KEY_ROTATION, rotation),
            "rewrappedVaultKeys": [wrapped_entry(dek, new.key_id, new.key.public, new.ref, new.key).payload() for dek in deks],
        }

    def successor(self, key: PrivateKey) -> AgentClient:
        """Return the same agent with another key and key id."""
        return replace(self, key=key, key_id=KeyId(new_id()))

    def secret(self, value: str) -> Secret[str]:
        """Make a field value."""
        return self.known.text(value, SecretKind.FIELD)


def error_code(response: httpx.Response) -> str:
    """Return the documented code of a refusal."""
    body = response.json()
    assert set(body) == {"error"}
    assert {"code", "message"} <= set(body["error"])
    return str(body["error"]["code"])
