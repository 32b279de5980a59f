"""Sync: what this agent may see, in few requests, each vault of it proven as if it had been fetched alone (contract §7).

What this file does not do: decide when. ``index`` asks, and keeps what is proven.

Rules:
1. What is remembered is loaded before a page is fetched and swapped after the proof, in one write for the page. Where a vault was
   moved meanwhile, the page is fetched again, so that an honest older answer is not taken for a rollback.
2. A page brings no consistency proof: where a log has grown, that directory is fetched alone.
3. A vault that does not verify hides no other one: its entry says why. It is asked for once more before that counts, since a page
   and a directory that was fetched alone can straddle an honest write.
4. Proving is done in a worker thread: a page has thousands of signatures. The next page is fetched meanwhile; that its request
   fails counts only once this page is proven and remembered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Final

import anyio

from r4_mcp.core.checkpoint import ProvenItem
from r4_mcp.core.directory import ServedDirectory, read_directory
from r4_mcp.core.encoding import parse_json
from r4_mcp.core.served import ServedVault
from r4_mcp.core.sync import SyncedVault, SyncPage, advance_synced, read_sync_page
from r4_mcp.core.trust import CheckpointMode, TrustAnchors, VaultTrust
from r4_mcp.core.wire import ItemId, VaultId
from r4_mcp.errors import (
    AbsentError,
    BusyError,
    CheckpointMissingError,
    EquivocationError,
    MalformedError,
    R4Error,
    VerificationError,
)
from r4_mcp.machine.client import MachineClient
from r4_mcp.vault.concurrently import gather, map_bounded
from r4_mcp.vault.evidence import Evidence, SignedCheckpoint
from r4_mcp.vault.proven import ProvenVault
from r4_mcp.vault.reader import VaultReader
from r4_mcp.vault.trust_store import Section, TrustStore

MAX_PAGES: Final = 100
"""Pages of one sync, of 4 MB each: hundreds of thousands of items."""

_WIDTH: Final = 8
_SWAP_TRIES: Final = 8


@dataclass(frozen=True, slots=True)
class IndexedVault:
    """What is known of one vault.

    Attributes:
        listed: Its unsigned line.
        vault: Its proof; None where it does not verify.
        items: The items that are proven; all of them where the vault came by a sync.
        problem: Why it does not verify.
    """

    listed: ServedVault
    vault: ProvenVault | None
    items: Mapping[ItemId, ProvenItem] = field(default_factory=lambda: MappingProxyType({}))
    problem: R4Error | None = None


@dataclass(frozen=True, slots=True)
class Synced:
    """Where a sync stands: everything visible, and the cursor to go on from; None where the next one must be a full one."""

    vaults: Mapping[VaultId, IndexedVault]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class _Answer:
    """A page as it was served, and what was remembered before it was asked for (rule 1)."""

    number: int
    cursor: str | None
    before: Section
    raw: bytes


@dataclass(frozen=True, slots=True)
class _Outcome:
    """One vault of a page after the attempt to prove it."""

    entry: IndexedVault
    before: VaultTrust
    after: VaultTrust
    seen: tuple[SignedCheckpoint, ...]


class VaultSync:
    """Syncs for one agent.

    Args:
        machine: The service.
        reader: Whose anchors count, and where public texts are made known.
        store: What is remembered.
        evidence: Where signed checkpoints are kept in case they are contradicted.
    """

    def __init__(self, *, machine: MachineClient, reader: VaultReader, store: TrustStore, evidence: Evidence) -> None:
        self._machine = machine
        self._reader = reader
        self._store = store
        self._evidence = evidence

    async def follow(self, held: Synced | None) -> Synced:
        """Fetch and prove everything, or what changed since.

        Args:
            held: Where the last sync stood.

        Raises:
            MalformedError: Not the form of contract §7, or pages without end.
            NetworkError: No answer.
            ServiceError: Refused.
            BusyError: Another process changes what is remembered faster than it can be proven.
        """
        vaults = dict(held.vaults) if held is not None else {}
        told: set[VaultId] | None = None
        failed = False
        answer: _Answer | None = await self._ask(held.cursor if held is not None else None, number=1)
        while answer is not None:
            page, entries, answer = await self._page(answer, vaults)
            if page.full:
                told = told or set()
                told.update(entries)
            vaults.update(entries)
            for vault_id in page.removed_vaults:
                vaults.pop(vault_id, None)
            failed = failed or any(self._counts(entry) for entry in entries.values())
        if told is not None:
            vaults = {vault_id: entry for vault_id, entry in vaults.items() if vault_id in told}
        # A delta tells only what changed, so what failed would never be told again.
        return Synced(MappingProxyType(vaults), None if failed else page.cursor)

    async def _page(
        self, answer: _Answer, held: Mapping[VaultId, IndexedVault]
    ) -> tuple[SyncPage, dict[VaultId, IndexedVault], _Answer | None]:
        """Prove and remember a page; returns it, its vaults, and the answer after it."""
        again = False
        for _ in range(_SWAP_TRIES):
            page = await anyio.to_thread.run_sync(_read, answer)
            outcomes, ahead = await gather(partial(self._proven, answer, page, held), partial(self._ahead, answer, page))
            if not again and any(self._counts(outcome.entry) for outcome in outcomes.values()):
                again = True  # Rule 3.
            elif await self._remember(outcomes):
                if isinstance(ahead, R4Error):
                    raise ahead
                return page, {vault_id: outcome.entry for vault_id, outcome in outcomes.items()}, ahead
            answer = await self._ask(answer.cursor, answer.number)
        raise BusyError("what is remembered changes faster than a sync can be proven")

    async def _ask(self, cursor: str | None, number: int) -> _Answer:
        before = await anyio.to_thread.run_sync(self._store.section)
        return _Answer(number, cursor, before, await self._machine.sync(cursor))

    async def _ahead(self, answer: _Answer, page: SyncPage) -> _Answer | R4Error | None:
        """Fetch what follows a page, if anything does (rule 4)."""
        if not page.more:
            return None
        try:
            return await self._ask(page.cursor, answer.number + 1)
        except R4Error as error:
            return error

    async def _proven(self, answer: _Answer, page: SyncPage, held: Mapping[VaultId, IndexedVault]) -> dict[VaultId, _Outcome]:
        states = {
            one.vault.id: remembered.trust if (remembered := answer.before.vaults.get(one.vault.id)) else VaultTrust()
            for one in page.vaults
        }
        alone = await self._grown(page, states)
        return await anyio.to_thread.run_sync(partial(self._prove, page, states, alone, held))

    def _counts(self, entry: IndexedVault) -> bool:
        # Where the operator allows vaults without checkpoints, asking again brings none.
        lenient = self._reader.policy.checkpoints is CheckpointMode.WHEN_PRESENT
        return entry.problem is not None and not (lenient and isinstance(entry.problem, CheckpointMissingError))

    async def _grown(self, page: SyncPage, states: Mapping[VaultId, VaultTrust]) -> dict[VaultId, ServedDirectory | R4Error]:
        """Fetch the directories whose log has grown (rule 2)."""
        grown = [
            (one.vault.id, head.size)
            for one in page.vaults
            if (head := states[one.vault.id].head) is not None and one.directory.head.size > head.size
        ]

        async def fetch(wanted: tuple[VaultId, int]) -> ServedDirectory | R4Error:
            try:
                return read_directory(parse_json(await self._machine.directory(*wanted), what="signer directory"))
            except (MalformedError, AbsentError) as error:
                return error

        fetched = await map_bounded(fetch, grown, _WIDTH)
        return {vault_id: found for (vault_id, _), found in zip(grown, fetched, strict=True)}

    def _prove(
        self,
        page: SyncPage,
        states: Mapping[VaultId, VaultTrust],
        alone: Mapping[VaultId, ServedDirectory | R4Error],
        held: Mapping[VaultId, IndexedVault],
    ) -> dict[VaultId, _Outcome]:
        anchors = self._reader.anchors()
        removed = set(page.removed_items)
        outcomes = {}
        for one in page.vaults:
            vault_id = one.vault.id
            # A full page tells all there is: nothing is filled in from before.
            known = None if page.full else held.get(vault_id)
            kept = {} if known is None else {key: item for key, item in known.items.items() if (vault_id, key) not in removed}
            outcomes[vault_id] = _prove_one(states[vault_id], one, alone.get(vault_id), kept, anchors)
        return outcomes

    async def _remember(self, outcomes: Mapping[VaultId, _Outcome]) -> bool:
        """Keep what was proven; False where another process was faster (rule 1)."""
        proven = {vault_id: outcome for vault_id, outcome in outcomes.items() if outcome.entry.problem is None}
        if await self._store.swap_all({vault_id: (one.before, one.after) for vault_id, one in proven.items()}):
            return False
        changed = [signed for one in proven.values() if one.after != one.before for signed in one.seen]
        if changed:
            await anyio.to_thread.run_sync(self._evidence.remember, changed)
        contradicted = [
            signed for one in outcomes.values() if isinstance(one.entry.problem, EquivocationError) for signed in one.seen
        ]
        if contradicted:
            await anyio.to_thread.run_sync(self._evidence.keep, contradicted)
        for one in proven.values():
            if one.entry.vault is not None:
                self._reader.publish(one.entry.vault, one.entry.items.values())
        return True


def _read(answer: _Answer) -> SyncPage:
    page = read_sync_page(parse_json(answer.raw, what="sync page"))
    if page.more and page.cursor == answer.cursor:
        raise MalformedError("a sync page says that there is more, and does not move on")
    if page.more and answer.number == MAX_PAGES:
        raise MalformedError(f"a sync has more than {MAX_PAGES} pages")
    return page


def _prove_one(
    state: VaultTrust,
    synced: SyncedVault,
    alone: ServedDirectory | R4Error | None,
    held: Mapping[ItemId, ProvenItem],
    anchors: TrustAnchors,
) -> _Outcome:
    seen: list[SignedCheckpoint] = [item.detail for item in synced.items if item.detail is not None]
    if synced.summary is not None:
        seen.append(synced.summary)
    try:
        if isinstance(alone, R4Error):
            raise alone
        with_proof = synced if alone is None else replace(synced, directory=alone)
        after, proven = advance_synced(state, with_proof, held, anchors)
    except (VerificationError, AbsentError) as error:
        return _Outcome(IndexedVault(synced.vault, None, problem=error), state, state, tuple(seen))
    vault = ProvenVault(synced.vault.id, proven.directory, proven.summary)
    return _Outcome(IndexedVault(synced.vault, vault, proven.items), state, after, tuple(seen))
