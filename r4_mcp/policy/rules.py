"""The rules: whether a tool may do what it was asked to, decided from signed metadata and the operator's switches.

What this file does not do: ask, fetch, or read configuration. It is given everything and returns a decision with its reason.

Rules, first match decides:
1. ``R4_READ_ONLY`` denies every write.
2. ``R4_NO_REVEAL`` denies every reveal.
3. What was not verified is never revealed.
4. Everything else is allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from r4_mcp.core.wire import Classification, FieldType, VaultId
from r4_mcp.errors import DeniedError


class Action(StrEnum):
    """What a tool wants to do."""

    LIST = "list"
    REVEAL = "reveal"
    CREATE = "create"
    ARCHIVE = "archive"
    REPORT = "report"

    @property
    def is_write(self) -> bool:
        """Whether it changes what the service keeps of the vaults."""
        return self in {Action.CREATE, Action.ARCHIVE}


@dataclass(frozen=True, slots=True)
class Switches:
    """The operator's switches; the model can't see past them."""

    read_only: bool = False
    no_reveal: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """What an action is aimed at: from signed metadata only."""

    vault_id: VaultId | None = None
    classification: Classification | None = None
    field_type: FieldType | None = None
    verified: bool = True


@dataclass(frozen=True, slots=True)
class Allowed:
    """The proof that a decision was made; ``rule`` is the number of the rule that allowed it."""

    action: Action
    rule: int


def decide(action: Action, target: Target, switches: Switches) -> Allowed:
    """Decide whether an action may happen.

    Raises:
        DeniedError: Rules 1 to 3; the message names the switch.
    """
    if action.is_write and switches.read_only:
        raise DeniedError("this server is read-only: the operator set R4_READ_ONLY (rule 1)")
    if action is Action.REVEAL and switches.no_reveal:
        raise DeniedError("this server reveals no values: the operator set R4_NO_REVEAL (rule 2)")
    if action is Action.REVEAL and not target.verified:
        raise DeniedError("a value whose metadata is not verified is never revealed (rule 3)")
    return Allowed(action, 4)
