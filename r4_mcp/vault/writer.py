"""Writing: create and archive vaults and items, report gaps.

What this file does not do: choose values or decide whether a write may happen. How checkpoints are signed is ``signer``'s;
how a creation survives a lost reply is ``item_creation``'s and ``vault_creation``'s.

Rules:
1. What was not acknowledged and read back is not reported as done.
2. Interrupted creations are finished before anything new is created in the same place, and once when the process starts.
3. After a write, done or not, nothing is answered from what was known before it.
"""

from __future__ import annotations

import logging
from typing import Final

from r4_mcp.core.checkpoint import ProvenSummary
from r4_mcp.core.encoding import parse_json
from r4_mcp.core.served import read_feedback
from r4_mcp.core.wire import Classification, ItemId, ProjectId, SignedItem, VaultId
from r4_mcp.errors import DisagreementError, NetworkError, NotFoundError, R4Error, VersionConflictError
from r4_mcp.machine.client import MachineClient
from r4_mcp.vault.index import VaultIndex
from r4_mcp.vault.item_creation import ItemCreation, ItemDraft
from r4_mcp.vault.item_update import ItemChange, ItemUpdate
from r4_mcp.vault.journal import EntryKind, Journal
from r4_mcp.vault.proven import OpenedItem, ProvenVault
from r4_mcp.vault.reader import VaultReader
from r4_mcp.vault.registration import Registration
from r4_mcp.vault.signer import VaultSigner, next_summary
from r4_mcp.vault.vault_creation import VaultCreation

_log: Final = logging.getLogger(__name__)


class VaultWriter:
    """Signed writes for one agent.

    Args:
        machine: The service.
        reader: Proven reads.
        index: What was proven before a write.
        registration: The registered identity.
        signer: Signs as this agent.
        journal: What was about to be written.
        items: Creates items.
        vaults: Creates vaults.
        updates: Changes items.
    """

    def __init__(  # noqa: PLR0913 - one place calls it, by keyword
        self,
        *,
        machine: MachineClient,
        reader: VaultReader,
        index: VaultIndex,
        registration: Registration,
        signer: VaultSigner,
        journal: Journal,
        items: ItemCreation,
        vaults: VaultCreation,
        updates: ItemUpdate,
    ) -> None:
        self._machine = machine
        self._reader = reader
        self._index = index
        self._registration = registration
        self._signer = signer
        self._journal = journal
        self._items = items
        self._vaults = vaults
        self._updates = updates

    async def recover(self) -> None:
        """Finish what an earlier process left prepared. What can't be finished now stays, and is logged."""
        for entry in self._journal.prepared():
            try:
                if entry.kind is EntryKind.CREATE_VAULT:
                    await self._vaults.roll_forward(entry)
                elif entry.kind is EntryKind.CREATE_ITEM:
                    await self._items.roll_forward(entry)
                elif entry.kind is EntryKind.UPDATE_ITEM:
                    await self._updates.roll_forward(entry)
                else:
                    continue  # A rotation is its own room's.
            except R4Error as error:
                _log.warning("%s %s is not finished yet: %s", entry.kind.value, entry.id, error.code)
            else:
                _log.info("%s %s was finished after an interruption", entry.kind.value, entry.id)

    async def create_vault(self, name: str, classification: Classification | None, project_id: ProjectId | None) -> ProvenVault:
        """Create an empty vault with a key that is made and wrapped here.

        Raises:
            OnboardingError: Our key is not registered, or another one is.
            ServiceError: Refused.
            VerificationError: What was read back is not what was signed.
        """
        try:
            return await self._vaults.create(name, classification, project_id)
        finally:
            self._index.expire()

    async def create_item(self, vault_id: VaultId, draft: ItemDraft) -> OpenedItem:
        """Create an item: values are sealed here, metadata is signed here.

        Raises:
            InvalidArgumentError: A value is over the limit; nothing was encrypted or sent.
            OnboardingError: Our key is not an active signer of the vault, or no key is wrapped for us.
            ServiceError: Refused.
            VerificationError: What was served before, or read back after, is not proven.
            BusyError: The vault changed under each of 8 tries.
        """
        await self._registration.ensure()
        try:
            return await self._items.create(vault_id, draft)
        finally:
            self._index.expire()

    async def update_item(self, vault_id: VaultId, item_id: ItemId, change: ItemChange) -> OpenedItem:
        """Change an item: values are sealed here, metadata is signed here.

        Raises:
            InvalidArgumentError: A field to change is not there, one to add is, or a value is over the limit; nothing was sent.
            NotFoundError: No such item for this agent.
            VersionConflictError: Somebody else changed it meanwhile.
            OnboardingError: Our key is not an active signer of the vault, or no key is wrapped for us.
            ServiceError: Refused.
            BusyError: The vault changed under each of 8 tries.
        """
        await self._registration.ensure()
        try:
            return await self._updates.update(vault_id, item_id, change)
        finally:
            self._index.expire()

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
        await self._registration.ensure()
        try:
            return await self._archive_item(vault_id, item_id)
        finally:
            self._index.expire()

    async def _archive_item(self, vault_id: VaultId, item_id: ItemId) -> SignedItem:
        signed_over = 0
        line: SignedItem | None = None
        async for vault in self._signer.attempts(vault_id):
            version = vault.summary.checkpoint.version
            found = vault.summary.lines.get(item_id)
            if found is None:
                break  # Archived: by us, if a line was seen before, else by somebody else or never there.
            line = found
            if version <= signed_over:
                continue
            rest = tuple(item for item in vault.summary.checkpoint.items if item.id != item_id)
            signed = await self._signer.summary(next_summary(vault.summary, rest), self._signer.current(vault))
            signed_over = version
            try:
                await self._machine.archive_item(vault_id, item_id, {"summaryCheckpoint": signed})
            except VersionConflictError:
                continue
            except NetworkError:
                # It may have arrived; the next look tells. Without one, the caller hears of the network.
                if item_id in (await self._reader.vault(vault_id)).summary.lines:
                    raise
            break
        if line is None:
            raise NotFoundError(f"item {item_id} is not in vault {vault_id}, or was archived")
        if item_id in (await self._reader.vault(vault_id)).summary.lines:
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
            DisagreementError: Acknowledged, but still there.
        """
        await self._registration.ensure()
        try:
            return await self._archive_vault(vault_id)
        finally:
            self._index.expire()

    async def _archive_vault(self, vault_id: VaultId) -> ProvenSummary:
        vault = await self._reader.vault(vault_id)
        try:
            await self._machine.archive_vault(vault_id)
        except NetworkError:
            if await self._is_there(vault_id):
                raise
        else:
            if await self._is_there(vault_id):
                raise DisagreementError(f"the service acknowledged that vault {vault_id} was archived, but still serves it")
        await self._reader.forget_name(vault_id)
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

    async def _is_there(self, vault_id: VaultId) -> bool:
        try:
            await self._reader.vault(vault_id)
        except NotFoundError:
            return False
        return True
