"""Endpoints about vaults as a whole: list, show, create, archive, wrapped keys, signer directory.

What this file does not do: items.
"""

from __future__ import annotations

import re
from typing import Final

from r4_mcp.core.encoding import Json, canonical
from r4_mcp.core.record import Record, open_record
from r4_mcp.core.signing import Context, verify
from r4_mcp.core.wire import Classification, KeyId, ProjectId, SummaryCheckpoint, VaultId, read_summary, read_wrapped_key
from r4_mcp.emulator.checks import check_first_summary, current_signer
from r4_mcp.emulator.directory_log import admit, directory_view
from r4_mcp.emulator.dispatch import Call, Route
from r4_mcp.emulator.project_rows import find_project, link_vault, members
from r4_mcp.emulator.refusal import RefusalError, Reply, invalid_request, project_not_found, signer_required
from r4_mcp.emulator.signing_keys import active_key
from r4_mcp.emulator.vault_rows import (
    VaultRow,
    add_vault,
    find_wrapped_key,
    put_grant,
    put_wrapped_key,
    vault_id_used,
    visible_vaults,
)
from r4_mcp.emulator.vault_rows import archive_vault as archive_row
from r4_mcp.emulator.views import vault_view
from r4_mcp.errors import MalformedError
from r4_mcp.machine.contract import (
    ARCHIVE_VAULT,
    CREATE_VAULT,
    GET_DIRECTORY,
    GET_VAULT,
    GET_WRAPPED_KEY,
    KIB,
    LIST_VAULTS,
    PUT_WRAPPED_KEY,
    Level,
)

_TREE_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_CREATE_KEYS: Final = frozenset({"id", "name", "summaryCheckpoint", "projectId", "dataClassification"})


def list_vaults(call: Call) -> Reply:
    """List the vaults that are shared with the agent, in one project or all."""
    wanted = call.query.get("projectId")
    if wanted is not None and find_project(call.db, call.agent.id, wanted) is None:
        raise project_not_found()
    vaults = visible_vaults(call.db, call.agent.id, None if wanted is None else ProjectId(wanted))
    return Reply(200, {"vaults": [_view(call, vault) for vault in vaults]})


def get_vault(call: Call) -> Reply:
    """Show one vault."""
    return Reply(200, _view(call, call.vault))


def create_vault(call: Call) -> Reply:
    """Create a vault; its creator gets ADMIN and is its first signer, members of its project get WRITE."""
    record = open_record(call.body, "body")
    if record.members.keys() - _CREATE_KEYS:
        raise MalformedError("body has a member that the contract does not name")
    key = current_signer(call.db, call.agent.id)
    vault_id = VaultId(record.identifier("id"))
    wanted = SummaryCheckpoint(
        vault_id=vault_id,
        version=1,
        name=record.text("name"),
        classification=record.choice("dataClassification", Classification) if record.has("dataClassification") else None,
        dek_version=1,
        items=(),
        groups=canonical([]),
    )
    summary = read_summary(record.members.get("summaryCheckpoint"), "summaryCheckpoint")
    check_first_summary(key, summary, wanted)
    if vault_id_used(call.db, vault_id):
        raise MalformedError("the vault's id is in use (write rule 7)")
    project_id = _project(call, record)
    add_vault(call.db, summary)
    if project_id is not None:
        link_vault(call.db, project_id, vault_id)
        for member in members(call.db, project_id):
            put_grant(call.db, member, vault_id, Level.WRITE)
    put_grant(call.db, call.agent.id, vault_id, Level.ADMIN)
    admit(call.db, vault_id, key)
    return Reply(201, {"id": vault_id})


def archive_vault(call: Call) -> Reply:
    """Archive a vault."""
    archive_row(call.db, call.vault.id)
    return Reply(204, None)


def get_wrapped_key(call: Call) -> Reply:
    """Serve what is wrapped for the agent's current key."""
    key = active_key(call.db, call.agent.id)
    if key is None:
        raise RefusalError(404, "encryption_key_not_found", "this agent has no registered public key; register it first")
    entry = find_wrapped_key(call.db, call.vault.id, key.id)
    if entry is None:
        raise RefusalError(
            404, "encryption_key_not_found", "no key of this vault is wrapped for this agent; the operator must share it again"
        )
    return Reply(200, entry.payload())


def put_own_wrapped_key(call: Call) -> Reply:
    """Store the wrapped key of a vault that the agent created, for itself."""
    key = current_signer(call.db, call.agent.id, call.vault.id)
    entry = read_wrapped_key(call.body, "wrapped key")
    if entry.signer != key.ref:
        raise signer_required("the wrapped key is not signed with this agent's current key")
    if entry.vault_id != call.vault.id or entry.recipient != key.id or entry.dek_version != call.vault.dek_version:
        raise invalid_request("the wrapped key is for another vault, another key or another DEK version")
    verify(key.public, Context.WRAPPED_DEK, entry.signed_payload(), entry.signature)
    stored = find_wrapped_key(call.db, call.vault.id, key.id)
    if stored is not None and stored != entry:
        # Replacing it could leave the agent with a key that opens nothing.
        raise invalid_request("a wrapped key of this vault is already stored for this agent")
    put_wrapped_key(call.db, entry)
    return Reply(201, entry.payload())


def get_directory(call: Call) -> Reply:
    """Serve the signer directory with its proofs."""
    since = call.query.get("sinceTreeSize")
    if since is not None and not _TREE_SIZE.fullmatch(since):
        raise invalid_request("sinceTreeSize is not a tree size")
    return Reply(200, directory_view(call.db, call.vault.id, None if since is None else int(since)))


def _project(call: Call, record: Record) -> ProjectId | None:
    if not record.has("projectId"):
        return None
    project = find_project(call.db, call.agent.id, record.identifier("projectId"))
    if project is None:
        raise project_not_found()
    return project.id


def _view(call: Call, vault: VaultRow) -> dict[str, Json]:
    return vault_view(vault, _wrapped_for(call, vault))


def _wrapped_for(call: Call, vault: VaultRow) -> KeyId | None:
    key = active_key(call.db, call.agent.id)
    return None if key is None or find_wrapped_key(call.db, vault.id, key.id) is None else key.id


ROUTES: Final = (
    Route(LIST_VAULTS, list_vaults),
    Route(GET_VAULT, get_vault),
    Route(CREATE_VAULT, create_vault, "vault_creation_failed", max_body=64 * KIB),
    Route(ARCHIVE_VAULT, archive_vault),
    Route(GET_WRAPPED_KEY, get_wrapped_key),
    Route(PUT_WRAPPED_KEY, put_own_wrapped_key, max_body=64 * KIB),
    Route(GET_DIRECTORY, get_directory),
)
