"""From outcomes to what the protocol has for an error: a JSON-RPC code, one sentence, and the explanation as its data.

What this file does not do: explain. ``explain`` writes the sentences, and egress has looked at them.

Rules:
1. A resource that is not there has a code of its own until 2025-11-25; from 2026-07-28 on it is an invalid parameter, as is
   whatever else the caller has to correct.
2. The sentence never repeats what was asked for. The URI of a resource that is not there stands beside it as ``data.uri``, as the
   specification has it, where it is a URI at all and may leave.
3. What has one page has no cursors: whatever a client sends as one is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import mcp_types as types
from mcp.shared.exceptions import MCPError

from r4_mcp.errors import AbsentError, CallerError, InvalidArgumentError, NotFoundError, SecretInTextError
from r4_mcp.server.approval import STATELESS_ERA, Context
from r4_mcp.server.dispatch import Outcome
from r4_mcp.server.explain import NEXT_STEPS, explain

RESOURCE_NOT_FOUND: Final = -32002
"""https://modelcontextprotocol.io/specification/2025-11-25/server/resources#error-handling."""

MAX_URI: Final = 2048
"""Characters of a URI that is given back."""

_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+", re.ASCII)
"""A scheme and what follows it, in visible ASCII: RFC 3986 §3 is stricter, but has no other characters."""

_ABSENT: Final = frozenset({NotFoundError.code, AbsentError.code})
_CALLERS: Final = frozenset(
    error.code for error in NEXT_STEPS if issubclass(error, (CallerError, AbsentError, SecretInTextError))
)


def answered(outcome: Outcome) -> dict[str, Any]:
    """Return what an outcome holds.

    Raises:
        MCPError: It is an error; with its explanation as data.
    """
    return _answered(outcome, types.INVALID_PARAMS)


def answered_about_resource(outcome: Outcome, ctx: Context, repeatable: Callable[[], str | None]) -> dict[str, Any]:
    """Return what an outcome about one resource holds.

    Args:
        outcome: What reading or watching it came to.
        ctx: The client's request, for its era.
        repeatable: Returns the URI that was asked for, where it may leave (rule 2); else None.

    Raises:
        MCPError: It is an error; where the resource is not there, with the code that the client's era has for it (rule 1).
    """
    absent = types.INVALID_PARAMS if ctx.protocol_version >= STATELESS_ERA else RESOURCE_NOT_FOUND
    if outcome.is_error and outcome.payload["code"] in _ABSENT and (uri := repeatable()) is not None:
        raise MCPError(absent, outcome.payload["message"], {**outcome.payload, "uri": uri})
    return _answered(outcome, absent)


def is_uri(text: str) -> bool:
    """Say whether a text is a URI that is short enough to be given back (rule 2)."""
    return len(text) <= MAX_URI and _URI.fullmatch(text) is not None


def require_first_page(params: types.PaginatedRequestParams | None) -> None:
    """Refuse the cursor of a list that has one page (rule 3).

    Raises:
        MCPError: There is one: https://modelcontextprotocol.io/specification/2026-07-28/server/utilities/pagination#error-handling.
    """
    if params is not None and params.cursor is not None:
        refusal = explain(
            InvalidArgumentError("this list has one page, and no cursor of it was ever given", next_step="List without a cursor.")
        )
        raise MCPError(types.INVALID_PARAMS, refusal.message, refusal.payload())


def _answered(outcome: Outcome, absent: int) -> dict[str, Any]:
    if not outcome.is_error:
        return outcome.payload
    code = outcome.payload["code"]
    number = absent if code in _ABSENT else types.INVALID_PARAMS if code in _CALLERS else types.INTERNAL_ERROR
    raise MCPError(number, outcome.payload["message"], outcome.payload)
