"""What a policy is made of: actions, verdicts, classes of vaults, what an action is aimed at, and the operator's rules.

What this file does not do: decide (``rules`` does), or read the policy file (``policy_text`` does). The numbers of rules in its
comments are those of ``rules``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeVar

from r4_mcp.core.wire import Classification, FieldId, FieldType, ItemId, VaultId
from r4_mcp.policy.command_rules import CommandTemplate
from r4_mcp.policy.file_rules import FileRoot
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
        commands: The programs that may be started with secrets.
        roots: The folders below which files with secrets may be written.
        closed: Why it denies everything (rule 2); None for a policy that is understood.
    """

    rules: tuple[PolicyRule, ...] = ()
    reveal: Mapping[PolicyClass, Verdict] = field(default_factory=lambda: REVEAL_DEFAULTS)
    use: Mapping[PolicyClass, Verdict] = field(default_factory=lambda: USE_DEFAULTS)
    other: Mapping[Action, Verdict] = field(default_factory=lambda: ACTION_DEFAULTS)
    budget: Budget = field(default_factory=Budget)
    requests: tuple[RequestPattern, ...] = ()
    openings: Openings = NO_OPENINGS
    commands: tuple[CommandTemplate, ...] = ()
    roots: tuple[FileRoot, ...] = ()
    closed: str | None = None


DEFAULTS: Final = Policy()
"""What holds where the operator wrote no policy."""
