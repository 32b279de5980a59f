"""Marks: where a listing, a vault or an item stands in memory. Two marks that differ mean that it changed in between.

What this file does not do: fetch, or show a mark to anybody. Marks are compared and thrown away.
"""

from __future__ import annotations

from r4_mcp.errors import ReferenceSyntaxError
from r4_mcp.vault.index import Snapshot
from r4_mcp.vault.references import parse_reference
from r4_mcp.vault.sync import IndexedVault

Mark = tuple[object, ...]
"""Compared for equality only."""


def mark_of_list(held: Snapshot | None) -> Mark:
    """Return the mark of the list of vaults; empty where nothing is in memory."""
    if held is None:
        return ()
    # All that a vault's line is made of; how each is addressed follows from the names of all.
    return tuple(_line_mark(entry) for entry in held.vaults.values())


def mark_of(reference: str, held: Snapshot | None) -> Mark:
    """Return the mark of a vault or an item; empty where it is not in memory.

    Raises:
        ReferenceSyntaxError: Not the reference of a vault or an item.
    """
    place = parse_reference(reference)
    if place.field is not None:
        raise ReferenceSyntaxError("only a vault or an item can be watched: r4://vault or r4://vault/item")
    if held is None:
        return ()
    # Several of one name: each of them counts, so that none changes unnoticed.
    entries = [entry for entry in held.vaults.values() if _is_named(place.vault, entry.listed.id, entry.listed.name)]
    if place.item is None:
        return tuple(_vault_mark(entry) for entry in entries)
    return tuple(mark for entry in entries for mark in _item_marks(entry, place.item, complete=held.complete))


def _line_mark(entry: IndexedVault) -> Mark:
    if entry.vault is None:
        return (entry.listed, None if entry.problem is None else entry.problem.code)
    checkpoint = entry.vault.summary.checkpoint
    return (entry.listed, checkpoint.name, checkpoint.classification, len(checkpoint.items))


def _vault_mark(entry: IndexedVault) -> Mark:
    version = None if entry.vault is None else entry.vault.summary.checkpoint.version
    problem = None if entry.problem is None else entry.problem.code
    return (entry.listed, version, problem)


def _item_marks(entry: IndexedVault, part: str, *, complete: bool) -> list[Mark]:
    if entry.vault is None:
        return []
    checkpoint = entry.vault.summary.checkpoint
    marks: list[Mark] = []
    for line in checkpoint.items:
        if _is_named(part, line.id, line.name):
            known = entry.items.get(line.id) if complete else None
            # Where details come one by one, the summary's version stands for them: every write makes a new summary.
            marks.append((checkpoint.name, line, checkpoint.version if known is None else known.checkpoint.version))
    return marks


def _is_named(part: str, own_id: str, name: str) -> bool:
    return part == own_id or part.casefold() == name.casefold()
