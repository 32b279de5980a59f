"""The rules: whether a tool may do what it was asked to, decided from signed metadata and the operator's switches.

What this file does not do: ask, fetch, or read configuration. It is given everything and returns a decision with its reason.

Rules, first match decides:
1. ``R4_READ_ONLY`` denies every write.
2. ``R4_NO_REVEAL`` denies every reveal.
3. What was not verified is never revealed.
4. Rotating the key always asks a person.
5. Everything else is allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from r4_mcp.core.wire import Classification, FieldType, VaultId


class Action(StrEnum):
    """What a tool wants to do."""

    LIST = "list"
    REVEAL = "reveal"
    CREATE = "create"
    ARCHIVE = "archive"
    ROTATE = "rotate"
    REPORT = "report"

    @property
    def is_write(self) -> bool:
        """Whether it changes what the service keeps of the vaults or of the key."""
        return self in {Action.CREATE, Action.ARCHIVE, Action.ROTATE}


class Verdict(StrEnum):
    """What may happen, from open to closed."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


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
class Decision:
    """What the rules said.

    Attributes:
        action: About what.
        verdict: What may happen.
        rule: Short name of the rule that decided; goes into the audit log.
        reason: One sentence with the rule; for a caller that is refused or must ask.
        way_out: What the operator can do where a client can't ask.
    """

    action: Action
    verdict: Verdict
    rule: str
    reason: str = ""
    way_out: str | None = None


def decide(action: Action, target: Target, switches: Switches) -> Decision:
    """Decide whether an action may happen."""
    if action.is_write and switches.read_only:
        return Decision(action, Verdict.DENY, "rule 1", "this server is read-only: the operator set R4_READ_ONLY (rule 1)")
    if action is Action.REVEAL and switches.no_reveal:
        reason = "this server reveals no values: the operator set R4_NO_REVEAL (rule 2)"
        return Decision(action, Verdict.DENY, "rule 2", reason)
    if action is Action.REVEAL and not target.verified:
        return Decision(action, Verdict.DENY, "rule 3", "a value whose metadata is not verified is never revealed (rule 3)")
    if action is Action.ROTATE:
        return Decision(
            action,
            Verdict.ASK,
            "rule 4",
            "rotating the key needs a person's yes (rule 4)",
            "This client can't ask the user. The operator runs `r4-mcp rotate-key` on this machine.",
        )
    return Decision(action, Verdict.ALLOW, "rule 5")
