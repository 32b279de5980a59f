"""Sync pages and search results (contract §7): read as claims, and each vault of a page proven as if it had been fetched alone.

What this file does not do: open anything. A wrapped key that comes with a page is read and not used, and a search result is a
hint to look something up.

Rules:
1. Nothing is named twice in a page, and nothing is both served and removed.
2. Signed things are read strictly; of what surrounds them, members that are not used are copied nowhere. A value that comes with
   an item is not used: sync is about make-up alone.
3. A cursor is 1 to 512 visible ASCII characters, so that it can be kept and sent back as it is.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from r4_mcp.core import directory
from r4_mcp.core.checkpoint import ProvenItem, ProvenSummary, advance_items, advance_summary
from r4_mcp.core.directory import Directory, ServedDirectory, read_directory
from r4_mcp.core.encoding import Json
from r4_mcp.core.record import Record, open_record
from r4_mcp.core.served import ServedField, ServedItem, ServedItems, ServedVault, detail_of, read_vault, summary_of
from r4_mcp.core.trust import TrustAnchors, VaultTrust
from r4_mcp.core.wire import (
    FieldId,
    ItemId,
    Signed,
    SignerRef,
    SummaryCheckpoint,
    VaultId,
    WrappedKey,
    field_line,
    item_line,
    read_wrapped_key,
)
from r4_mcp.errors import MalformedError

MAX_VAULTS: Final = 10_000
"""Most vaults of one page: a page of 4 MB has room for fewer, each with a directory and a signed summary."""

MAX_RESULTS: Final = 200
"""Most results of a search (contract §7)."""

_SERVED_AND_SIGNED: Final = ("vaultId", "name", "type", "websites", "groupId", "fields")

_CURSOR: Final = re.compile(r"[!-~]{1,512}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SyncedVault:
    """One vault of a page: everything that proves it, and the items that came with it.

    Attributes:
        vault: Its line, unsigned.
        wrapped_key: Its DEK wrapped for the caller; None where the caller may read no secrets, or nothing is wrapped for it.
        directory: Its signers. No consistency proof comes with them: where the head moved, the directory is asked for alone.
        summary: What the vault holds; None where the service sent none.
        items: The items that are told, without values: all of them, or those that changed.
    """

    vault: ServedVault
    wrapped_key: WrappedKey | None
    directory: ServedDirectory
    summary: Signed[SummaryCheckpoint] | None
    items: tuple[ServedItem, ...]

    def listing(self, items: Iterable[ServedItem]) -> ServedItems:
        """Return the item listing that this page claims, to be proven by its summary.

        Args:
            items: Every item of the vault: what was known before, without what was removed, and what came.
        """
        told = tuple(items)
        return ServedItems(
            vault_id=self.vault.id,
            vault_name=self.vault.name,
            classification=self.vault.classification,
            # No second place names it here, so there is nothing for it to contradict.
            dek_version=1 if self.summary is None else self.summary.checkpoint.dek_version,
            summary=self.summary,
            items=tuple(item.line for item in told),
            field_counts={item.line.id: len(item.fields) for item in told},
        )


@dataclass(frozen=True, slots=True)
class SyncPage:
    """One page of a sync.

    Attributes:
        cursor: What to ask with next.
        more: Whether something is left to be told now.
        full: Whether this is a page of a full sync, after which anything that was not told is gone.
        vaults: What is new or changed.
        removed_vaults: What the caller may not see any more.
        removed_items: Items that left a vault that the caller may see.
    """

    cursor: str
    more: bool
    full: bool
    vaults: tuple[SyncedVault, ...]
    removed_vaults: tuple[VaultId, ...]
    removed_items: tuple[tuple[VaultId, ItemId], ...]


class Matched(StrEnum):
    """What a search fitted."""

    VAULT = "vault"
    ITEM = "item"
    FIELD = "field"
    WEBSITE = "website"


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A place where a text is said to occur: unsigned, so it is looked up before anything of it is shown."""

    vault_id: VaultId
    item_id: ItemId | None
    field_id: FieldId | None
    matched: Matched


@dataclass(frozen=True, slots=True)
class ProvenSync:
    """One vault of a page after the proof: exactly what single fetches would have proven."""

    directory: Directory
    summary: ProvenSummary
    items: Mapping[ItemId, ProvenItem]


def advance_synced(
    state: VaultTrust, synced: SyncedVault, held: Mapping[ItemId, ProvenItem], anchors: TrustAnchors
) -> tuple[VaultTrust, ProvenSync]:
    """Prove one vault of a page.

    Args:
        state: What is remembered of this vault.
        synced: The vault as served; its directory with a consistency proof where the log has grown.
        held: Items that were proven before and were neither told again nor removed. Their lines must stand in the new summary as
            they are, and their signers must still be good for something.
        anchors: Which new signers need no continuity signature.

    Raises:
        VerificationError: As ``directory.advance``, ``advance_summary`` and ``advance_items``.
    """
    state, signers = directory.advance(state, synced.directory, synced.vault.id, anchors)
    told_now = {told.line.id for told in synced.items}
    kept = {item_id: item for item_id, item in held.items() if item_id not in told_now}
    for item in kept.values():
        signers.find(SignerRef(item.signer.kind, item.signer.id))
    listing = synced.listing([*(_as_served(item) for item in kept.values()), *synced.items])
    state, summary = advance_summary(state, listing, signers)
    state, told = advance_items(state, synced.items, summary, signers)
    return state, ProvenSync(signers, summary, MappingProxyType({**kept, **{item.checkpoint.item_id: item for item in told}}))


