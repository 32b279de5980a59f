"""Reading: fetch, prove against what is remembered, remember.

What this file does not do: open a value. ``opener`` does, and the gate decides in between, before any key is unwrapped.

Rules:
1. A state is loaded before the bytes are fetched and swapped after the proof; if someone moved it meanwhile, the whole fetch is
   done again, so that an honest older answer is not taken for a rollback.
2. Two fetches can straddle an honest write. A disagreement between them is fetched once more before it counts; nothing is ever
   used unproven, and no dependent request follows.
3. A vault's name in the unsigned list only narrows the search; what counts is the signed one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

import anyio

from r4_mcp.core import checkpoint, directory, served
from r4_mcp.core.checkpoint import ProvenItem
from r4_mcp.core.encoding import parse_json
from r4_mcp.core.served import ServedItems, ServedProject, ServedVault
from r4_mcp.core.trust import CheckpointMode, SignerTrust, TrustAnchors, TrustPolicy, VaultTrust
from r4_mcp.core.wire import FieldId, ItemId, ProjectId, VaultId, read_wrapped_key
from r4_mcp.core.wrapping import Dek
from r4_mcp.errors import (
    AbsentError,
    AwaitingGrantError,
    BusyError,
    CheckpointMissingError,
    DeadlineExceededError,
    DisagreementError,
    EquivocationError,
    MalformedError,
    NotConfiguredError,
    NotFoundError,
    SignerError,
)
from r4_mcp.machine import contract
from r4_mcp.machine.client import MachineClient
from r4_mcp.secret import KnownSecrets
from r4_mcp.vault.concurrently import gather
from r4_mcp.vault.evidence import Evidence
from r4_mcp.vault.proven import LocatedField, OpenedItem, ProvenVault, Seen, public_texts
from r4_mcp.vault.runtime_key import RuntimeKey
from r4_mcp.vault.shared import Answers
from r4_mcp.vault.trust_store import TrustStore

ResultT = TypeVar("ResultT")

LIST_SECONDS: Final = 60.0
"""All pages of the vault list together; each page has its own, shorter deadline."""

_SWAP_TRIES: Final = 8
_STRADDLE_TRIES: Final = 2


class VaultReader:
    """Proven reads for one agent.

    Args:
        machine: The service.
        store: What is remembered.
        evidence: Where signed checkpoints are kept in case they are contradicted.
        key: The runtime's key; needed to open values, not to list.
        known: Where plaintexts and keys are made known.
        policy: What first contact may pin, and what is done with answers that carry no signed checkpoint.
    """

    def __init__(
        self,
        *,
        machine: MachineClient,
        store: TrustStore,
        evidence: Evidence,
        key: RuntimeKey,
        known: KnownSecrets,
        policy: TrustPolicy,
    ) -> None:
        self._machine = machine
        self._store = store
        self._evidence = evidence
        self._key = key
        self._known = known
        self._turns: dict[VaultId, anyio.Lock] = {}
        self.policy = policy

    async def list_vaults(self, project_id: ProjectId | None = None) -> tuple[ServedVault, ...]:
        """Fetch the vault list: unsigned, so only ids and search hints.

        Raises:
            MalformedError: Not the contract's form, or endless pages.
            NetworkError: No answer.
            ServiceError: Refused.
        """
        try:
            with anyio.fail_after(LIST_SECONDS):
                return await self._list_pages(project_id)
        except TimeoutError:
            raise DeadlineExceededError(f"the vault list was not there within {LIST_SECONDS:g} seconds") from None

    async def _list_pages(self, project_id: ProjectId | None) -> tuple[ServedVault, ...]:
        vaults: list[ServedVault] = []
        for number in range(1, contract.MAX_PAGES + 1):
            raw = await self._machine.list_vaults(project_id, number)
            page, where = served.read_vaults(parse_json(raw, what="vault list"))
            vaults += page
            if where.number != number and where.total_pages > 1:
                raise MalformedError("the vault list answered with another page than the one asked for")
            if number >= where.total_pages or not page:
                break
        else:
            raise MalformedError(f"the vault list has more than {contract.MAX_PAGES} pages")
        if len({vault.id for vault in vaults}) != len(vaults):
            raise MalformedError("the vault list names a vault twice")
        return tuple(vaults)

    async def vault(self, vault_id: VaultId, *, made_here: bool = False) -> ProvenVault:
        """Fetch and prove a vault's directory and summary: two requests.

        Args:
            vault_id: The vault.
            made_here: We have just created it, so its only signer is our own key: first contact believes nobody else.

        Raises:
            NotFoundError: No such vault for this agent.
            VerificationError: What was served is not proven.
            NetworkError: No answer.
            ServiceError: Refused.
        """
        return await self._remembering(vault_id, partial(self._fetch_vault, vault_id, made_here=made_here))

    async def item(self, vault_id: VaultId, select: ItemId | Callable[[ProvenVault], ItemId]) -> OpenedItem:
        """Fetch and prove one item: three requests, at once where its id is known.

        Args:
            vault_id: The vault that it is in.
            select: Its id, or a choice from the proven listing.

        Raises:
            NotFoundError: No such vault or item for this agent.
            VerificationError: What was served is not proven.
            NetworkError: No answer.
            ServiceError: Refused.
        """

        async def journey(state: VaultTrust, seen: Seen) -> tuple[VaultTrust, OpenedItem]:
            if callable(select):
                state, vault = await self._fetch_vault(vault_id, state, seen)
                item_id = select(vault)
                raw = await self._machine.item(vault_id, item_id)
            else:
                item_id = select
                (state, vault), raw = await gather(
                    partial(self._fetch_vault, vault_id, state, seen), partial(self._machine.item, vault_id, item_id)
                )
            return self._prove_item(state, seen, vault, item_id, raw)

        return await self._remembering(vault_id, journey, absent="the item")

    async def field(self, vault_id: VaultId, field_id: FieldId) -> LocatedField:
        """Fetch and prove one field by id: three requests at once.

        Raises:
            NotFoundError: No such vault or field for this agent.
            VerificationError: What was served is not proven.
            NetworkError: No answer.
            ServiceError: Refused.
        """

        async def journey(state: VaultTrust, seen: Seen) -> tuple[VaultTrust, LocatedField]:
            (state, vault), raw = await gather(
                partial(self._fetch_vault, vault_id, state, seen), partial(self._machine.field, vault_id, field_id)
            )
            return self._prove_field(state, seen, vault, field_id, raw)

        return await self._remembering(vault_id, journey, absent=f"field {field_id}")

    async def awaits_grant(self, vault_id: VaultId) -> bool:
        """Say whether a visible vault has no key wrapped for this agent: one request, nothing is unwrapped.

        Raises:
            NetworkError: No answer.
            ServiceError: Refused for another reason.
        """
        try:
            await self._machine.wrapped_key(vault_id)
        except AbsentError:
            return True
        return False

    def remembered_names(self) -> dict[VaultId, str]:
        """Return the vaults that were verified before, with the signed names that they had then."""
        vaults = self._store.section().vaults
        return {vault_id: entry.trust.name for vault_id, entry in vaults.items() if entry.trust.name is not None}

    def remembered_deks(self) -> tuple[VaultId, ...]:
        """Return the vaults that were opened before and were not archived here since."""
        vaults = self._store.section().vaults
        return tuple(
            vault_id for vault_id, entry in vaults.items() if entry.trust.dek is not None and entry.trust.name is not None
        )

    async def forget_name(self, vault_id: VaultId) -> None:
        """Let go of a vault's name after this agent archived it; its other pins stay."""
        state = await self._store.load(vault_id)
        await self._store.swap(vault_id, state, replace(state, name=None))

    async def projects(self) -> tuple[ServedProject, ...]:
        """Fetch the projects that this agent can see: unsigned.

        Raises:
            MalformedError: Not the contract's form.
            NetworkError: No answer.
            ServiceError: Refused.
        """
        return served.read_projects(parse_json(await self._machine.projects(), what="project list"))

    async def unverified_items(self, vault_id: VaultId) -> ServedItems:
        """Fetch a listing that came without a checkpoint, to be shown as unverified: nothing is opened or decided from it.

        Raises:
            CheckpointMissingError: The operator requires checkpoints, or this vault was verified before.
            VerificationError: A checkpoint came after all; then it must be proven.
        """
        before = await self._store.load(vault_id)
        if self.policy.checkpoints is CheckpointMode.REQUIRE or before.summary is not None:
            raise CheckpointMissingError(f"vault {vault_id} came without its signed summary (checkpoint rule 7)")
        listing = served.read_items(parse_json(await self._machine.items(vault_id), what="item listing"))
        if listing.summary is not None or listing.vault_id != vault_id:
            raise DisagreementError(f"the item listing of vault {vault_id} changed its kind between two answers")
        return listing

    async def dek(self, vault: ProvenVault) -> Dek:
        """Fetch, prove and unwrap a proven vault's key: one request.

        Raises:
            AwaitingGrantError: No key is wrapped for this agent.
            VerificationError: The entry is not proven, or does not open.
        """
        answers = Answers(partial(self._wrapped_key, vault.id))

        async def journey(state: VaultTrust, _: Seen) -> tuple[VaultTrust, Dek]:
            entry = read_wrapped_key(parse_json(await answers.next(), what="wrapped key"), "wrapped key")
            return await self._key.open_dek(state, entry, vault.directory, vault.summary, self._known)

        return await self._in_turn(vault.id, answers, journey)

    async def _wrapped_key(self, vault_id: VaultId) -> bytes:
        try:
            return await self._machine.wrapped_key(vault_id)
        except AbsentError as error:
            if error.service_code == "vault_not_found":
                raise
            raise AwaitingGrantError(f"vault {vault_id} is visible, but no key is wrapped for this agent") from None

    async def item_in(self, vault: ProvenVault, item_id: ItemId) -> OpenedItem:
        """Fetch and prove one item of a vault that was proven a moment ago: one request.

        Raises:
            NotFoundError: No such item for this agent.
            VerificationError: What was served is not proven, or the vault has moved on meanwhile.
            NetworkError: No answer.
            ServiceError: Refused.
        """
        answers = Answers(partial(self._machine.item, vault.id, item_id))

        async def journey(state: VaultTrust, seen: Seen) -> tuple[VaultTrust, OpenedItem]:
            return self._prove_item(state, seen, vault.before_now(), item_id, await answers.next())

        return await self._in_turn(vault.id, answers, journey, "the item")

    async def field_in(self, vault: ProvenVault, field_id: FieldId) -> LocatedField:
        """Fetch and prove one field of a vault that was proven a moment ago: one request.

        Raises:
            NotFoundError: No such field for this agent.
            VerificationError: What was served is not proven, or the vault has moved on meanwhile.
            NetworkError: No answer.
            ServiceError: Refused.
        """
        answers = Answers(partial(self._machine.field, vault.id, field_id))

        async def journey(state: VaultTrust, seen: Seen) -> tuple[VaultTrust, LocatedField]:
            return self._prove_field(state, seen, vault.before_now(), field_id, await answers.next())

        return await self._in_turn(vault.id, answers, journey, f"field {field_id}")

    def publish(self, vault: ProvenVault, items: Iterable[ProvenItem]) -> None:
        """Make a proven vault's metadata known as public."""
        self._known.publish(public_texts(vault))
        self._known.publish(field.name for item in items for field in item.checkpoint.fields)

    def _prove_item(
        self, state: VaultTrust, seen: Seen, vault: ProvenVault, item_id: ItemId, raw: bytes
    ) -> tuple[VaultTrust, OpenedItem]:
        claimed = served.read_item(parse_json(raw, what="item"))
        seen.note(claimed.detail)
        state, item, fields = checkpoint.advance_item(state, claimed, item_id, vault.summary, vault.directory)
        self._known.publish(field.name for field in item.checkpoint.fields)
        return state, OpenedItem(vault, item, fields)

    def _prove_field(
        self, state: VaultTrust, seen: Seen, vault: ProvenVault, field_id: FieldId, raw: bytes
    ) -> tuple[VaultTrust, LocatedField]:
        claimed = served.read_field(parse_json(raw, what="field"))
        seen.note(claimed.detail)
        state, field = checkpoint.advance_field(state, claimed, field_id, vault.summary, vault.directory)
        self._known.publish(line.name for line in field.item.checkpoint.fields)
        return state, LocatedField(vault, field)

    async def _fetch_vault(
        self, vault_id: VaultId, state: VaultTrust, seen: Seen, *, made_here: bool = False
    ) -> tuple[VaultTrust, ProvenVault]:
        since = None if state.head is None else state.head.size
        raw_directory, raw_items = await gather(
            partial(self._machine.directory, vault_id, since), partial(self._machine.items, vault_id)
        )
        claimed = directory.read_directory(parse_json(raw_directory, what="signer directory"))
        state, proven = directory.advance(state, claimed, vault_id, self.anchors(made_here=made_here))
        listing = served.read_items(parse_json(raw_items, what="item listing"))
        seen.note(listing.summary)
        state, summary = checkpoint.advance_summary(state, listing, proven)
        vault = ProvenVault(vault_id, proven, summary)
        self.publish(vault, ())
        return state, vault

    def anchors(self, *, made_here: bool = False) -> TrustAnchors:
        """Return what may be pinned without a continuity signature.

        Pins don't carry from vault to vault; what the operator added and our own key do.
        """
        own = None
        # Listing works without a private key; then no signer is ours.
        with suppress(NotConfiguredError):
            own = self._key.fingerprint
        if made_here:
            return TrustAnchors(SignerTrust.PINNED, frozenset(), own)
        return TrustAnchors(self.policy.mode, frozenset(self._store.section().anchors), own)

    async def _in_turn(
        self,
        vault_id: VaultId,
        answers: Answers,
        journey: Callable[[VaultTrust, Seen], Awaitable[tuple[VaultTrust, ResultT]]],
        absent: str | None = None,
    ) -> ResultT:
        """Prove and remember what was fetched at once for many, one after the other, so that they don't overtake each other."""
        with _explaining(vault_id, absent):
            await answers.fetch()
        async with self._turns.setdefault(vault_id, anyio.Lock(fast_acquire=True)):
            return await self._remembering(vault_id, journey, absent)

    async def _remembering(
        self,
        vault_id: VaultId,
        journey: Callable[[VaultTrust, Seen], Awaitable[tuple[VaultTrust, ResultT]]],
        absent: str | None = None,
    ) -> ResultT:
        straddles = 0
        for _ in range(_SWAP_TRIES):
            before = await self._store.load(vault_id)
            seen = Seen()
            try:
                with _explaining(vault_id, absent):
                    after, result = await journey(before, seen)
            except EquivocationError:
                await anyio.to_thread.run_sync(self._evidence.keep, seen.checkpoints)
                raise
            except (DisagreementError, SignerError):
                straddles += 1
                if straddles == _STRADDLE_TRIES:
                    raise
                continue
            if await self._store.swap(vault_id, before, after):
                if after != before:
                    await anyio.to_thread.run_sync(self._evidence.remember, seen.checkpoints)
                return result
        raise BusyError(f"vault {vault_id} is being changed faster than it can be read")


@contextmanager
def _explaining(vault_id: VaultId, absent: str | None) -> Iterator[None]:
    """Say what is not there, where the service knows no such thing."""
    try:
        yield
    except AbsentError as error:
        what = f"vault {vault_id}" if error.service_code == "vault_not_found" else absent or f"vault {vault_id}"
        raise NotFoundError(f"{what} is not visible to this agent, or was archived") from None
