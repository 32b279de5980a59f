"""Writing: verify the current state, sign its replacement with the current key, send, read back.

What this file does not do: choose values or decide whether a write may happen.

Rules (contract §3 *Writing*, §5):
1. Never sign over what was not verified: each write starts from a proven summary.
2. On a version conflict refetch and verify; sign again only above a verified version that is higher than the one signed over;
   keep the client-chosen ids; at most 8 tries with jitter.
3. Signed with the key that the vault's directory lists as active and ours; a retired one is never used.
4. What was not acknowledged and read back is not reported as done.
"""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import anyio

from r4_mcp.core.checkpoint import ProvenSummary
from r4_mcp.core.encoding import Json, parse_json
from r4_mcp.core.envelope import DEK_SIZE, IV_SIZE, Place, encode_value, seal
from r4_mcp.core.served import read_created, read_feedback
from r4_mcp.core.signing import Context
from r4_mcp.core.wire import (
    Classification,
    DetailCheckpoint,
    FieldId,
    FieldInstanceId,
    FieldType,
    ItemId,
    ItemType,
    KeyId,
    ProjectId,
    SignedField,
    SignedItem,
    SignerRef,
    SignerType,
    SummaryCheckpoint,
    VaultId,
    signed_envelope,
)
from r4_mcp.core.wrapping import Dek, wrapped_entry
from r4_mcp.errors import (
    BusyError,
    DisagreementError,
    KeyNotListedError,
    NotFoundError,
    VersionConflictError,
)
from r4_mcp.machine.client import MachineClient
from r4_mcp.secret import KnownSecrets, Secret, SecretKind
from r4_mcp.vault.reader import OpenedItem, ProvenVault, VaultReader
from r4_mcp.vault.registration import Registration
from r4_mcp.vault.runtime_key import RuntimeKey

DoneT = TypeVar("DoneT")

_CONFLICT_TRIES: Final = 8
_JITTER_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class FieldDraft:
    """A field to create."""

    name: str
    type: FieldType
    value: Secret[str]


@dataclass(frozen=True, slots=True)
class ItemDraft:
    """An item to create; names are within the contract's limits."""

    name: str
    type: ItemType
    websites: tuple[str, ...]
    fields: tuple[FieldDraft, ...]


