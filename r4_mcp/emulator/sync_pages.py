"""Sync pages: what an agent has to know, all of it or what changed since a cursor (contract §7).

What this file does not do: keep what changed (``change_log``), or ask whether the agent may sync.

Rules of the wire profile [ours], where the contract leaves the answer open:
1. A vault's entry is never split. It goes with the removed items of that vault in one page, so that the signed summary holds
   after each page. Pages have at most ``MAX_SYNC_PAGE`` bytes; one entry that is larger is a page alone.
2. A vault that was shared with the agent after the cursor was made, for the first time or again, comes with all of its items;
   any other comes with those that changed. A client adds what comes to what it has, and takes away what is named as removed.
3. What is named as removed may be unknown to the client, or named again, but the agent could see it once.
4. All pages of a full sync say ``full``: what the client has and was not told on them is gone.
5. A cursor names two changes: up to the first, the client knows everything; what was changed last between the two it was told on
   the pages since then. It is good for one agent of one store; any other text is answered in full.
6. Directories come without a consistency proof: sync sends one cursor and no tree sizes. A client whose remembered head differs
   from the one that comes asks for that directory alone, with ``sinceTreeSize``, and believes only what that proof leads to.
7. Without the permission to read secrets, ``wrappedKey`` is null.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from dataclasses import dataclass, field
from typing import Final

from r4_mcp.core.encoding import Json, compact_json
from r4_mcp.core.wire import KeyId, VaultId
from r4_mcp.emulator.accounts import Agent
from r4_mcp.emulator.change_log import changed_items, changed_vaults, had_grant, last_change, next_grant
from r4_mcp.emulator.directory_log import directory_view
from r4_mcp.emulator.item_rows import item_fields, live_items
from r4_mcp.emulator.signing_keys import active_key
from r4_mcp.emulator.store import fact
from r4_mcp.emulator.vault_rows import VaultRow, find_vault, find_wrapped_key, level_of
from r4_mcp.emulator.views import bare_item_view, vault_view
from r4_mcp.machine import contract

_CURSOR: Final = re.compile(r"(0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15})-([0-9a-f]{16})", re.ASCII)
_FRAME: Final = 256
"""Bytes of a page around its entries, and to spare."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a client stands (rule 5)."""

    known: int = 0
    told: int = 0

    def text(self, db: sqlite3.Connection, agent: Agent) -> str:
        """Return it as the client keeps it."""
        return f"{self.known}-{self.told}-{_mark(db, agent, self)}"


def read_cursor(db: sqlite3.Connection, agent: Agent, text: str | None) -> Cursor:
    """Return the cursor that a client sent; the first one where it sent none, or none that is good here (rule 5)."""
    match = _CURSOR.fullmatch(text or "")
    if match is None:
        return Cursor()
    cursor = Cursor(int(match[1]), int(match[2]))
    # A number that was never reached is a cursor of a store that was put back to an older state.
    is_good = match[3] == _mark(db, agent, cursor) and cursor.known <= cursor.told <= last_change(db)
    return cursor if is_good else Cursor()


def sync_page(db: sqlite3.Connection, agent: Agent, cursor: Cursor) -> dict[str, Json]:
    """Return the page that follows a cursor."""
    page = _Page()
    key = active_key(db, agent.id)
    told = cursor.told
    for vault_id, last in changed_vaults(db, agent.id, cursor.told):
        if not page.take(_change(db, agent, None if key is None else key.id, vault_id, cursor)):
            return _body(page, Cursor(cursor.known, told).text(db, agent), cursor, more=True)
        told = last
    now = last_change(db)
    return _body(page, Cursor(now, now).text(db, agent), cursor, more=False)


@dataclass(frozen=True, slots=True)
class _Change:
    """What is told of one vault; nothing of one that is none of the agent's business."""

    vault: dict[str, Json] | None = None
    removed_vault: VaultId | None = None
    removed_items: tuple[Json, ...] = ()


@dataclass(slots=True)
class _Page:
    vaults: list[Json] = field(default_factory=list)
    removed_vaults: list[Json] = field(default_factory=list)
    removed_items: list[Json] = field(default_factory=list)
    size: int = _FRAME

    def take(self, change: _Change) -> bool:
        """Take a change in; false where the page has no room for it (rule 1)."""
        size = _size(change.vault) + _size(change.removed_vault) + sum(_size(one) for one in change.removed_items)
        if self.size > _FRAME and self.size + size > contract.MAX_SYNC_PAGE:
            return False
        self.size += size
        self.vaults += [] if change.vault is None else [change.vault]
        self.removed_vaults += [] if change.removed_vault is None else [change.removed_vault]
        self.removed_items += change.removed_items
        return True


def _change(db: sqlite3.Connection, agent: Agent, key_id: KeyId | None, vault_id: VaultId, cursor: Cursor) -> _Change:
    granted = next_grant(db, agent.id, vault_id, cursor.known)
    # What the client may hold, it holds since then: an earlier page may have told what is gone on this one.
    since = cursor.known if had_grant(db, agent.id, vault_id, cursor.known) else granted
    vault = None if level_of(db, agent.id, vault_id) is None else find_vault(db, vault_id)
    if vault is None:
        return _Change() if since is None else _Change(removed_vault=vault_id)
    live = live_items(db, vault_id)
    changed = {item.line.id for item in live} if granted is not None else changed_items(db, vault_id, cursor.known)
    items: list[Json] = [bare_item_view(item, item_fields(db, item.line.id)) for item in live if item.line.id in changed]
    gone = set() if since is None else changed_items(db, vault_id, since) - {item.line.id for item in live}
    return _Change(
        vault=_entry(db, agent, key_id, vault, items),
        removed_items=tuple({"vaultId": vault_id, "itemId": item_id} for item_id in sorted(gone)),
    )


def _entry(db: sqlite3.Connection, agent: Agent, key_id: KeyId | None, vault: VaultRow, items: list[Json]) -> dict[str, Json]:
    wrapped = None if key_id is None else find_wrapped_key(db, vault.id, key_id)
    return {
        "vault": vault_view(vault, None if wrapped is None else key_id),
        "wrappedKey": wrapped.payload() if wrapped is not None and agent.may(contract.Permission.SECRET_READ) else None,
        "directory": directory_view(db, vault.id, None),
        "summaryCheckpoint": vault.summary,
        "items": items,
    }


def _body(page: _Page, after: str, before: Cursor, *, more: bool) -> dict[str, Json]:
    return {
        "cursor": after,
        "more": more,
        "full": before.known == 0,
        "vaults": page.vaults,
        "removedVaultIds": page.removed_vaults,
        "removedItems": page.removed_items,
    }


def _size(value: Json) -> int:
    return 0 if value is None else len(compact_json(value).encode("utf-8")) + 1


def _mark(db: sqlite3.Connection, agent: Agent, cursor: Cursor) -> str:
    # No secret, and nothing depends on it but whether an old answer is taken for a new one.
    named = f"{fact(db, 'tenant_id')}/{agent.id}/{cursor.known}/{cursor.told}"
    return hashlib.sha256(named.encode("ascii")).hexdigest()[:16]
