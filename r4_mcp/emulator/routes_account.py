"""Endpoints about the agent itself: who it is, its key, its projects, its feedback.

What this file does not do: touch vault contents.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from r4_mcp.core.encoding import Json
from r4_mcp.core.keys import load_public_key
from r4_mcp.core.record import Record, open_record
from r4_mcp.core.wire import KeyId, read_wrapped_key
from r4_mcp.emulator.dispatch import Call, Route
from r4_mcp.emulator.project_rows import Feedback, accessible_projects, add_feedback, find_project
from r4_mcp.emulator.refusal import Reply, project_not_found
from r4_mcp.emulator.registration import KeyRequest, register
from r4_mcp.emulator.signing_keys import MAX_HOSTNAME, active_key
from r4_mcp.emulator.store import fact
from r4_mcp.emulator.vault_rows import visible_vaults
from r4_mcp.emulator.views import project_detail_view, project_view
from r4_mcp.errors import MalformedError
from r4_mcp.machine.contract import (
    FEEDBACK,
    GET_PROJECT,
    KIB,
    LIST_PROJECTS,
    MAX_FEEDBACK,
    ME,
    MIB,
    REGISTER_KEY,
    Permission,
)


class Surface(StrEnum):
    """Where a feedback report comes from (contract §2)."""

    CLI = "CLI"
    SDK = "SDK"
    MCP = "MCP"
    MACHINE_API = "MACHINE_API"
    OTHER = "OTHER"


def me(call: Call) -> Reply:
    """Say who the API key is (contract §6)."""
    key = active_key(call.db, call.agent.id)
    allowed = call.agent.may(Permission.VAULT_WRITE)
    reason = None if allowed else f"the API key lacks the permission {Permission.VAULT_WRITE.value}"
    permissions: list[Json] = [*sorted(call.agent.permissions)]
    return Reply(
        200,
        {
            "scope": "AGENT",
            "agentId": call.agent.id,
            "agentName": call.agent.name,
            "tenantId": fact(call.db, "tenant_id"),
            "orgId": fact(call.db, "org_id"),
            "permissions": permissions,
            "activeEncryptionKeyId": None if key is None else key.id,
            "activeFingerprint": None if key is None else key.public.fingerprint,
            "vaultWrite": {"allowed": allowed, "reason": reason},
        },
    )


def register_key(call: Call) -> Reply:
    """Register or rotate the agent's public key (contract §5)."""
    record = open_record(call.body, "body")
    key_id, previous_id = _optional_id(record, "encryptionKeyId"), _optional_id(record, "previousEncryptionKeyId")
    request = KeyRequest(
        public=load_public_key(record.text("publicKey"), what="publicKey"),
        key_id=key_id,
        previous_id=previous_id,
        rotation_signature=record.text("rotationSignature") if record.has("rotationSignature") else None,
        batch=record.parts("rewrappedVaultKeys", read_wrapped_key) if record.has("rewrappedVaultKeys") else None,
        hostname=_hostname(call.hostname),
    )
    key = register(call.db, call.agent.id, request)
    return Reply(
        201,
        {
            "encryptionKeyId": key.id,
            "publicKey": key.public.pem,
            "fingerprint": key.public.fingerprint,
            "previousEncryptionKeyId": key.previous_id,
            "rotationSignature": key.rotation_signature,
        },
    )


def list_projects(call: Call) -> Reply:
    """List the projects that the agent may see, counting the vaults in them that it may see."""
    projects: list[Json] = [
        project_view(project, len(visible_vaults(call.db, call.agent.id, project.id)))
        for project in accessible_projects(call.db, call.agent.id)
    ]
    return Reply(200, {"projects": projects})


def get_project(call: Call) -> Reply:
    """Show one project with its vaults."""
    project = find_project(call.db, call.agent.id, call.path["project_id"])
    if project is None:
        raise project_not_found()
    vaults = visible_vaults(call.db, call.agent.id, project.id)
    return Reply(200, project_detail_view(project, vaults, fact(call.db, "tenant_id")))


def feedback(call: Call) -> Reply:
    """Record a product gap."""
    record = open_record(call.body, "body")
    desired = _feedback_text(record, "desiredOutcome") if record.has("desiredOutcome") else None
    report = Feedback(
        surface=record.choice("surface", Surface),
        summary=_feedback_text(record, "summary"),
        details=_feedback_text(record, "details"),
        desired_outcome=desired,
    )
    report_id, at = add_feedback(call.db, call.agent.id, report)
    return Reply(201, {"id": report_id, "submittedAt": at, "notified": False})


def _feedback_text(record: Record, key: str) -> str:
    text = record.text(key, max_length=MAX_FEEDBACK)
    if not text.strip():
        raise MalformedError(f"body.{key} is empty")
    return text


def _optional_id(record: Record, key: str) -> KeyId | None:
    return KeyId(record.identifier(key)) if record.has(key) else None


def _hostname(claimed: str | None) -> str | None:
    # Best effort and for the operator's eyes only, so an odd one is left out instead of refused.
    if claimed is None or not claimed.isascii() or not claimed.isprintable() or len(claimed) > MAX_HOSTNAME:
        return None
    return claimed or None


ROUTES: Final = (
    Route(ME, me),
    Route(REGISTER_KEY, register_key, max_body=4 * MIB),
    Route(LIST_PROJECTS, list_projects),
    Route(GET_PROJECT, get_project),
    Route(FEEDBACK, feedback, max_body=256 * KIB),
)
