"""Endpoints about items and fields: list, show, export, create, change, archive.

What this file does not do: verify signatures itself; ``checks``, ``item_creation`` and ``item_update`` do.
"""

from __future__ import annotations

from typing import Final

from r4_mcp.core.record import exact
from r4_mcp.core.wire import read_summary
from r4_mcp.emulator.checks import check_next_summary, current_signer
from r4_mcp.emulator.dispatch import Call, Route
from r4_mcp.emulator.item_creation import BODY_KEYS, read_posted_item
from r4_mcp.emulator.item_rows import (
    add_item,
    change_item,
    field_ids_used,
    find_item,
    item_fields,
    item_ids_used,
    item_of_field,
    live_items,
)
from r4_mcp.emulator.item_rows import archive_item as archive_row
from r4_mcp.emulator.item_update import read_changed_item, read_update_body
from r4_mcp.emulator.refusal import Reply, item_not_found
from r4_mcp.emulator.vault_rows import replace_summary
from r4_mcp.emulator.views import environment_view, field_view, item_view, items_view
from r4_mcp.errors import MalformedError
from r4_mcp.machine.contract import ARCHIVE_ITEM, CREATE_ITEM, GET_ENVIRONMENT, GET_FIELD, GET_ITEM, LIST_ITEMS, MIB, UPDATE_ITEM


def list_items(call: Call) -> Reply:
    """List a vault's items with the signed summary."""
    return Reply(200, items_view(call.vault, live_items(call.db, call.vault.id)))


def get_item(call: Call) -> Reply:
    """Show one item with its ciphertext and signed detail."""
    item = find_item(call.db, call.vault.id, call.path["item_id"])
    if item is None:
        raise item_not_found()
    return Reply(200, item_view(item, item_fields(call.db, item.line.id)))


def get_field(call: Call) -> Reply:
    """Show one field with its ciphertext and its item's signed detail."""
    item = item_of_field(call.db, call.vault.id, call.path["field_id"])
    if item is None:
        raise item_not_found()
    fields = item_fields(call.db, item.line.id)
    return Reply(200, field_view(item, next(field for field in fields if field.line.id == call.path["field_id"])))


def get_environment(call: Call) -> Reply:
    """Show the fields that are marked for environment export, the latest ciphertext of each."""
    found = [
        (item, field)
        for item in live_items(call.db, call.vault.id)
        for field in item_fields(call.db, item.line.id)
        if field.exported
    ]
    return Reply(200, environment_view(call.vault, found))


def create_item(call: Call) -> Reply:
    """Create an item under a replacement summary."""
    key = current_signer(call.db, call.agent.id, call.vault.id)
    record = exact(call.body, "body", BODY_KEYS)
    posted = read_posted_item(record, call.vault.id, key)
    summary = read_summary(record.members["summaryCheckpoint"], "summaryCheckpoint")
    check_next_summary(key, call.vault, summary, puts=posted.line)
    fields = [field.id for field in posted.detail.checkpoint.fields]
    if item_ids_used(call.db, posted.line.id, fields, posted.envelopes):
        raise MalformedError("an id of the item, a field or an instance is in use (write rule 7)")
    replace_summary(call.db, summary)
    add_item(call.db, posted.detail, posted.envelopes)
    return Reply(201, {"id": posted.line.id})


def update_item(call: Call) -> Reply:
    """Change an item under a replacement summary; the answer is its id [ours]."""
    item = find_item(call.db, call.vault.id, call.path["item_id"])
    if item is None:
        raise item_not_found()
    key = current_signer(call.db, call.agent.id, call.vault.id)
    record = read_update_body(call.body)
    changed = read_changed_item(record, item, item_fields(call.db, item.line.id), key)
    summary = read_summary(record.members["summaryCheckpoint"], "summaryCheckpoint")
    # A new version also where the item's line stays: no detail changes under a summary that stands still (checkpoint rule 6).
    check_next_summary(key, call.vault, summary, puts=changed.line)
    if field_ids_used(call.db, changed.added, changed.envelopes):
        raise MalformedError("an id of a field or an instance is in use (write rule 7)")
    replace_summary(call.db, summary)
    change_item(call.db, changed.detail, changed.envelopes, changed.exported)
    return Reply(200, {"id": item.line.id})


def archive_item(call: Call) -> Reply:
    """Archive an item under a replacement summary."""
    item = find_item(call.db, call.vault.id, call.path["item_id"])
    if item is None:
        raise item_not_found()
    key = current_signer(call.db, call.agent.id, call.vault.id)
    record = exact(call.body, "body", frozenset({"summaryCheckpoint"}))
    summary = read_summary(record.members["summaryCheckpoint"], "summaryCheckpoint")
    check_next_summary(key, call.vault, summary, removes=item.line.id)
    replace_summary(call.db, summary)
    archive_row(call.db, item.line.id)
    return Reply(204, None)


ROUTES: Final = (
    Route(LIST_ITEMS, list_items),
    Route(GET_ITEM, get_item),
    Route(GET_FIELD, get_field),
    Route(GET_ENVIRONMENT, get_environment),
    Route(CREATE_ITEM, create_item, "vault_item_creation_failed", max_body=64 * MIB),
    # The contract names no code for a refused change.
    Route(UPDATE_ITEM, update_item, max_body=64 * MIB),
    Route(ARCHIVE_ITEM, archive_item, "vault_item_creation_failed", max_body=16 * MIB),
)
