"""``r4-mcp policy`` over a real vault: what is checked, explained and written, and that nothing is opened on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from r4_mcp.cli.policy import policy_allow, policy_check, policy_explain
from r4_mcp.config import Settings, read_settings
from r4_mcp.core.wire import Classification, FieldId, FieldType, ItemId, VaultId
from r4_mcp.errors import (
    AmbiguousReferenceError,
    CallerError,
    ConfigurationError,
    FileAccessError,
    InvalidArgumentError,
    NotConfiguredError,
    NotFoundError,
    ReferenceSyntaxError,
)
from r4_mcp.policy.egress import Egress
from r4_mcp.policy.policy_file import PolicySource, read_policy
from r4_mcp.policy.rules import Action, PolicyClass, PolicyRule, Switches, Target, Verdict, decide
from r4_mcp.secret import KnownSecrets
from tests.doors import World, local_environment

OFF: Final = Switches()
VAULT: Final = "a" * 24


class Operator:
    """A person who runs the commands, each on its own process's memory."""

    def __init__(self, world: World, **environment: str) -> None:
        self.world = world
        self.path = world.home / "policy.toml"
        self.environment = {**world.environment, **environment}

    def source(self, *, named: bool = False) -> PolicySource:
        """Return the policy as a new process sees it."""
        return PolicySource(self.path, named=named)

    def settings(self, known: KnownSecrets) -> Settings:
        """Read the configuration."""
        return read_settings(self.environment, known)

    def check(self) -> list[str]:
        """Run ``policy check``."""
        return policy_check(self.settings(KnownSecrets()), self.source())

    async def explain(self, reference: str) -> list[str]:
        """Run ``policy explain``; what it says passes the last look."""
        lines = await policy_explain(self.settings(self.world.known), self.world.known, self.source(), reference, local=False)
        Egress(self.world.known).check(lines)
        return lines

    async def allow(self, reference: str, decision: Verdict = Verdict.ALLOW, action: Action = Action.REVEAL) -> list[str]:
        """Run ``policy allow``; what it says passes the last look."""
        known = self.world.known
        lines = await policy_allow(
            self.settings(known), known, self.source(), reference, decision=decision, action=action, local=False
        )
        Egress(known).check(lines)
        return lines

    def rules(self) -> tuple[PolicyRule, ...]:
        """Read back what is written."""
        return read_policy(self.path, named=True).rules

    def write(self, text: str) -> None:
        """Write the policy as with an editor."""
        self.path.write_text(text)
        self.path.chmod(0o600)

    def revealing(self, vault: str, classification: Classification | None, ids: tuple[ItemId, FieldId]) -> Verdict:
        """Return what is decided about a field."""
        target = Target(self.world.vault_id(vault), classification, FieldType.SECRET, True, *ids)
        return decide(Action.REVEAL, target, OFF, self.source().current()).verdict


@pytest.fixture
def operator(world: World) -> Operator:
    """Return the operator of a fresh world."""
    return Operator(world)


def stripe(operator: Operator) -> tuple[str, ItemId, FieldId]:
    """Let the other person create an item with one secret field; returns its reference and ids."""
    made = operator.world.add_item("Production", 'Stripe "live" \u202e', ("Key", FieldType.SECRET, "a-value-of-no-account"))
    return f"r4://Production/{made.item_id}", ItemId(made.item_id), FieldId(made.field_ids["Key"])


async def test_a_rule_is_written_by_id_with_the_class_and_the_names(operator: Operator) -> None:
    """It opens this field, and only while the vault is of this class; nothing was opened to find out."""
    reference, item_id, field_id = stripe(operator)
    ids = (item_id, field_id)
    assert operator.revealing("Production", Classification.CONFIDENTIAL, ids) is Verdict.ASK
    lines = await operator.allow(f"{reference}/Key")
    assert len(lines) == 2
    (rule,) = operator.rules()
    assert rule == PolicyRule(
        1,
        Verdict.ALLOW,
        frozenset({Action.REVEAL}),
        frozenset({PolicyClass.CONFIDENTIAL}),
        vault_id=operator.world.vault_id("Production"),
        item_id=item_id,
        field_id=field_id,
        name='Production / Stripe "live" \\u{202e} / Key',
    )
    assert operator.revealing("Production", Classification.CONFIDENTIAL, ids) is Verdict.ALLOW
    assert operator.revealing("Production", Classification.CUI, ids) is Verdict.DENY
    assert operator.revealing("Production", Classification.CONFIDENTIAL, (item_id, FieldId("0" * 24))) is Verdict.ASK
    assert not any(line.endswith("/wrapped-key") for line in operator.world.tap.lines())
