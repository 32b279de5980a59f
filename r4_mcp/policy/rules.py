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

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeVar

from r4_mcp.core.wire import Classification, FieldId, FieldType, ItemId, VaultId
from r4_mcp.policy.raw_request import RequestPattern
from r4_mcp.policy.use_rules import NO_OPENINGS, Openings, Sink

WordT = TypeVar("WordT", bound=str)

MAX_BUDGET: Final = 1_000
"""The highest reveal budget that can be set, in fields."""


class Action(StrEnum):
    """What a tool wants to do."""

    LIST = "list"
    REVEAL = "reveal"
    USE = "use"
    CREATE = "create"
    UPDATE = "update"
    ARCHIVE = "archive"
    ROTATE = "rotate"
    REPORT = "report"
    RAW_READ = "raw_read"
    RAW_WRITE = "raw_write"

    @property
    def is_write(self) -> bool:
        """Whether it changes what the service keeps of the vaults or of the key, or may change anything else there."""
        return self in {Action.CREATE, Action.UPDATE, Action.ARCHIVE, Action.ROTATE, Action.RAW_WRITE}


UNAIMED: Final = frozenset({Action.LIST, Action.ROTATE, Action.REPORT, Action.RAW_READ, Action.RAW_WRITE})
"""Actions that are decided as such, not for one vault or another."""
BY_CLASS: Final = frozenset({Action.REVEAL, Action.USE})
"""Actions on one field, whose default is that of the vault's class."""


class Verdict(StrEnum):
    """What may happen, from open to closed."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"

    @property
    def strictness(self) -> int:
        """0 for the most open one, more for a stricter one."""
        return tuple(Verdict).index(self)


class PolicyClass(StrEnum):
    """What a policy tells vaults apart by: the signed classification, signed as null, or not signed."""

    PUBLIC = "PUBLIC"
    INTERNAL = "INTERNAL"
    UNCLASSIFIED = "UNCLASSIFIED"
    CONFIDENTIAL = "CONFIDENTIAL"
    CUI = "CUI"
    UNVERIFIED = "UNVERIFIED"


REVEAL_DEFAULTS: Final = MappingProxyType(
    {
        PolicyClass.PUBLIC: Verdict.ALLOW,
        PolicyClass.INTERNAL: Verdict.ALLOW,
        PolicyClass.UNCLASSIFIED: Verdict.ALLOW,
        PolicyClass.CONFIDENTIAL: Verdict.ASK,
        PolicyClass.CUI: Verdict.DENY,
        PolicyClass.UNVERIFIED: Verdict.ASK,
    }
)
USE_DEFAULTS: Final = MappingProxyType({**REVEAL_DEFAULTS, PolicyClass.UNVERIFIED: Verdict.DENY})
ACTION_DEFAULTS: Final = MappingProxyType(
    {
        Action.LIST: Verdict.ALLOW,
        Action.CREATE: Verdict.ALLOW,
        Action.UPDATE: Verdict.ALLOW,
        Action.ARCHIVE: Verdict.ALLOW,
        Action.ROTATE: Verdict.ASK,
        Action.REPORT: Verdict.ALLOW,
        Action.RAW_READ: Verdict.ALLOW,
        Action.RAW_WRITE: Verdict.ASK,
    }
)


@dataclass(frozen=True, slots=True)
class Switches:
    """The operator's switches; the model can't see past them."""

    read_only: bool = False
    no_reveal: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """What an action is aimed at: from signed metadata only.

    Attributes:
        vault_id: The vault; None for a vault that is about to be created, and where nothing is aimed at.
        classification: The vault's, None where it has none.
        field_type: Type of the field; None where it is not one field.
        verified: Whether all of it comes from verified signatures.
        item_id: The item; None for the whole vault.
        field_id: The field; None for the whole item.
        sink: What a use goes through; None for other actions, and where it is not known.
        host: Where a request goes, as A-labels; None where there is none, and where it is not known.
    """

    vault_id: VaultId | None = None
    classification: Classification | None = None
    field_type: FieldType | None = None
    verified: bool = True
    item_id: ItemId | None = None
    field_id: FieldId | None = None
    sink: Sink | None = None
    host: str | None = None

    @property
    def policy_class(self) -> PolicyClass:
        """The class that a policy puts it in (rule 6)."""
        if not self.verified:
            return PolicyClass.UNVERIFIED
        return PolicyClass.UNCLASSIFIED if self.classification is None else PolicyClass(self.classification.value)

    @property
    def ids(self) -> tuple[str, ...]:
        """Its ids, from the vault down to where it ends."""
        parts = (self.vault_id, self.item_id, self.field_id)
        known = next((index for index, part in enumerate(parts) if part is None), len(parts))
        return tuple(part for part in parts[:known] if part is not None)


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One rule of the operator's policy. It matches what fits all that it names; what it doesn't name may be anything.

    Attributes:
        number: Its place in the file, from 1.
        verdict: What may happen.
        actions: What it is about.
        classes: Classes of vaults; empty for any.
        field_types: Types of fields; empty for any.
        vault_id: One vault; None for any.
        item_id: One item of the vault; None for any.
        field_id: One field of the item; None for any.
        sinks: Ways to use a secret; empty for any.
        hosts: Where requests go; empty for any.
        name: What people call it; it decides nothing.
    """

    number: int
    verdict: Verdict
    actions: frozenset[Action]
    classes: frozenset[PolicyClass] = frozenset()
    field_types: frozenset[FieldType] = frozenset()
    vault_id: VaultId | None = None
    item_id: ItemId | None = None
    field_id: FieldId | None = None
    sinks: frozenset[Sink] = frozenset()
    hosts: frozenset[str] = frozenset()
    name: str = ""

    @property
    def title(self) -> str:
        """Its name in reasons and in the audit log."""
        return f"policy rule {self.number}"

    def matches(self, action: Action, target: Target, *, unknown: bool) -> bool:
        """Say whether it matches.

        Args:
            action: What is about to be done.
            target: What it is aimed at.
            unknown: What counts where the rule names something that is not known of the target (rule 6).
        """
        if action not in self.actions or (self.classes and target.policy_class not in self.classes):
            return False
        # A new vault is none that a rule can name.
        in_vault = False if action is Action.CREATE and target.vault_id is None else unknown
        # A type that is not verified is only claimed.
        field_type = target.field_type if target.verified else None
        return (
            _fits(self.vault_id, target.vault_id, unknown=in_vault)
            and _fits(self.item_id, target.item_id, unknown=unknown)
            and _fits(self.field_id, target.field_id, unknown=unknown)
            and _is_among(self.field_types, field_type, unknown=unknown)
            and _is_among(self.sinks, target.sink, unknown=unknown)
            # What goes through another sink goes to no host.
            and _is_among(self.hosts, target.host, unknown=unknown and target.sink in {None, Sink.HTTP_REQUEST})
        )

    def opens(self, action: Action, target: Target) -> bool:
        """Say whether it may open what a default closes (rule 5)."""
        return bool(self.classes) and self.matches(action, target, unknown=False)


