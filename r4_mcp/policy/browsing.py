"""The gate's reading side: what an agent may list and look at. Metadata only.

What this file does not do: open a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from itertools import islice
from typing import Final

from r4_mcp.core.wire import ProjectId, VaultId
from r4_mcp.errors import CheckpointMissingError, InvalidArgumentError, NotFoundError
from r4_mcp.policy import views
from r4_mcp.policy.admission import Doorway
from r4_mcp.policy.lines import classification_word, field_line, item_lines, search_hit, time_if, unverified_items, vault_line
from r4_mcp.policy.marks import Mark, mark_of, mark_of_list
from r4_mcp.policy.model import Action
from r4_mcp.policy.rules import deny_early
from r4_mcp.policy.suggestions import Suggestions, suggest
from r4_mcp.policy.views import display, signed_by
from r4_mcp.vault.references import write_reference
from r4_mcp.vault.runtime import VaultRuntime
from r4_mcp.vault.sync import IndexedVault

VAULTS_PER_PAGE: Final = 50
DEFAULT_ITEMS: Final = 50
MAX_ITEMS: Final = 200
DEFAULT_HITS: Final = 20
MAX_HITS: Final = 50
MAX_QUERY: Final = 256


class Browsing(Doorway):
    """Listings and descriptions."""

    async def list_vaults(self, project: str | None, cursor: str | None) -> views.VaultList:
        """List the visible vaults, each with its verified metadata or the reason why it is not verified.

        Raises:
            R4Error: Not configured, refused, unreachable, or a bad cursor.
        """
        runtime = await self._admission.ready(Action.LIST)
        project_id = runtime.project_id if project is None else await runtime.locator.project(project)
        listing = f"vaults {project_id or ''}"
        start = self._admission.position(cursor, listing)
        known = await runtime.index.snapshot()
        entries = list((await _of_project(runtime, project_id, known.vaults)).values())
        names = [entry.listed.name for entry in entries]
        return views.VaultList(
            vaults=tuple(vault_line(names, entry) for entry in entries[start : start + VAULTS_PER_PAGE]),
            next_cursor=self._admission.next_cursor(listing, start + VAULTS_PER_PAGE, len(entries)),
            stale=known.stale,
            verified_at=time_if(known.verified_at, known.stale),
        )

    async def list_projects(self, project: str | None) -> views.ProjectList:
        """List the projects; for a single one also its vaults.

        Raises:
            R4Error: Not configured, not found, ambiguous, refused, unreachable.
        """
        runtime = await self._admission.ready(Action.LIST)
        wanted = None if project is None else await runtime.locator.project(project)
        found = [line for line in await runtime.reader.projects() if wanted is None or line.id == wanted]
        if wanted is not None and not found:
            raise NotFoundError("no such project is visible to this agent")
        vaults = None if wanted is None else await self.list_vaults(wanted, None)
        lines = tuple(views.ProjectLine(line.id, display(line.name), line.vaults_count) for line in found)
        return views.ProjectList(lines, () if vaults is None else vaults.vaults, None if vaults is None else vaults.next_cursor)

    async def list_items(self, vault: str, cursor: str | None, limit: int | None) -> views.ItemList:
        """List a vault's items from its verified summary.

        Raises:
            R4Error: Not found, ambiguous, not verified, refused, unreachable, or a bad cursor.
        """
        runtime = await self._admission.ready(Action.LIST)
        size = DEFAULT_ITEMS if limit is None else limit
        if not 1 <= size <= MAX_ITEMS:
            raise InvalidArgumentError(f"the argument limit is not within 1 to {MAX_ITEMS}")
        try:
            found = await runtime.locator.vault(vault)
        except CheckpointMissingError:
            return unverified_items(await runtime.locator.unverified_vault(vault), size)
        self._call.ids = (found.vault.id,)
        listing = f"items {found.vault.id}"
        start = self._admission.position(cursor, listing)
        checkpoint = found.vault.summary.checkpoint
        verified_at, stale = runtime.index.freshness(found.vault.id)
        return views.ItemList(
            vault=write_reference(found.part),
            vault_name=display(checkpoint.name),
            classification=classification_word(checkpoint.classification),
            items=tuple(item_lines(found, start, size)),
            total=len(checkpoint.items),
            next_cursor=self._admission.next_cursor(listing, start + size, len(checkpoint.items)),
            signed_by=signed_by(found.vault.summary.signer),
            checkpoint_version=checkpoint.version,
            verified=True,
            stale=stale,
            verified_at=time_if(verified_at, stale),
        )

    async def search_items(self, query: str, cursor: str | None, limit: int | None) -> views.SearchResults:
        """Search vaults, items, fields and websites by name; from verified metadata alone.

        Raises:
            R4Error: A secret in the query, not configured, refused, unreachable, or a bad cursor.
        """
        size = DEFAULT_HITS if limit is None else limit
        if not 1 <= size <= MAX_HITS:
            raise InvalidArgumentError(f"the argument limit is not within 1 to {MAX_HITS}")
        await self._admission.screen({"query": query})
        runtime = await self._admission.ready(Action.LIST)
        listing = f"search {runtime.project_id or ''} {sha256(query.encode()).hexdigest()[:16]}"
        start = self._admission.position(cursor, listing)
        found = await runtime.search.find(query)
        entries = await _of_project(runtime, runtime.project_id, found.known.vaults)
        page = list(islice((hit for hit in found.hits if hit.place.vault_id in entries), start, start + size + 1))
        names = tuple(entry.listed.name for entry in entries.values())
        return views.SearchResults(
            results=tuple(search_hit(names, entries[hit.place.vault_id], hit) for hit in page[:size]),
            unsearched_vaults=sum(entry.vault is None for entry in entries.values()),
            next_cursor=self._admission.next_cursor(listing, start + size, start + len(page)),
            stale=found.known.stale,
            verified_at=time_if(found.known.verified_at, found.known.stale),
        )

    async def describe_item(self, reference: str) -> views.ItemDescription:
        """Describe an item from its verified detail.

        Raises:
            R4Error: Not found, ambiguous, not verified, refused, unreachable.
        """
        runtime = await self._admission.ready(Action.LIST)
        found = await runtime.locator.item(reference)
        checkpoint = found.opened.item.checkpoint
        self._call.ids = (checkpoint.vault_id, checkpoint.item_id)
        verified_at, stale = runtime.index.freshness(checkpoint.vault_id)
        return views.ItemDescription(
            reference=found.reference,
            id=checkpoint.item_id,
            name=display(checkpoint.name),
            type=checkpoint.type.value,
            vault=write_reference(found.vault_part),
            websites=tuple(display(website) for website in checkpoint.websites),
            fields=tuple(field_line(found, field.line.id) for field in found.opened.fields),
            signed_by=signed_by(found.opened.item.signer),
            checkpoint_version=checkpoint.version,
            verified=True,
            stale=stale,
            verified_at=time_if(verified_at, stale),
        )

    async def suggest(self, within: str | None, typed: str) -> Suggestions:
        """Suggest names that a text may be the beginning of, from verified metadata alone; nothing is fetched for a field.

        Args:
            within: Empty for vaults, ``vault`` for its items, ``vault/item`` for its fields; parts as in a reference. None for
                the names of items anywhere.
            typed: The beginning of a name.

        Raises:
            R4Error: Listing is denied, ``within`` is malformed, not found or ambiguous, not configured, refused, unreachable.
        """
        runtime = await self._admission.ready(Action.LIST)
        known = await runtime.index.snapshot()
        entries = await _of_project(runtime, runtime.project_id, known.vaults)
        return suggest(within, typed, list(entries.values()))

    async def screen(self, texts: Mapping[str, str | None]) -> None:
        """Refuse texts that hold a secret; a hit costs reveal budget.

        Raises:
            SecretInTextError: One does; the message names the argument only.
        """
        await self._admission.screen(texts)

    @property
    def generation(self) -> int | None:
        """Another one where other content was proven; None where nothing is in memory, or nothing may be listed."""
        runtime = self._parts.runtime
        if runtime is None or deny_early(Action.LIST, self._parts.switches, self._parts.policy()) is not None:
            return None
        held = runtime.index.held
        return None if held is None else held.generation

    def refuse_unwatchable(self, reference: str | None) -> None:
        """Refuse what ``mark`` can't mark, or nobody may list.

        Raises:
            DeniedError: Listing is denied.
            ReferenceSyntaxError: Neither a vault nor an item.
        """
        self._admission.refuse_where_closed()
        self.mark(reference)

    def mark(self, reference: str | None) -> Mark:
        """Return where a vault or an item stands in memory: another mark where it changed. Asks the service nothing.

        Args:
            reference: ``r4://vault`` or ``r4://vault/item``; None for the list of vaults.

        Raises:
            ReferenceSyntaxError: Neither of the two.
        """
        runtime = self._parts.runtime
        held = None if runtime is None or self.generation is None else runtime.index.held
        return mark_of_list(held) if reference is None else mark_of(reference, held)


async def _of_project(
    runtime: VaultRuntime, project_id: ProjectId | None, entries: Mapping[VaultId, IndexedVault]
) -> Mapping[VaultId, IndexedVault]:
    """Return those of a project; all of them where none is meant."""
    if project_id is None:
        return entries
    wanted = {vault.id for vault in await runtime.index.listed(project_id)}
    return {vault_id: entry for vault_id, entry in entries.items() if vault_id in wanted}
