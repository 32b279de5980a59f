"""What each tool can't do without, and which tools this server can never use as it stands.

What this file does not do: ask. It is told what the API key holds and what the operator decided.

Rules:
1. Permissions are those of the endpoints that a tool can't avoid, so that they are written once, in ``machine.contract``. A vault
   level is no reason: another vault may be shared at another level.
2. A tool is unavailable only where nothing that it could be called with would be let through. One reason is told, the nearest to
   this machine first: a switch, the policy, the key's permissions, what R4 says about writing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from r4_mcp.core.served import Me
from r4_mcp.machine.contract import (
    ARCHIVE_ITEM,
    ARCHIVE_VAULT,
    CREATE_ITEM,
    CREATE_VAULT,
    FEEDBACK,
    GET_DIRECTORY,
    GET_FIELD,
    GET_ITEM,
    GET_WRAPPED_KEY,
    LIST_ITEMS,
    LIST_PROJECTS,
    REGISTER_KEY,
    SYNC,
    UPDATE_ITEM,
    Endpoint,
    Permission,
    covers,
)
from r4_mcp.policy.model import Action, Policy, Switches, Verdict
from r4_mcp.policy.raw import usable_patterns
from r4_mcp.policy.rules import deny_early
from r4_mcp.policy.views import UnavailableTool


@dataclass(frozen=True, slots=True)
class Needs:
    """What one tool can't do without.

    Attributes:
        actions: One of these must not be denied throughout; none for a tool that nothing denies.
        endpoints: It needs each of them whatever its arguments are, once the runtime's key is registered.
    """

    actions: tuple[Action, ...]
    endpoints: tuple[Endpoint, ...]


_VERIFY: Final = (SYNC, LIST_ITEMS, GET_DIRECTORY)
"""What proves the metadata of vaults and items."""
_OPEN: Final = (*_VERIFY, GET_FIELD, GET_WRAPPED_KEY)
"""What opens a value."""

NEEDS: Final[Mapping[str, Needs]] = {
    "whoami": Needs((), ()),
    "exposure": Needs((Action.LIST,), ()),
    "list_projects": Needs((Action.LIST,), (LIST_PROJECTS,)),
    "list_vaults": Needs((Action.LIST,), _VERIFY),
    "list_items": Needs((Action.LIST,), _VERIFY),
    # The search permission only makes it faster: without it, verified listings are searched.
    "search_items": Needs((Action.LIST,), _VERIFY),
    "describe_item": Needs((Action.LIST,), _VERIFY),
    "read_secret": Needs((Action.REVEAL,), _OPEN),
    # Without a secret they open nothing, and are of no use.
    "http_request": Needs((Action.USE,), _OPEN),
    "run_command": Needs((Action.USE,), _OPEN),
    "write_secret_file": Needs((Action.USE,), _OPEN),
    # Reading back shows that what was created opens.
    "create_vault": Needs((Action.CREATE,), (*_VERIFY, CREATE_VAULT, GET_WRAPPED_KEY)),
    "create_item": Needs((Action.CREATE,), (*_VERIFY, CREATE_ITEM, GET_WRAPPED_KEY)),
    "update_item": Needs((Action.UPDATE,), (*_VERIFY, GET_ITEM, UPDATE_ITEM)),
    "archive_item": Needs((Action.ARCHIVE,), (*_VERIFY, ARCHIVE_ITEM)),
    "archive_vault": Needs((Action.ARCHIVE,), (*_VERIFY, ARCHIVE_VAULT)),
    "rotate_key": Needs((Action.ROTATE,), (*_VERIFY, GET_WRAPPED_KEY, REGISTER_KEY)),
    "report_gap": Needs((Action.REPORT,), (FEEDBACK,)),
    "machine_request": Needs((Action.RAW_READ, Action.RAW_WRITE), ()),
}
"""Tool → what it can't do without. A test compares it with what each tool really calls."""


def unavailable(me: Me | None, switches: Switches, policy: Policy) -> tuple[UnavailableTool, ...]:
    """Return the tools that can never be used as things stand, each with the reason (rule 2).

    Args:
        me: Who the API key is; None where that is not known.
        switches: The operator's switches.
        policy: What the operator wrote.
    """
    reasons = {tool: _reason(tool, needs, me, switches, policy) for tool, needs in NEEDS.items()}
    return tuple(UnavailableTool(tool, reason) for tool, reason in reasons.items() if reason is not None)


def _reason(tool: str, needs: Needs, me: Me | None, switches: Switches, policy: Policy) -> str | None:
    unlisted = _unlisted(tool, switches, policy)
    if unlisted is not None:
        return unlisted
    denials = [_denied_throughout(action, switches, policy) for action in needs.actions]
    if denials and None not in denials:
        return denials[0]
    if me is None:
        return None
    missing = sorted({_lacking(endpoint, me.permissions) for endpoint in needs.endpoints} - {""})
    if missing:
        return f"the API key lacks {', '.join(missing)}, which the operator who manages this agent in R4 can grant"
    if not me.vault_write_allowed and any(Permission.VAULT_WRITE in endpoint.permissions for endpoint in needs.endpoints):
        return "R4 says that this agent may not write to vaults; the operator who manages it can change that"
    return None


def _unlisted(tool: str, switches: Switches, policy: Policy) -> str | None:
    """Return that a tool is hidden because the policy lists nothing for it; None where it is not."""
    if tool == "machine_request" and not usable_patterns(policy, switches):
        return "the operator's policy lists no request that it could make ([machine_request])"
    if tool == "run_command" and not policy.commands:
        return "the operator's policy lists no command that it could run ([run_command])"
    if tool == "write_secret_file" and not policy.roots:
        return "the operator's policy lists no folder that it could write to ([write_secret_file])"
    return None


def _lacking(endpoint: Endpoint, held: Iterable[str]) -> str:
    """Return the permissions of which one is missing, or nothing."""
    granted = tuple(held)
    if not endpoint.permissions or any(covers(granted, permission) for permission in endpoint.permissions):
        return ""
    return " or ".join(endpoint.permissions)


def _denied_throughout(action: Action, switches: Switches, policy: Policy) -> str | None:
    """Return why an action is denied whatever it is aimed at; None where it is not."""
    early = deny_early(action, switches, policy)
    if early is not None:
        return early.reason
    by_class = {Action.REVEAL: policy.reveal, Action.USE: policy.use}
    defaults = by_class[action].values() if action in by_class else (policy.other[action],)
    opens = any(rule.verdict is not Verdict.DENY and rule.classes and action in rule.actions for rule in policy.rules)
    if opens or any(verdict is not Verdict.DENY for verdict in defaults):
        return None
    return f"the operator's policy denies {action.value} for everything"