def _fits(named: str | None, known: str | None, *, unknown: bool) -> bool:
    if named is None:
        return True
    return unknown if known is None else named == known


def _is_among(named: frozenset[WordT], known: WordT | None, *, unknown: bool) -> bool:
    return not named or (unknown if known is None else known in named)


@dataclass(frozen=True, slots=True)
class Budget:
    """How many fields may be revealed before a person is asked.

    Attributes:
        per_connection: Fields of one connection.
        per_hour: Fields of an hour, over all connections of the agent.
    """

    per_connection: int = 20
    per_hour: int = 60


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator wrote.

    Attributes:
        rules: The rules, in file order.
        reveal: What holds for a reveal by default, for every class.
        use: What holds for a use without showing by default, for every class.
        other: What holds for every other action by default.
        budget: The reveal budget.
        requests: The raw requests that there may be.
        openings: What is open for requests that hold secrets.
        closed: Why it denies everything (rule 2); None for a policy that is understood.
    """

    rules: tuple[PolicyRule, ...] = ()
    reveal: Mapping[PolicyClass, Verdict] = field(default_factory=lambda: REVEAL_DEFAULTS)
    use: Mapping[PolicyClass, Verdict] = field(default_factory=lambda: USE_DEFAULTS)
    other: Mapping[Action, Verdict] = field(default_factory=lambda: ACTION_DEFAULTS)
    budget: Budget = field(default_factory=Budget)
    requests: tuple[RequestPattern, ...] = ()
    openings: Openings = NO_OPENINGS
    closed: str | None = None


DEFAULTS: Final = Policy()
"""What holds where the operator wrote no policy."""


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
