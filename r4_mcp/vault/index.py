"""The index: what this agent may see, verified, in memory, at most a short while old.

What this file does not do: hold a key or a value. It has names, types, websites, ids, versions and signers, and writes none of it
down.

Rules:
1. Whatever is answered from here was proven at most ``max_age`` seconds ago, and is no older than what any process of this
   machine has verified since. What is older is fetched again first: a delta where a sync was made, else that vault alone.
2. Removal and revocation take effect here within that age. A value is never here: it is fetched when it is read.
3. Without an answer of the service, what is known is still answered to a call that tells its age (``allow_stale``), marked as
   stale; to no other one, since nothing is decided, revealed or written by what is too old. A refusal (401, 403) empties it.
4. A service without a usable sync is listed vault by vault; then items are known once they were looked at.
5. A fetch that somebody waits for is not made twice.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Final, TypeVar

import anyio

from r4_mcp.core.checkpoint import ProvenField
from r4_mcp.core.served import ServedVault
from r4_mcp.core.wire import FieldId, ItemId, ProjectId, VaultId
from r4_mcp.errors import (
    AbsentError,
    DeadlineExceededError,
    MalformedError,
    NetworkError,
    NotFoundError,
    PermissionDeniedError,
    R4Error,
    RequestRejectedError,
    ServiceError,
    UnauthorizedError,
    UnreachableError,
    VerificationError,
)
from r4_mcp.vault.concurrently import map_bounded
from r4_mcp.vault.proven import LocatedField, OpenedItem, ProvenVault
from r4_mcp.vault.reader import VaultReader
from r4_mcp.vault.shared import SharedFetch
from r4_mcp.vault.sync import IndexedVault, Synced, VaultSync
from r4_mcp.vault.trust_store import TrustStore

KnownT = TypeVar("KnownT")

MAX_AGE: Final = 30.0
"""Seconds that verified metadata is answered from memory, unless configured otherwise."""

RETRY_SECONDS: Final = 5.0
"""How long the service is left alone after it gave no answer, while there is something to answer from memory."""

_WIDTH: Final = 8
_NO_SYNC: Final = frozenset({400, 404, 405, 501})
"""Statuses that say that the service does not know the way, not that it refuses."""


_stale_is_told: Final[ContextVar[bool]] = ContextVar("stale_is_told", default=False)
"""Of the call that a task makes (rule 3)."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything visible at one moment.

    Attributes:
        vaults: Each with its proof, or the reason why there is none.
        complete: Whether the items of each proven vault are all there, with their fields.
        verified_at: When that was proven, in seconds since 1970.
        stale: Whether it is older than ``max_age``, because the service gives no answer.
        generation: Another one for other content.
    """

    vaults: Mapping[VaultId, IndexedVault]
    complete: bool
    verified_at: float
    stale: bool
    generation: int


@dataclass(frozen=True, slots=True)
class _Alone:
    """One vault that was fetched by itself, and when."""

    entry: IndexedVault
    at: float


@dataclass(frozen=True, slots=True)
class _List:
    """A vault list, and when it was fetched."""

    vaults: tuple[ServedVault, ...]
    at: float


class VaultIndex:
    """Verified metadata of one agent.

    Args:
        reader: Proven reads of single vaults.
        sync: Proven reads of everything.
        store: What any process of this machine has verified.
        max_age: Seconds; 0 asks the service each time.
        clock: A clock that does not jump, in seconds.
        now: Seconds since 1970.
    """

    def __init__(
        self,
        *,
        reader: VaultReader,
        sync: VaultSync,
        store: TrustStore,
        max_age: float = MAX_AGE,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._reader = reader
        self._sync = sync
        self._store = store
        self._max_age = max_age
        self._clock = clock
        self._now = now
        self._syncs: SharedFetch[Synced] = SharedFetch()
        self._fetches: SharedFetch[_Alone] = SharedFetch()
        self._listings: SharedFetch[_List] = SharedFetch()
        self._synced: Synced | None = None
        self._complete = False
        self._synced_at = 0.0
        self._alone: dict[VaultId, _Alone] = {}
        self._lists: dict[ProjectId | None, _List] = {}
        self._looks: dict[VaultId, anyio.Lock] = {}
        self._expired_at = float("-inf")
        self._no_answer_at = float("-inf")
        self._generation = 0
        self._recalled = 0

    @property
    def recalled(self) -> int:
        """How often something was answered from memory."""
        return self._recalled

    @property
    def held(self) -> Snapshot | None:
        """Everything as it was last proven, however old, without asking anybody; None where nothing is in memory."""
        return None if self._synced is None else self._as_of_now(self._synced)

    def allow_stale(self, *, allowed: bool) -> None:
        """Say whether the call of this task may be answered with what is too old (rule 3); without a word of it, it may not."""
        _stale_is_told.set(allowed)

    def expire(self) -> None:
        """Have everything fetched again before it is next answered. What is known stays, in case the service gives no answer."""
        self._expired_at = self._clock()

    def clear(self) -> None:
        """Forget everything (rule 3)."""
        self._synced = None
        self._alone.clear()
        self._lists.clear()
        self._generation += 1

    async def snapshot(self) -> Snapshot:
        """Return everything visible; one request where something must be asked, none otherwise.

        Raises:
            R4Error: Refused, unreachable while nothing is known, not in the contract's form.
        """
        synced = self._synced
        if synced is None or not self._may_answer(self._synced_at):
            synced = await self._fetched(self._syncs, "everything", self._follow, synced)
        return self._as_of_now(synced)

    async def listed(self, project_id: ProjectId | None) -> tuple[ServedVault, ...]:
        """Return the vault list, of one project or of all: unsigned, so only ids and search hints.

        Raises:
            R4Error: Refused, unreachable, not in the contract's form.
        """
        if project_id is None and self._synced is not None:
            return tuple(entry.listed for entry in (await self.snapshot()).vaults.values())
        kept = self._lists.get(project_id)
        if kept is None or not self._may_answer(kept.at):
            kept = await self._fetched(self._listings, project_id, partial(self._fetch_list, project_id), kept)
        return kept.vaults

    async def vault(self, vault_id: VaultId) -> ProvenVault:
        """Return one proven vault.

        Raises:
            NotFoundError: No such vault for this agent.
            VerificationError: What was served is not proven.
            NetworkError: No answer, and it is not known.
            ServiceError: Refused.
        """
        return _proven(await self._entry(vault_id), vault_id)

    async def item(self, vault_id: VaultId, select: ItemId | Callable[[ProvenVault], ItemId]) -> OpenedItem:
        """Return one proven item; its fields come without ciphertext where it was known.

        Raises:
            R4Error: As ``vault``, and where there is no such item.
        """
        async with self._first_look(vault_id) as alone:
            if alone:
                at = self._clock()
                opened = await self._reader.item(vault_id, select)
                self._keep_alone(opened.vault, at)
                self._learn(opened)
                return opened
        entry = await self._entry(vault_id)
        vault = _proven(entry, vault_id)
        item_id = select(vault) if callable(select) else select
        known = entry.items.get(item_id)
        if known is not None and not await self._is_outdated(vault_id, item_id, known.checkpoint.version):
            return OpenedItem(vault, known, tuple(ProvenField(known, line, None) for line in known.checkpoint.fields))
        opened = replace(await self._reader.item_in(vault, item_id), vault=vault)
        self._learn(opened)
        return opened

    async def field(self, vault_id: VaultId, field_id: FieldId) -> LocatedField:
        """Fetch and prove one field, with its ciphertext: one request where its vault is known, three at once otherwise.

        Raises:
            R4Error: As ``vault``, and where there is no such field.
        """
        async with self._first_look(vault_id) as alone:
            if alone:
                at = self._clock()
                located = await self._reader.field(vault_id, field_id)
                self._keep_alone(located.vault, at)
                return located
        recalled = self._recalled
        vault = await self.vault(vault_id)
        return replace(await self._reader.field_in(vault, field_id), recalled=self._recalled != recalled)

    def freshness(self, vault_id: VaultId) -> tuple[float, bool]:
        """Return when the vault's entry was proven (seconds since 1970), and whether it is older than it should be."""
        at = self._synced_at if (alone := self._alone.get(vault_id)) is None else alone.at
        return self._wall(at), self._is_stale(at)

    async def _entry(self, vault_id: VaultId) -> IndexedVault:
        known = self._known(vault_id)
        if known is not None and known.vault is not None:
            remembered = (await self._store.load(vault_id)).summary
            if remembered is None or remembered.version <= known.vault.summary.checkpoint.version:
                return known
            self.expire()  # Rule 1: another process has seen a newer one.
        if self._synced is None or not self._complete:
            alone = self._alone.get(vault_id)
            return (await self._fetched(self._fetches, vault_id, partial(self._fetch, vault_id), alone)).entry
        entry = (await self.snapshot()).vaults.get(vault_id)
        if entry is None:
            raise NotFoundError(f"vault {vault_id} is not visible to this agent, or was archived")
        return entry

    @asynccontextmanager
    async def _first_look(self, vault_id: VaultId) -> AsyncIterator[bool]:
        """Say whether a vault has to be looked at alone: by one caller at a time, so that the next one finds it known.

        Then vault and item are fetched together and remembered together, so that a lie in the one leaves no trace of the other.
        """
        if (self._synced is not None and self._complete) or self._known(vault_id) is not None:
            yield False
            return
        async with self._looks.setdefault(vault_id, anyio.Lock(fast_acquire=True)):
            yield self._known(vault_id) is None

    def _known(self, vault_id: VaultId) -> IndexedVault | None:
        alone = self._alone.get(vault_id)
        if alone is not None and self._may_answer(alone.at):
            return alone.entry
        return self._synced.vaults.get(vault_id) if self._synced is not None and self._may_answer(self._synced_at) else None

    async def _fetch(self, vault_id: VaultId) -> _Alone:
        at = self._clock()
        return self._keep_alone(await self._reader.vault(vault_id), at)

    async def _fetch_list(self, project_id: ProjectId | None) -> _List:
        at = self._clock()
        kept = self._lists[project_id] = _List(await self._reader.list_vaults(project_id), at)
        return kept

    async def _fetched(
        self, shared: SharedFetch[KnownT], name: Hashable, fetch: Callable[[], Awaitable[KnownT]], known: KnownT | None
    ) -> KnownT:
        """Fetch, or return what is known where the service gave no answer (rule 3)."""
        try:
            return await shared.get(name, fetch)
        except (UnauthorizedError, PermissionDeniedError):
            self.clear()
            raise
        except (UnreachableError, DeadlineExceededError):
            if known is not None:
                self._no_answer_at = self._clock()
            if known is None or not _stale_is_told.get():
                raise
            return known

    def _keep_alone(self, vault: ProvenVault, at: float) -> _Alone:
        checkpoint = vault.summary.checkpoint
        listed = ServedVault(vault.id, checkpoint.name, checkpoint.classification, len(checkpoint.items))
        kept = self._alone[vault.id] = _Alone(IndexedVault(listed, vault), at)
        return kept

    def _learn(self, opened: OpenedItem) -> None:
        vault, item = opened.vault, opened.item
        alone = self._alone.get(vault.id)
        if alone is not None and alone.entry.vault is vault:
            items = MappingProxyType({**alone.entry.items, item.checkpoint.item_id: item})
            self._alone[vault.id] = replace(alone, entry=replace(alone.entry, items=items))
        elif self._synced is not None and (entry := self._synced.vaults.get(vault.id)) is not None and entry.vault is vault:
            items = MappingProxyType({**entry.items, item.checkpoint.item_id: item})
            vaults = MappingProxyType({**self._synced.vaults, vault.id: replace(entry, items=items)})
            self._synced = replace(self._synced, vaults=vaults)
            self._generation += 1

    async def _is_outdated(self, vault_id: VaultId, item_id: ItemId, version: int) -> bool:
        pin = (await self._store.load(vault_id)).details.get(item_id)
        return pin is not None and pin.version > version

    def _as_of_now(self, synced: Synced) -> Snapshot:
        at = self._synced_at
        return Snapshot(synced.vaults, self._complete, self._wall(at), self._is_stale(at), self._generation)

    def _is_young(self, at: float) -> bool:
        return at > self._expired_at and self._clock() - at < self._max_age

    def _is_left_alone(self) -> bool:
        return self._clock() - self._no_answer_at < RETRY_SECONDS

    def _may_answer(self, at: float) -> bool:
        if not (self._is_young(at) or (self._is_left_alone() and _stale_is_told.get())):
            return False
        self._recalled += 1
        return True

    def _is_stale(self, at: float) -> bool:
        return self._is_left_alone() and not self._is_young(at)

    def _wall(self, at: float) -> float:
        return self._now() - (self._clock() - at)

    async def _follow(self) -> Synced:
        at = self._clock()
        synced, complete = await self._followed()
        if self._synced is None or synced.vaults != self._synced.vaults:
            self._generation += 1
        self._synced, self._complete, self._synced_at = synced, complete, at
        self._alone.clear()
        return synced

    async def _followed(self) -> tuple[Synced, bool]:
        try:
            return await self._sync.follow(self._synced if self._complete else None), True
        except (MalformedError, AbsentError):
            return await self._listed_alone(), False
        except RequestRejectedError as error:
            if error.status not in _NO_SYNC:
                raise
            return await self._listed_alone(), False

    async def _listed_alone(self) -> Synced:
        """List vault by vault (rule 4)."""

        async def look(listed: ServedVault) -> IndexedVault:
            try:
                return IndexedVault(listed, await self._reader.vault(listed.id))
            except UnauthorizedError:
                raise
            except (VerificationError, NotFoundError, ServiceError, NetworkError) as error:
                # One vault that can't be shown must not hide the others; its entry says why.
                return IndexedVault(listed, None, problem=error)

        found = await map_bounded(look, await self._reader.list_vaults(), _WIDTH)
        return Synced(MappingProxyType({entry.listed.id: entry for entry in found}), None)


def _proven(entry: IndexedVault, vault_id: VaultId) -> ProvenVault:
    if entry.vault is None:
        problem: R4Error = entry.problem or NotFoundError(f"vault {vault_id} is not visible to this agent, or was archived")
        raise problem.with_traceback(None)
    return entry.vault
