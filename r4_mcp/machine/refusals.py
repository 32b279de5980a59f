"""From a refusal of the service to an error of ours that says what it needs, and who can grant it (contract §1).

What this file does not do: decide what is tried again; ``client`` does.

Rules:
1. The service's text is never forwarded. Of an error body only words of closed lists are taken: a code of the contract, the name
   of a permission.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from r4_mcp.errors import (
    AbsentError,
    PermissionDeniedError,
    RateLimitedError,
    RequestRejectedError,
    ServiceError,
    SignerRefusedError,
    UnauthorizedError,
    VersionConflictError,
)
from r4_mcp.machine import contract
from r4_mcp.machine.contract import Endpoint

KNOWN_CODES: Final = frozenset(
    {
        "unauthorized",
        "missing_api_key",
        "invalid_api_key",
        "agent_scope_required",
        "checkpoint_signer_required",
        "permission_denied",
        "vault_not_found",
        "vault_item_not_found",
        "project_not_found",
        "encryption_key_not_found",
        "vault_creation_failed",
        "vault_item_creation_failed",
        "checkpoint_version_conflict",
        "key_rotation_incomplete",
        "key_already_rotated",
        "encryption_key_required",
    }
)
_SECONDS: Final = re.compile(r"[0-9]{1,6}", re.ASCII)
_ASK_FOR_PERMISSION: Final = "Ask the operator who manages this agent in R4 to grant its API key {}; whoami shows what it has."
_ASK_FOR_LEVEL: Final = (
    "Ask the operator, or whoever has ADMIN access to the vault, to grant this agent {} access; if the API key lacks {}, the "
    "operator who manages the agent grants that."
)
_ASK_FOR_UNNAMED: Final = (
    "Ask the operator who manages this agent in R4: this may need a machine permission of its own, or a role that only an "
    "administrator of the tenant or the organisation grants."
)
_ASK_FOR_AGENT_KEY: Final = (
    "Ask the operator of R4 for an API key of an agent; keys of users, tenants and organisations don't work."
)


def refusal(endpoint: Endpoint, status: int, headers: Mapping[str, str], body: bytes) -> ServiceError:
    """Return what a refusal means.

    Args:
        endpoint: What was called.
        status: The HTTP status; none of success.
        headers: Of the answer.
        body: Of the answer, within its cap.
    """
    service_code, named = _error_members(body)
    where = f"{endpoint.method} {endpoint.path}"
    if status == 401:  # noqa: PLR2004 - HTTP status codes are their own names
        return UnauthorizedError("the service did not accept the API key", status=status, service_code=service_code)
    if status == 403:  # noqa: PLR2004
        return _forbidden(endpoint, service_code, named)
    if status == 404:  # noqa: PLR2004
        return AbsentError(f"{where}: nothing of that id is visible to this agent", status=status, service_code=service_code)
    if status == 409 and service_code == "checkpoint_version_conflict":  # noqa: PLR2004
        return VersionConflictError(f"{where}: someone else wrote first", status=status, service_code=service_code)
    if status == 429:  # noqa: PLR2004
        # Clamped: a service that asks for an hour gets the call's deadline instead.
        asked = headers.get("retry-after", "")
        seconds = min(float(asked), endpoint.seconds) if _SECONDS.fullmatch(asked) else 0.0
        return RateLimitedError(f"{where}: too many requests", status=status, service_code=service_code, retry_after=seconds)
    suffix = f" ({service_code})" if service_code else ""
    return RequestRejectedError(f"{where} was refused with status {status}{suffix}", status=status, service_code=service_code)


def _forbidden(endpoint: Endpoint, service_code: str | None, named: str | None) -> ServiceError:
    """Say which permission or level a refused call needs, and who can grant it."""
    where, reach = f"{endpoint.method} {endpoint.path}", endpoint.level or endpoint.item_level
    if service_code == "checkpoint_signer_required":
        return SignerRefusedError(f"{where}: signed with a key that is not current", status=403, service_code=service_code)
    permission = named or " or ".join(endpoint.permissions) or None
    if service_code == "agent_scope_required":
        message, step = f"{where} is for API keys of scope AGENT, and this one has another scope", _ASK_FOR_AGENT_KEY
    elif permission is None:
        message, step = f"{where} is not allowed for this agent; the service did not name what it needs", _ASK_FOR_UNNAMED
    elif reach is None:
        message, step = f"{where} needs the permission {permission}", _ASK_FOR_PERMISSION.format(permission)
    else:
        message = f"{where} needs the permission {permission} with {reach.value} access to the vault"
        # The service names a permission that is missing (contract §1). Where it names none, the level may be what is missing.
        both = _ASK_FOR_LEVEL.format(reach.value, permission)
        step = _ASK_FOR_PERMISSION.format(permission) if named else both
    return PermissionDeniedError(message, status=403, service_code=service_code, permission=permission, next_step=step)


def _error_members(body: bytes) -> tuple[str | None, str | None]:
    # Rule 1 holds whatever is in there, so its parsing may be lax.
    try:
        parsed: object = json.loads(body)
    except (ValueError, RecursionError):
        return None, None
    error = parsed.get("error") if isinstance(parsed, dict) else None
    if not isinstance(error, dict):
        return None, None
    code, permission = error.get("code"), error.get("requiredPermission")
    known = code if isinstance(code, str) and code in KNOWN_CODES else None
    named = permission if isinstance(permission, str) and contract.is_permission_name(permission) else None
    return known, named
