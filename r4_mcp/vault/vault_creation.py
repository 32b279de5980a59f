"""Creating a vault in two requests so that a lost reply or a crash leaves one that can be opened.

What this file does not do: choose names.

Rules (contract §4, *Creating a vault*):
1. The DEK is made and wrapped for ourselves before anything is sent; id, summary and wrapped entry are in the journal first.
2. Vault, then wrapped key. Without an answer the outcome is asked for; the same bytes are sent again where it is not there.
3. A vault without its wrapped key is completed on the retry or the next start.
4. The first look at it believes our own key alone: nobody else can have signed there yet, whatever its directory shows.
"""

from __future__ import annotations

import os

import anyio

from r4_mcp.core.encoding import Json, parse_json
from r4_mcp.core.envelope import DEK_SIZE
from r4_mcp.core.record import exact, open_record
from r4_mcp.core.served import read_created
from r4_mcp.core.wire import (
    Classification,
    ProjectId,
    SignerRef,
    SignerType,
    SummaryCheckpoint,
    VaultId,
    read_summary,
)
from r4_mcp.core.wrapping import Dek, wrapped_entry
from r4_mcp.errors import DisagreementError, NetworkError, NotFoundError, ServiceError
from r4_mcp.machine.client import MachineClient
from r4_mcp.secret import KnownSecrets, SecretKind
from r4_mcp.vault.item_creation import is_final, new_id
from r4_mcp.vault.journal import Entry, EntryKind, Journal
from r4_mcp.vault.proven import ProvenVault
from r4_mcp.vault.reader import VaultReader
from r4_mcp.vault.registration import Registration
from r4_mcp.vault.runtime_key import RuntimeKey
from r4_mcp.vault.signer import VaultSigner


class VaultCreation:
    """Creates vaults for one agent.

    Args:
        machine: The service.
        reader: Proven reads.
        signer: Signs as this agent.
        registration: The registered identity.
        key: The runtime's key.
        journal: Keeps what is about to be sent.
        known: Where new keys are made known.
    """

    def __init__(
        self,
        *,
        machine: MachineClient,
        reader: VaultReader,
        signer: VaultSigner,
        registration: Registration,
        key: RuntimeKey,
        journal: Journal,
        known: KnownSecrets,
    ) -> None:
        self._machine = machine
        self._reader = reader
        self._signer = signer
        self._registration = registration
        self._key = key
        self._journal = journal
        self._known = known

    async def create(self, name: str, classification: Classification | None, project_id: ProjectId | None) -> ProvenVault:
        """Create an empty vault, or finish the same one whose reply was lost.

        Raises:
            OnboardingError: Our key is not registered, or another one is.
            NetworkError: No answer; the journal has it, and the next attempt finishes it.
            R4Error: Refused, or not proven.
        """
        for entry in self._journal.prepared():
            if entry.kind is EntryKind.CREATE_VAULT:
                vault = await self.roll_forward(entry)
                if (vault.summary.checkpoint.name, vault.summary.checkpoint.classification) == (name, classification):
                    return vault
        entry = await self._prepare(name, classification, project_id)
        return await self.roll_forward(entry)

    async def roll_forward(self, entry: Entry) -> ProvenVault:
        """Finish a prepared entry (rules 2 and 3).

        Raises:
            R4Error: Refused for good (then the entry is settled), or the outcome is still not known.
        """
        record = exact(dict(entry.body), "journal entry", frozenset({"post", "wrapped"}))
        post, wrapped = record.part("post", open_record).members, record.part("wrapped", open_record).members
        vault_id = VaultId(entry.id)
        try:
            if not await self._exists(vault_id):
                await self._post(vault_id, post)
                if not await self._exists(vault_id):
                    raise DisagreementError(f"the service acknowledged vault {vault_id}, but does not serve it")
            if await self._reader.awaits_grant(vault_id):
                await self._machine.put_wrapped_key(vault_id, wrapped)
        except ServiceError as error:
            if is_final(error) and not await self._exists(vault_id):
                self._journal.settle(entry)
            raise
        vault = await self._reader.vault(vault_id, made_here=True)
        if vault.summary.checkpoint != read_summary(post["summaryCheckpoint"], "journal entry").checkpoint and _is_first(vault):
            raise DisagreementError(f"vault {vault_id} was read back other than it was signed")
        await self._reader.dek(vault)
        self._journal.settle(entry)
        return vault

    async def _post(self, vault_id: VaultId, post: dict[str, Json]) -> None:
        try:
            answer = await self._machine.create_vault(post)
        except NetworkError:
            # It may have arrived; the same bytes are sent once more only if it did not.
            if await self._exists(vault_id):
                return
            answer = await self._machine.create_vault(post)
        if read_created(parse_json(answer, what="creation")) != vault_id:
            raise DisagreementError(f"the service acknowledged another id than {vault_id}")

    async def _exists(self, vault_id: VaultId) -> bool:
        try:
            await self._reader.vault(vault_id, made_here=True)
        except NotFoundError:
            return False
        return True

    async def _prepare(self, name: str, classification: Classification | None, project_id: ProjectId | None) -> Entry:
        key_id = await self._registration.ensure()
        signer = SignerRef(SignerType.AGENT, key_id)
        vault_id = VaultId(new_id())
        # There is no such vault yet. But who may not read keys hears of it now, not once there is a vault that can't be opened.
        await self._reader.awaits_grant(vault_id)
        dek = Dek(vault_id, 1, self._known.octets(os.urandom(DEK_SIZE), SecretKind.DEK))
        wrapped = await anyio.to_thread.run_sync(wrapped_entry, dek, key_id, self._key.public, signer, self._key.private)
        summary = SummaryCheckpoint(vault_id, 1, name, classification, dek.version, (), b"[]")
        post: dict[str, Json] = {
            "id": vault_id,
            "name": name,
            "summaryCheckpoint": await self._signer.summary(summary, signer),
        }
        if classification is not None:
            post["dataClassification"] = classification.value
        if project_id is not None:
            post["projectId"] = project_id
        entry = Entry(EntryKind.CREATE_VAULT, vault_id, vault_id, {"post": post, "wrapped": wrapped.payload()})
        self._journal.prepare_creation(entry)
        return entry


def _is_first(vault: ProvenVault) -> bool:
    return vault.summary.checkpoint.version == 1
