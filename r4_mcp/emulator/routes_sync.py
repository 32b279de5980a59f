"""Endpoints across vaults: sync and search (contract §7).

What this file does not do: look into vaults that are not shared with the agent, or at values.
"""

from __future__ import annotations

from typing import Final

from r4_mcp.core.encoding import Json
from r4_mcp.core.record import open_record
from r4_mcp.emulator.dispatch import Call, Route
from r4_mcp.emulator.refusal import Reply
from r4_mcp.emulator.search_index import find
from r4_mcp.emulator.sync_pages import read_cursor, sync_page
from r4_mcp.errors import MalformedError
from r4_mcp.machine.contract import KIB, MAX_QUERY, MAX_SEARCH_LIMIT, SEARCH, SEARCH_LIMIT, SYNC

_SEARCH_KEYS: Final = frozenset({"query", "limit"})


def sync(call: Call) -> Reply:
    """Serve one page of what changed since a cursor, or of everything."""
    return Reply(200, sync_page(call.db, call.agent, read_cursor(call.db, call.agent, call.query.get("since"))))


def search(call: Call) -> Reply:
    """Serve where a text occurs in names, field labels and websites."""
    record = open_record(call.body, "body")
    if record.members.keys() - _SEARCH_KEYS:
        raise MalformedError("body has a member that the contract does not name")
    query = record.text("query", max_length=MAX_QUERY)
    limit = record.integer("limit", minimum=1) if "limit" in record.members else SEARCH_LIMIT
    if not query.strip():
        raise MalformedError("body.query is empty")
    if limit > MAX_SEARCH_LIMIT:
        raise MalformedError(f"body.limit is more than {MAX_SEARCH_LIMIT}")
    results: list[Json] = [*find(call.db, call.agent.id, query, limit)]
    return Reply(200, {"results": results})


ROUTES: Final = (
    Route(SYNC, sync),
    Route(SEARCH, search, max_body=4 * KIB),
)
