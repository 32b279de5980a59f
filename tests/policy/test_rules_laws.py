"""Laws of the rules, for any policy and any target."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from r4_mcp.core.wire import Classification, FieldId, FieldType, ItemId, VaultId
from r4_mcp.policy.model import (
    ACTION_DEFAULTS,
    REVEAL_DEFAULTS,
    UNAIMED,
    Action,
    Policy,
    PolicyClass,
    PolicyRule,
    Switches,
    Target,
    Verdict,
)
from r4_mcp.policy.rules import decide, deny_early

OFF: Final = Switches()
# Two of each, so that rules and targets meet often.
VAULTS: Final = st.sampled_from([VaultId("a" * 24), VaultId("b" * 24)])
ITEMS: Final = st.sampled_from([ItemId("c" * 24), ItemId("d" * 24)])
FIELDS: Final = st.sampled_from([FieldId("e" * 24), FieldId("f" * 24)])
CLASSES: Final = st.frozensets(st.sampled_from(PolicyClass), max_size=3)
TYPES: Final = st.frozensets(st.sampled_from([FieldType.TEXT, FieldType.TOTP]), max_size=1)
VERDICTS: Final = st.sampled_from(Verdict)
ACTIONS: Final = st.sampled_from(Action)
KNOWN: Final = st.builds(
    Target,
    VAULTS,
    st.none() | st.sampled_from(Classification),
    st.sampled_from([FieldType.TEXT, FieldType.TOTP]),
    st.booleans(),
    ITEMS,
    FIELDS,
)


NO_CLASS: Final = st.just(frozenset[PolicyClass]())


@st.composite
def rules(
    draw: st.DrawFn, verdicts: st.SearchStrategy[Verdict] = VERDICTS, classes: st.SearchStrategy[frozenset[PolicyClass]] = CLASSES
) -> PolicyRule:
    """Return any rule: each id only inside what holds it."""
    depth = draw(st.integers(0, 3))
    return PolicyRule(
        number=1,
        verdict=draw(verdicts),
        actions=draw(st.frozensets(ACTIONS, min_size=1)),
        classes=draw(classes),
        field_types=draw(TYPES),
        vault_id=draw(VAULTS) if depth > 0 else None,
        item_id=draw(ITEMS) if depth > 1 else None,
        field_id=draw(FIELDS) if depth > 2 else None,
    )


POLICIES: Final = st.builds(
    Policy,
    rules=st.lists(rules(), max_size=5).map(tuple),
    reveal=st.fixed_dictionaries(dict.fromkeys(REVEAL_DEFAULTS, VERDICTS)),
    other=st.fixed_dictionaries(dict.fromkeys(ACTION_DEFAULTS, VERDICTS)),
)


def strictness(action: Action, target: Target, policy: Policy) -> int:
    """Return how strict a decision is."""
    return decide(action, target, OFF, policy).verdict.strictness


def forget(target: Target, gone: tuple[str, ...]) -> Target:
    """Return a target of which less is known."""
    return Target(
        vault_id=target.vault_id,
        classification=target.classification,
        field_type=None if "type" in gone else target.field_type,
        verified=target.verified,
        item_id=None if "item" in gone else target.item_id,
        field_id=None if "field" in gone else target.field_id,
    )


@given(POLICIES, rules(st.just(Verdict.DENY)), ACTIONS, KNOWN, st.integers(0, 5))
def test_adding_a_deny_never_opens_anything(policy: Policy, denial: PolicyRule, action: Action, target: Target, at: int) -> None:
    """Wherever it is put; and where it matches, it is denied."""
    more = replace(policy, rules=(*policy.rules[:at], denial, *policy.rules[at:]))
    assert strictness(action, target, more) >= strictness(action, target, policy)
    if denial.matches(action, target, unknown=True):
        assert decide(action, target, OFF, more).verdict is Verdict.DENY


@given(POLICIES, rules(classes=NO_CLASS), ACTIONS, KNOWN)
def test_adding_a_rule_that_names_no_class_never_opens_anything(
    policy: Policy, rule: PolicyRule, action: Action, target: Target
) -> None:
    """Whatever it says (rule 5)."""
    assert strictness(action, target, replace(policy, rules=(*policy.rules, rule))) >= strictness(action, target, policy)


@given(POLICIES, rules(), ACTIONS, KNOWN)
def test_a_rule_opens_only_the_classes_that_it_names(policy: Policy, rule: PolicyRule, action: Action, target: Target) -> None:
    """So an allow stays behind when its vault is reclassified."""
    more = replace(policy, rules=(*policy.rules, rule))
    if target.policy_class not in rule.classes:
        assert strictness(action, target, more) >= strictness(action, target, policy)


@given(POLICIES, st.randoms(use_true_random=False), ACTIONS, KNOWN)
def test_the_order_of_rules_means_nothing(policy: Policy, random: Random, action: Action, target: Target) -> None:
    """Shuffled, they decide the same."""
    shuffled = list(policy.rules)
    random.shuffle(shuffled)
    assert strictness(action, target, replace(policy, rules=tuple(shuffled))) == strictness(action, target, policy)


@given(
    POLICIES,
    st.sampled_from([Action.REVEAL, Action.ARCHIVE]),
    KNOWN,
    st.sampled_from([("field",), ("item", "field"), ("type",), ("item", "field", "type")]),
)
def test_knowing_less_never_opens_anything(policy: Policy, action: Action, target: Target, gone: tuple[str, ...]) -> None:
    """A gate that forgets to say an id is stricter, not laxer (rule 6)."""
    assert strictness(action, forget(target, gone), policy) >= strictness(action, target, policy)


@given(POLICIES, ACTIONS, KNOWN)
def test_what_is_denied_early_is_denied_late(policy: Policy, action: Action, target: Target) -> None:
    """For every target; and what is aimed at nothing is denied early wherever it is denied at all."""
    denied = decide(action, Target() if action in UNAIMED else target, OFF, policy).verdict is Verdict.DENY
    if deny_early(action, OFF, policy) is not None:
        assert denied
    elif action in UNAIMED:
        assert not denied


@given(POLICIES, KNOWN)
def test_nothing_allows_rotating_the_key(policy: Policy, target: Target) -> None:
    """Whatever is written (rule 7)."""
    assert decide(Action.ROTATE, target, OFF, policy).verdict is not Verdict.ALLOW


@given(POLICIES, ACTIONS, KNOWN, st.builds(Switches, st.booleans(), st.booleans()))
def test_a_switch_never_opens_anything(policy: Policy, action: Action, target: Target, switches: Switches) -> None:
    """And a closed policy opens nothing at all."""
    assert decide(action, target, switches, policy).verdict.strictness >= strictness(action, target, policy)
    assert decide(action, target, switches, replace(policy, closed="x")).verdict is Verdict.DENY
