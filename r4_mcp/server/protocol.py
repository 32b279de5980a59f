"""From outcomes to what the protocol has for an error: a JSON-RPC code, one sentence, and the explanation as its data.

What this file does not do: explain. ``explain`` writes the sentences, and egress has looked at them.

Rules:
1. A resource that is not there has a code of its own until 2025-11-25; from 2026-07-28 on it is an invalid parameter, as is
   whatever else the caller has to correct.
2. The sentence never repeats what was asked for.
"""

from __future__ import annotations

from typing import Any, Final

import mcp_types as types
from mcp.shared.exceptions import MCPError

from r4_mcp.errors import AbsentError, CallerError, NotFoundError, SecretInTextError
from r4_mcp.server.approval import STATELESS_ERA, Context
from r4_mcp.server.dispatch import Outcome
from r4_mcp.server.explain import NEXT_STEPS

RESOURCE_NOT_FOUND: Final = -32002
"""https://modelcontextprotocol.io/specification/2025-11-25/server/resources#error-handling."""

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


def answered_about_resource(outcome: Outcome, ctx: Context) -> dict[str, Any]:
    """Return what an outcome about one resource holds.

    Raises:
        MCPError: It is an error; where the resource is not there, with the code that the client's era has for it (rule 1).
    """
    return _answered(outcome, types.INVALID_PARAMS if ctx.protocol_version >= STATELESS_ERA else RESOURCE_NOT_FOUND)


def _answered(outcome: Outcome, absent: int) -> dict[str, Any]:
    if not outcome.is_error:
        return outcome.payload
    code = outcome.payload["code"]
    number = absent if code in _ABSENT else types.INVALID_PARAMS if code in _CALLERS else types.INTERNAL_ERROR
    raise MCPError(number, outcome.payload["message"], outcome.payload)