def _as_served(item: ProvenItem) -> ServedItem:
    checkpoint = item.checkpoint
    fields = tuple(ServedField(field, None) for field in checkpoint.fields)
    return ServedItem(checkpoint.line, checkpoint.vault_id, fields, None)


def read_sync_page(value: Json) -> SyncPage:
    """Read one page of a sync.

    Raises:
        MalformedError: Not the form of contract §7, or rules 1 or 3 fail.
    """
    record = open_record(value, "sync page")
    vaults = record.parts("vaults", _read_synced_vault)
    if len(vaults) > MAX_VAULTS:
        raise MalformedError(f"sync page has more than {MAX_VAULTS} vaults")
    cursor = record.text("cursor")
    if not _CURSOR.fullmatch(cursor):
        raise MalformedError("sync page.cursor is not 1 to 512 visible ASCII characters")
    page = SyncPage(
        cursor=cursor,
        more=record.boolean("more"),
        full=record.boolean("full"),
        vaults=vaults,
        removed_vaults=tuple(VaultId(part) for part in record.identifiers("removedVaultIds")),
        removed_items=record.parts("removedItems", _read_removed_item),
    )
    _distinct([*(one.vault.id for one in vaults), *page.removed_vaults], "a vault")
    _distinct([*((one.vault.id, item.line.id) for one in vaults for item in one.items), *page.removed_items], "an item")
    return page


def read_search(value: Json) -> tuple[SearchResult, ...]:
    """Read the results of a search.

    Raises:
        MalformedError: Not the form of contract §7, or more than ``MAX_RESULTS``.
    """
    results = open_record(value, "search").parts("results", _read_result)
    if len(results) > MAX_RESULTS:
        raise MalformedError(f"search.results has more than {MAX_RESULTS} entries")
    return results


def _read_synced_vault(value: Json, what: str) -> SyncedVault:
    record = open_record(value, what)
    return SyncedVault(
        vault=record.part("vault", read_vault),
        wrapped_key=record.part("wrappedKey", read_wrapped_key) if record.has("wrappedKey") else None,
        directory=record.part("directory", lambda served, _: read_directory(served)),
        summary=summary_of(record),
        items=record.parts("items", _read_item),
    )


def _read_item(value: Json, what: str) -> ServedItem:
    record = open_record(value, what)
    detail = detail_of(record)
    if detail is not None and _is_served_as_signed(record):
        # Read once: a page has thousands of items, and what is served beside the signature is nearly always the same JSON.
        checkpoint = detail.checkpoint
        fields = tuple([ServedField(field, None) for field in checkpoint.fields])
        return ServedItem(checkpoint.line, checkpoint.vault_id, fields, detail)
    return ServedItem(
        line=item_line(record),
        vault_id=VaultId(record.identifier("vaultId")),
        fields=tuple(ServedField(field_line(field), None) for field in record.parts("fields", open_record)),
        detail=detail,
    )


def _is_served_as_signed(record: Record) -> bool:
    """Say whether an item's own members are those of its checkpoint, which has been read as one."""
    served = record.members
    signed = open_record(open_record(served["detailCheckpoint"], record.what).members["checkpoint"], record.what).members
    if served.get("id") != signed["vaultItemId"]:
        return False
    for name in _SERVED_AND_SIGNED:
        if served.get(name) != signed[name]:
            return False
    fields = served["fields"]
    # To Python, true equals 1; the order is the only number that was compared.
    return isinstance(fields, list) and not any(isinstance(field, dict) and isinstance(field["order"], bool) for field in fields)


def _read_removed_item(value: Json, what: str) -> tuple[VaultId, ItemId]:
    record = open_record(value, what)
    return VaultId(record.identifier("vaultId")), ItemId(record.identifier("itemId"))


def _read_result(value: Json, what: str) -> SearchResult:
    record = open_record(value, what)
    item_id, field_id = record.optional_identifier("itemId"), record.optional_identifier("fieldId")
    result = SearchResult(
        vault_id=VaultId(record.identifier("vaultId")),
        item_id=None if item_id is None else ItemId(item_id),
        field_id=None if field_id is None else FieldId(field_id),
        matched=record.choice("matched", Matched),
    )
    if (item_id is None) is not (result.matched is Matched.VAULT) or (field_id is None) is (result.matched is Matched.FIELD):
        raise MalformedError(f"{what} names other things than its kind of match has")
    return result


def _distinct(found: Sequence[Hashable], what: str) -> None:
    if len(set(found)) != len(found):
        raise MalformedError(f"sync page names {what} twice (sync rule 1)")