class VaultWriter:
    """Signed writes for one agent.

    Args:
        machine: The service.
        reader: Proven reads.
        registration: The registered identity.
        key: The runtime's key.
        known: Where new keys are made known.
    """

    def __init__(
        self,
        machine: MachineClient,
        reader: VaultReader,
        registration: Registration,
        key: RuntimeKey,
        known: KnownSecrets,
    ) -> None:
        self._machine = machine
        self._reader = reader
        self._registration = registration
        self._key = key
        self._known = known

    async def create_vault(self, name: str, classification: Classification | None, project_id: ProjectId | None) -> ProvenVault:
        """Create an empty vault with a key that is made and wrapped here.

        Raises:
            OnboardingError: Our key is not registered, or another one is.
            ServiceError: Refused.
            VerificationError: What was read back is not what was signed.
        """
        key_id = await self._registration.ensure()
        signer = SignerRef(SignerType.AGENT, key_id)
        vault_id = VaultId(_new_id())
        dek = Dek(vault_id, 1, self._known.octets(os.urandom(DEK_SIZE), SecretKind.DEK))
        entry = await anyio.to_thread.run_sync(wrapped_entry, dek, key_id, self._key.public, signer, self._key.private)
        summary = SummaryCheckpoint(vault_id, 1, name, classification, dek.version, (), b"[]")
        payload = summary.payload()
        body: dict[str, Json] = {
            "id": vault_id,
            "name": name,
            "summaryCheckpoint": signed_envelope(payload, signer, await self._key.sign(Context.SUMMARY, payload)),
        }
        if classification is not None:
            body["dataClassification"] = classification.value
        if project_id is not None:
            body["projectId"] = project_id
        _expect(read_created(parse_json(await self._machine.create_vault(body), what="creation")), vault_id)
        await self._machine.put_wrapped_key(vault_id, entry.payload())
        vault = await self._reader.vault(vault_id)
        await self._reader.dek(vault)
        return vault

    async def create_item(self, vault_id: VaultId, draft: ItemDraft) -> OpenedItem:
        """Create an item: values are sealed here, metadata is signed here.

        Raises:
            InvalidArgumentError: A value is over the limit; nothing was encrypted or sent.
            OnboardingError: Our key is not an active signer of the vault, or no key is wrapped for us.
            ServiceError: Refused.
            VerificationError: What was served before, or read back after, is not proven.
            BusyError: The vault changed under each of 8 tries.
        """
        for field in draft.fields:
            # reveal: measured by our own codec, so that nothing is sent or sealed if one value is too large.
            encode_value(field.value.reveal())
        item_id = ItemId(_new_id())
        fields = tuple(
            SignedField(FieldId(_new_id()), field.name, field.type, order, (FieldInstanceId(_new_id()),), ())
            for order, field in enumerate(draft.fields)
        )
        detail = DetailCheckpoint(item_id, vault_id, 1, draft.name, draft.type, draft.websites, None, fields)
        line = SignedItem(item_id, draft.name, draft.type, draft.websites, None)

        async def attempt(vault: ProvenVault) -> None:
            signer = self._signer(vault)
            dek = await self._reader.dek(vault)
            posted: list[Json] = []
            for draft_field, field in zip(draft.fields, fields, strict=True):
                place = Place(vault_id, item_id, field.id, field.instance_ids[-1])
                posted.append(
                    {
                        "id": field.id,
                        "fieldInstanceId": field.instance_ids[-1],
                        "name": field.name,
                        "type": field.type.value,
                        "encryptedValue": seal(dek.key, place, draft_field.value, os.urandom(IV_SIZE)),
                    }
                )
            summary = _next(vault.summary, items=(*vault.summary.checkpoint.items, line))
            detail_payload = detail.payload()
            body: dict[str, Json] = {
                "id": item_id,
                "name": draft.name,
                "type": draft.type.value,
                "websites": list(draft.websites),
                "fields": posted,
                "summaryCheckpoint": await self._signed_summary(summary, signer),
                "detailCheckpoint": signed_envelope(detail_payload, signer, await self._key.sign(Context.DETAIL, detail_payload)),
            }
            answer = await self._machine.create_item(vault_id, body)
            _expect(read_created(parse_json(answer, what="creation")), item_id)

        await self._registration.ensure()
        await self._above_conflicts(vault_id, attempt)
        return await self._reader.item(vault_id, item_id)

    async def archive_item(self, vault_id: VaultId, item_id: ItemId) -> SignedItem:
        """Archive an item: sign the summary without it.

        Returns:
            The archived item's last signed line.

        Raises:
            NotFoundError: The vault does not hold it.
            OnboardingError: Our key is not an active signer of the vault.
            ServiceError: Refused.
            BusyError: The vault changed under each of 8 tries.
        """

        async def attempt(vault: ProvenVault) -> SignedItem:
            line = vault.summary.item(item_id)
            if line is None:
                raise NotFoundError(f"item {item_id} is not in vault {vault_id}, or was archived")
            rest = tuple(item for item in vault.summary.checkpoint.items if item.id != item_id)
            summary = _next(vault.summary, items=rest)
            signed = await self._signed_summary(summary, self._signer(vault))
            await self._machine.archive_item(vault_id, item_id, {"summaryCheckpoint": signed})
            return line

        await self._registration.ensure()
        line = await self._above_conflicts(vault_id, attempt)
        if (await self._reader.vault(vault_id)).summary.item(item_id) is not None:
            raise DisagreementError(f"the service acknowledged that item {item_id} was archived, but still lists it")
        return line

    async def archive_vault(self, vault_id: VaultId) -> ProvenSummary:
        """Archive a vault.

        Returns:
            Its last proven summary.

        Raises:
            NotFoundError: No such vault for this agent.
            ServiceError: Refused.
            VerificationError: What was served is not proven.
        """
        await self._registration.ensure()
        vault = await self._reader.vault(vault_id)
        await self._machine.archive_vault(vault_id)
        return vault.summary

    async def report_gap(self, summary: str, details: str, desired_outcome: str | None) -> str:
        """Report a product gap; the caller has screened the texts.

        Returns:
            The report's id.

        Raises:
            NetworkError: No answer.
            ServiceError: Refused.
        """
        body = {"surface": "MCP", "summary": summary, "details": details}
        if desired_outcome is not None:
            body["desiredOutcome"] = desired_outcome
        return read_feedback(parse_json(await self._machine.feedback(body), what="feedback"))

    async def _above_conflicts(self, vault_id: VaultId, attempt: Callable[[ProvenVault], Awaitable[DoneT]]) -> DoneT:
        signed_over = 0
        for round_number in range(_CONFLICT_TRIES):
            if round_number:
                # Writers that collided once should not collide again.
                await anyio.sleep(random.uniform(0, _JITTER_SECONDS * 2**round_number))  # noqa: S311 - not a secret
            vault = await self._reader.vault(vault_id)
            version = vault.summary.checkpoint.version
            if version <= signed_over:
                # A second signature over the same version would be an equivocation of ours. The service may merely be behind.
                continue
            try:
                return await attempt(vault)
            except VersionConflictError:
                signed_over = version
        raise BusyError(f"vault {vault_id} changed, or claimed to have changed, under each of {_CONFLICT_TRIES} tries")

    async def _signed_summary(self, summary: SummaryCheckpoint, signer: SignerRef) -> dict[str, Json]:
        payload = summary.payload()
        return signed_envelope(payload, signer, await self._key.sign(Context.SUMMARY, payload))

    def _signer(self, vault: ProvenVault) -> SignerRef:
        mine = vault.directory.active_of(self._key.public.fingerprint)
        if mine is None or mine.kind is not SignerType.AGENT:
            raise KeyNotListedError(f"our key is not an active signer of vault {vault.id}")
        return SignerRef(mine.kind, KeyId(mine.id))


def _next(summary: ProvenSummary, items: tuple[SignedItem, ...]) -> SummaryCheckpoint:
    return replace(summary.checkpoint, version=summary.checkpoint.version + 1, items=items)


def _expect(answered: str, chosen: str) -> None:
    if answered != chosen:
        raise DisagreementError(f"the service acknowledged another id than {chosen}")


def _new_id() -> str:
    return os.urandom(12).hex()
