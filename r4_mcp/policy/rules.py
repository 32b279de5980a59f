"""The rules: whether a tool may do what it was asked to, decided from signed metadata and what the operator wrote.

What this file does not do: ask, fetch, or read configuration. It is given everything and returns a decision with its reason.

Rules:
1. The switches win: ``R4_READ_ONLY`` denies every write, ``R4_NO_REVEAL`` every reveal.
2. A closed policy, one that is empty or not understood, denies everything.
3. Of all policy rules that match, the strictest decides; their order means nothing. So a deny always bites, and adding one never
   opens anything. (With the first match deciding, a deny that a command appends would not bite under an older allow.)
4. Where none matches, the default decides: for a reveal that of the vault's class, else that of the action.
5. A rule opens what a default closes only where it names the class, so that no rule follows a vault into another class, or to
   where nothing is verified. Any other rule only closes: the stricter of it and the default decides.
6. What is not known of a target could be anything: rules that ask or deny match it, rules that allow don't. Metadata that is not
   verified is a class of its own, whatever class and field type it claims.
7. Rotating the key always asks, unless it is denied.
8. Which raw requests there may be is a list of the policy, empty by default. What is listed is decided by whether it reads or
   writes: reading is allowed, since the list says what is read; writing asks, since a list can't say what is written.
9. A use without showing is decided field by field, by a table of classes of its own. A rule that names a host is about requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from r4_mcp.policy.model import BY_CLASS, DEFAULTS, UNAIMED, Action, Policy, PolicyRule, Switches, Target, Verdict


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


_WHAT: Final = {
    Action.LIST: "listing",
    Action.REVEAL: "revealing this value",
    Action.USE: "using this value",
    Action.CREATE: "creating this",
    Action.UPDATE: "changing this",
    Action.ARCHIVE: "archiving this",
    Action.ROTATE: "rotating the key",
    Action.REPORT: "reporting a gap",
    Action.RAW_READ: "this request",
    Action.RAW_WRITE: "this request",
}
_SAYS: Final = {Verdict.ALLOW: "is allowed", Verdict.ASK: "needs a person's yes", Verdict.DENY: "is denied"}
_CANT_ASK: Final = "This client can't ask the user."
_FIELD_DEPTH: Final = 3
"""Ids that name one field. A value is never a reason to allow a whole vault."""


def decide(action: Action, target: Target, switches: Switches, policy: Policy = DEFAULTS, options: str = "") -> Decision:
    """Decide whether an action may happen, once it is known what it is aimed at.

    Args:
        action: What is about to be done.
        target: What it is aimed at; with all ids and types that are known, since what is missing matches every deny (rule 6).
        switches: The operator's switches.
        policy: What the operator wrote.
        options: What the operator's command of a way out needs to reach the same vault, such as " --local".
    """
    denial = _shut(action, switches, policy)
    if denial is not None:
        return denial
    matching = [rule for rule in policy.rules if rule.matches(action, target, unknown=rule.verdict is not Verdict.ALLOW)]
    default = _default(action, target, policy, options)
    if matching:
        strictest = max(matching, key=lambda rule: rule.verdict.strictness)
        ruled = _decision(action, strictest.verdict, strictest.title, _way_out(action, target, strictest, options))
        # The key is in no class, so no rule opens its rotation (rule 7).
        opened = action not in UNAIMED and any(rule.opens(action, target) for rule in matching)
        if opened or ruled.verdict.strictness >= default.verdict.strictness:
            return ruled
    return default


def deny_early(action: Action, switches: Switches, policy: Policy = DEFAULTS) -> Decision | None:
    """Return the denial that holds whatever an action is aimed at; None where that depends, or where it is not denied.

    Args:
        action: What is about to be done.
        switches: The operator's switches.
        policy: What the operator wrote.
    """
    denial = _shut(action, switches, policy)
    if denial is not None:
        return denial
    if action in UNAIMED:
        decision = decide(action, Target(), switches, policy)
        return decision if decision.verdict is Verdict.DENY else None
    for rule in policy.rules:
        names = rule.classes or rule.field_types or rule.vault_id or rule.item_id or rule.field_id or rule.sinks or rule.hosts
        if rule.verdict is Verdict.DENY and action in rule.actions and not names:
            return _decision(action, Verdict.DENY, rule.title)
    return None


def _shut(action: Action, switches: Switches, policy: Policy) -> Decision | None:
    if action.is_write and switches.read_only:
        reason = "this server is read-only: the operator set R4_READ_ONLY"
        return Decision(action, Verdict.DENY, "R4_READ_ONLY", reason)
    if action is Action.REVEAL and switches.no_reveal:
        reason = "this server reveals no values: the operator set R4_NO_REVEAL"
        return Decision(action, Verdict.DENY, "R4_NO_REVEAL", reason)
    if policy.closed is not None:
        said = f"{policy.closed}; `r4-mcp policy check` says more"
        reason = f"everything is denied, because the operator's policy can't be used: {said}"
        return Decision(action, Verdict.DENY, "policy closed", reason)
    return None


def _default(action: Action, target: Target, policy: Policy, options: str) -> Decision:
    if action in BY_CLASS:
        found, table = target.policy_class, policy.reveal if action is Action.REVEAL else policy.use
        return _decision(action, table[found], f"default: {found.value}", _way_out(action, target, None, options))
    verdict = policy.other[action]
    if action is Action.ROTATE and verdict is Verdict.ALLOW:
        verdict = Verdict.ASK
    return _decision(action, verdict, f"default: {action.value}", _way_out(action, target, None, options))


def _decision(action: Action, verdict: Verdict, rule: str, way_out: str | None = None) -> Decision:
    reason = f"{_WHAT[action]} {_SAYS[verdict]} ({rule})"
    return Decision(action, verdict, rule, reason, way_out if verdict is Verdict.ASK else None)


def _way_out(action: Action, target: Target, rule: PolicyRule | None, options: str) -> str:
    """Say what the operator can do, with ids only: names come from others."""
    if action is Action.ROTATE:
        return f"{_CANT_ASK} The operator runs `r4-mcp rotate-key{options}` on this machine."
    if rule is not None:
        return f"{_CANT_ASK} Only changing rule {rule.number} of the operator's policy file allows it."
    if not target.verified:
        return f"{_CANT_ASK} In the operator's policy file, only a rule or default for UNVERIFIED allows it."
    if action in UNAIMED or len(target.ids) < (_FIELD_DEPTH if action in BY_CLASS else 1):
        return f"{_CANT_ASK} The operator can allow it in the policy file, under [defaults]."
    about = "" if action is Action.REVEAL else f" --action {action.value}"
    return f"{_CANT_ASK} The operator can allow it: `r4-mcp policy allow r4://{'/'.join(target.ids)}{about}{options}`."
