"""Where a text occurs in the metadata of the vaults that an agent may read (contract §7).

What this file does not do: look at values. The store holds ciphertext only, and nothing is searched but names and websites.

Rules of the wire profile [ours]:
1. A text fits where it occurs in a vault's name, an item's name, a website or a field's name, whatever the case of either.
2. Each place is one result: an item whose name and website fit is two, one with two fitting websites is one.
3. Results come vault by vault, oldest first: the vault, then each of its items with its websites and its fields.
4. ``itemId`` is null where the vault's own name fits; ``fieldId`` is null wherever no field's name does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import islice

from r4_mcp.core.encoding import Json
from r4_mcp.emulator.item_rows import item_fields, live_items
from r4_mcp.emulator.vault_rows import VaultRow, visible_vaults


def find(db: sqlite3.Connection, agent_id: str, query: str, limit: int) -> list[dict[str, Json]]:
    """Return at most ``limit`` places where a text occurs."""
    wanted = query.casefold()
    results = (result for vault in visible_vaults(db, agent_id) for result in _in_vault(db, vault, wanted))
    return list(islice(results, limit))


def _in_vault(db: sqlite3.Connection, vault: VaultRow, wanted: str) -> Iterator[dict[str, Json]]:
    if wanted in vault.name.casefold():
        yield _result(vault, "vault")
    for item in live_items(db, vault.id):
        if wanted in item.line.name.casefold():
            yield _result(vault, "item", item.line.id)
        if any(wanted in website.casefold() for website in item.line.websites):
            yield _result(vault, "website", item.line.id)
        for field in item_fields(db, item.line.id):
            if wanted in field.line.name.casefold():
                yield _result(vault, "field", item.line.id, field.line.id)


def _result(vault: VaultRow, matched: str, item_id: str | None = None, field_id: str | None = None) -> dict[str, Json]:
    return {"vaultId": vault.id, "itemId": item_id, "fieldId": field_id, "matched": matched}
