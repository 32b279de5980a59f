"""The rules as a table: each row is a sentence, what the operator wrote, what is asked, and what is decided by which rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from r4_mcp.core.wire import Classification, FieldId, FieldType, ItemId, VaultId
from r4_mcp.policy.audit_format import AuditEntry
from r4_mcp.policy.model import (
    ACTION_DEFAULTS,
    DEFAULTS,
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

ALLOW, ASK, DENY = Verdict.ALLOW, Verdict.ASK, Verdict.DENY
REVEAL, CREATE, ARCHIVE, ROTATE = Action.REVEAL, Action.CREATE, Action.ARCHIVE, Action.ROTATE
PUBLIC, CONFIDENTIAL, CUI = PolicyClass.PUBLIC, PolicyClass.CONFIDENTIAL, PolicyClass.CUI
VAULT, VAULT2 = VaultId("a" * 24), VaultId("b" * 24)
ITEM, ITEM2 = ItemId("c" * 24), ItemId("d" * 24)
FIELD, FIELD2 = FieldId("e" * 24), FieldId("f" * 24)
OFF: Final = Switches()


def says(
    verdict: Verdict,
    *actions: Action,
    classes: tuple[PolicyClass, ...] = (),
    types: tuple[FieldType, ...] = (),
    vault: VaultId | None = None,
    item: ItemId | None = None,
    field: FieldId | None = None,
) -> PolicyRule:
    """Return a rule; about revealing, where no action is given."""
    return PolicyRule(0, verdict, frozenset(actions or {REVEAL}), frozenset(classes), frozenset(types), vault, item, field)


def policy(*rules: PolicyRule, closed: str | None = None) -> Policy:
    """Return a policy with these rules, numbered."""
    return Policy(tuple(replace(rule, number=number) for number, rule in enumerate(rules, 1)), closed=closed)


def field_in(
    classification: Classification | None, kind: FieldType = FieldType.PASSWORD, *, vault: VaultId = VAULT, verified: bool = True
) -> Target:
    """Return one field as a target."""
    return Target(vault, classification, kind, verified, ITEM, FIELD)


OPEN: Final = field_in(Classification.INTERNAL)
ASKED: Final = field_in(Classification.CONFIDENTIAL)
SHUT: Final = field_in(Classification.CUI)
UNPROVEN: Final = field_in(Classification.PUBLIC, FieldType.TEXT, verified=False)

DEFAULT_TABLE: Final = {
    "a public value is revealed": (REVEAL, field_in(Classification.PUBLIC), ALLOW, "default: PUBLIC"),
    "an internal one too": (REVEAL, OPEN, ALLOW, "default: INTERNAL"),
    "null in a signed summary is unclassified": (REVEAL, field_in(None), ALLOW, "default: UNCLASSIFIED"),
    "a confidential one is asked about": (REVEAL, ASKED, ASK, "default: CONFIDENTIAL"),
    "CUI is denied": (REVEAL, SHUT, DENY, "default: CUI"),
    "what is not verified is asked about, whatever it claims": (REVEAL, UNPROVEN, ASK, "default: UNVERIFIED"),
    "listing is allowed": (Action.LIST, Target(), ALLOW, "default: list"),
    "reporting is allowed": (Action.REPORT, Target(), ALLOW, "default: report"),
    "a listed request that reads is allowed": (Action.RAW_READ, Target(), ALLOW, "default: raw_read"),
    "a listed request that writes asks": (Action.RAW_WRITE, Target(), ASK, "default: raw_write"),
    "creating is allowed, in CUI too": (CREATE, Target(VAULT, Classification.CUI), ALLOW, "default: create"),
    "archiving is allowed": (ARCHIVE, Target(VAULT, item_id=ITEM), ALLOW, "default: archive"),
    "rotating the key is asked about": (ROTATE, Target(), ASK, "default: rotate"),
}


@pytest.mark.parametrize("row", DEFAULT_TABLE)
def test_what_holds_where_nothing_was_written(row: str) -> None:
    """The documented defaults, with three arguments as with four."""
    action, target, verdict, rule = DEFAULT_TABLE[row]
    decision = decide(action, target, OFF)
    assert (decision.verdict, decision.rule) == (verdict, rule)
    assert decide(action, target, OFF, DEFAULTS) == decision


RULE_TABLE: Final = {
    "a rule decides over a default": ([says(ASK)], REVEAL, OPEN, ASK, "policy rule 1"),
    "a rule about another action does not": ([says(DENY, CREATE)], REVEAL, OPEN, ALLOW, "default: INTERNAL"),
    "a rule may be about several actions": ([says(DENY, CREATE, ARCHIVE)], ARCHIVE, Target(VAULT), DENY, "policy rule 1"),
    # Contradictions (rule 3).
    "deny before allow": ([says(DENY), says(ALLOW, classes=(CONFIDENTIAL,))], REVEAL, ASKED, DENY, "policy rule 1"),
    "deny after allow": ([says(ALLOW, classes=(CONFIDENTIAL,)), says(DENY)], REVEAL, ASKED, DENY, "policy rule 2"),
    "ask before allow": ([says(ASK), says(ALLOW, classes=(PUBLIC, CONFIDENTIAL))], REVEAL, ASKED, ASK, "policy rule 1"),
    "ask after allow": ([says(ALLOW, classes=(CONFIDENTIAL,)), says(ASK)], REVEAL, ASKED, ASK, "policy rule 2"),
    "deny between others": ([says(ASK), says(DENY), says(ASK)], REVEAL, OPEN, DENY, "policy rule 2"),
    "the first of equals is named": (
        [says(ASK, vault=VAULT2), says(ASK, vault=VAULT), says(ASK)],
        REVEAL,
        OPEN,
        ASK,
        "policy rule 2",
    ),
    "a near allow does not beat a far deny": (
        [says(DENY, vault=VAULT), says(ALLOW, classes=(CONFIDENTIAL,), vault=VAULT, item=ITEM, field=FIELD)],
        REVEAL,
        ASKED,
        DENY,
        "policy rule 1",
    ),
    "a far allow does not beat a near deny": (
        [says(ALLOW, classes=(CONFIDENTIAL,)), says(DENY, vault=VAULT, item=ITEM, field=FIELD)],
        REVEAL,
        ASKED,
        DENY,
        "policy rule 2",
    ),
    # What opens (rule 5).
    "an allow of the class opens what is asked": ([says(ALLOW, classes=(CONFIDENTIAL,))], REVEAL, ASKED, ALLOW, "policy rule 1"),
    "an allow of the class opens what is denied": ([says(ALLOW, classes=(CUI,))], REVEAL, SHUT, ALLOW, "policy rule 1"),
    "an ask of the class opens what is denied": ([says(ASK, classes=(CUI,))], REVEAL, SHUT, ASK, "policy rule 1"),
    "an ask of everything opens nothing": ([says(ASK)], REVEAL, SHUT, DENY, "default: CUI"),
    "an ask of the vault opens nothing": ([says(ASK, vault=VAULT)], REVEAL, SHUT, DENY, "default: CUI"),
    "an allow of everything opens nothing": ([says(ALLOW)], REVEAL, ASKED, ASK, "default: CONFIDENTIAL"),
    "an allow by id alone opens nothing": (
        [says(ALLOW, vault=VAULT, item=ITEM, field=FIELD)],
        REVEAL,
        ASKED,
        ASK,
        "default: CONFIDENTIAL",
    ),
    "an allow does not follow its vault into another class": (
        [says(ALLOW, classes=(CONFIDENTIAL,), vault=VAULT)],
        REVEAL,
        SHUT,
        DENY,
        "default: CUI",
    ),
    "an opening rule and one that only closes: the stricter": (
        [says(ALLOW, classes=(CUI,), vault=VAULT), says(ASK, types=(FieldType.PASSWORD,))],
        REVEAL,
        SHUT,
        ASK,
        "policy rule 2",
    ),
    # What matches.
    "the vault matches": ([says(DENY, vault=VAULT)], REVEAL, OPEN, DENY, "policy rule 1"),
    "another vault does not": ([says(DENY, vault=VAULT2)], REVEAL, OPEN, ALLOW, "default: INTERNAL"),
    "another item does not": ([says(DENY, vault=VAULT, item=ITEM2)], REVEAL, OPEN, ALLOW, "default: INTERNAL"),
    "another field does not": ([says(DENY, vault=VAULT, item=ITEM, field=FIELD2)], REVEAL, OPEN, ALLOW, "default: INTERNAL"),
    "the field type matches": ([says(DENY, types=(FieldType.TOTP, FieldType.PASSWORD))], REVEAL, OPEN, DENY, "policy rule 1"),
    "another field type does not": ([says(DENY, types=(FieldType.TOTP,))], REVEAL, OPEN, ALLOW, "default: INTERNAL"),
    "another class does not": ([says(DENY, classes=(CUI,))], REVEAL, OPEN, ALLOW, "default: INTERNAL"),
    "all that a rule names must match": (
        [says(DENY, classes=(CUI,), vault=VAULT), says(DENY, types=(FieldType.TOTP,), vault=VAULT)],
        REVEAL,
        OPEN,
        ALLOW,
        "default: INTERNAL",
    ),
    # What is not known (rule 6).
    "an unknown item may be the denied one": (
        [says(DENY, vault=VAULT, item=ITEM2)],
        REVEAL,
        Target(VAULT),
        DENY,
        "policy rule 1",
    ),
    "an unknown field type may be the denied one": (
        [says(DENY, types=(FieldType.TOTP,))],
        REVEAL,
        Target(VAULT),
        DENY,
        "policy rule 1",
    ),
    "an unknown vault may be the denied one": ([says(DENY, vault=VAULT)], REVEAL, Target(), DENY, "policy rule 1"),
    "an unknown item is not the one that is allowed": (
        [says(ALLOW, classes=(CONFIDENTIAL,), vault=VAULT, item=ITEM)],
        REVEAL,
        Target(VAULT, Classification.CONFIDENTIAL),
        ASK,
        "default: CONFIDENTIAL",
    ),
    "an unknown item is not the one that opens, though it may be the one that asks": (
        [says(ASK, classes=(CUI,), vault=VAULT, item=ITEM)],
        REVEAL,
        Target(VAULT, Classification.CUI),
        DENY,
        "default: CUI",
    ),
    "a vault holds the item that may not be archived": (
        [says(DENY, ARCHIVE, vault=VAULT, item=ITEM)],
        ARCHIVE,
        Target(VAULT),
        DENY,
        "policy rule 1",
    ),
    "a new vault is none that a rule names": ([says(DENY, CREATE, vault=VAULT)], CREATE, Target(), ALLOW, "default: create"),
    "an item in the vault is": ([says(DENY, CREATE, vault=VAULT)], CREATE, Target(VAULT), DENY, "policy rule 1"),
    # What is not verified (rule 6).
    "a claimed class is no class": ([says(ALLOW, classes=(PUBLIC,))], REVEAL, UNPROVEN, ASK, "default: UNVERIFIED"),
    "a claimed field type may be another": ([says(DENY, types=(FieldType.TOTP,))], REVEAL, UNPROVEN, DENY, "policy rule 1"),
    "a claimed field type opens nothing": (
        [says(ALLOW, classes=(PolicyClass.UNVERIFIED,), types=(FieldType.TEXT,))],
        REVEAL,
        UNPROVEN,
        ASK,
        "default: UNVERIFIED",
    ),
    "only a rule on UNVERIFIED opens it": (
        [says(ALLOW, classes=(PolicyClass.UNVERIFIED,), vault=VAULT)],
        REVEAL,
        UNPROVEN,
        ALLOW,
        "policy rule 1",
    ),
    "a rule on its vault closes it": ([says(DENY, vault=VAULT)], REVEAL, UNPROVEN, DENY, "policy rule 1"),
    # Rotating the key (rule 7).
    "no rule allows rotating the key": ([says(ALLOW, ROTATE)], ROTATE, Target(), ASK, "default: rotate"),
    "not by naming a class": (
        [says(ALLOW, ROTATE, classes=(PolicyClass.UNCLASSIFIED,))],
        ROTATE,
        Target(),
        ASK,
        "default: rotate",
    ),
    "a rule denies it": ([says(DENY, ROTATE)], ROTATE, Target(), DENY, "policy rule 1"),
    "a rule asks about it": ([says(ASK, ROTATE)], ROTATE, Target(), ASK, "policy rule 1"),
}


@pytest.mark.parametrize("row", RULE_TABLE)
def test_what_is_decided(row: str) -> None:
    """Each row has the verdict and the rule that the table says."""
    rules, action, target, verdict, rule = RULE_TABLE[row]
    decision = decide(action, target, OFF, policy(*rules))
    assert (decision.verdict, decision.rule) == (verdict, rule)
    assert rule in decision.reason


@pytest.mark.parametrize("found", PolicyClass)
@pytest.mark.parametrize("verdict", Verdict)
def test_a_written_default_decides(found: PolicyClass, verdict: Verdict) -> None:
    """The operator's default for a class holds for that class and no other."""
    written = Policy(reveal={**REVEAL_DEFAULTS, found: verdict})
    for other in PolicyClass:
        proven = None if other in {PolicyClass.UNVERIFIED, PolicyClass.UNCLASSIFIED} else Classification(other.value)
        decision = decide(REVEAL, field_in(proven, verified=other is not PolicyClass.UNVERIFIED), OFF, written)
        assert decision.rule == f"default: {other.value}"
        assert decision.verdict is (verdict if other is found else REVEAL_DEFAULTS[other])


@pytest.mark.parametrize("action", ACTION_DEFAULTS)
@pytest.mark.parametrize("verdict", Verdict)
def test_a_written_default_of_an_action_decides(action: Action, verdict: Verdict) -> None:
    """And still nothing allows rotating the key."""
    decision = decide(action, Target(VAULT), OFF, Policy(other={**ACTION_DEFAULTS, action: verdict}))
    assert decision.verdict is (ASK if (action, verdict) == (ROTATE, ALLOW) else verdict)


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("no_reveal", [False, True])
@pytest.mark.parametrize("closed", [None, "it is empty"])
def test_switches_win_and_a_closed_policy_denies(action: Action, closed: str | None, *, read_only: bool, no_reveal: bool) -> None:
    """Whatever the rules allow: switches first, then the closed policy, and the same early as late."""
    everything = says(ALLOW, *Action, classes=tuple(PolicyClass))
    decision = decide(action, OPEN, Switches(read_only, no_reveal), policy(everything, closed=closed))
    writes = {CREATE, Action.UPDATE, ARCHIVE, ROTATE, Action.RAW_WRITE}
    rule = "R4_READ_ONLY" if read_only and action in writes else "R4_NO_REVEAL" if no_reveal and action is REVEAL else None
    rule = rule or ("policy closed" if closed else None)
    if rule is None:
        # Rules only close what is aimed at nothing, and these two ask by default.
        assert decision.verdict is (ASK if action in {ROTATE, Action.RAW_WRITE} else ALLOW)
        return
    assert (decision.verdict, decision.rule) == (DENY, rule)
    assert deny_early(action, Switches(read_only, no_reveal), policy(everything, closed=closed)) == decision
    if rule == "policy closed":
        assert "it is empty" in decision.reason
        assert "r4-mcp policy check" in decision.reason


EARLY: Final = {
    "a deny of everything": ([says(DENY)], REVEAL, "policy rule 1"),
    "a deny behind others": ([says(ASK), says(DENY, CREATE), says(DENY)], REVEAL, "policy rule 3"),
    "a deny of another action": ([says(DENY, CREATE)], REVEAL, None),
    "an ask": ([says(ASK)], REVEAL, None),
    "a deny of one class": ([says(DENY, classes=(CUI,))], REVEAL, None),
    "a deny of one type": ([says(DENY, types=(FieldType.TOTP,))], REVEAL, None),
    "a deny of one vault": ([says(DENY, vault=VAULT)], REVEAL, None),
    "a deny of one item": ([says(DENY, item=ITEM)], REVEAL, None),
    "a deny of one field": ([says(DENY, field=FIELD)], REVEAL, None),
    "a deny of listing": ([says(DENY, Action.LIST)], Action.LIST, "policy rule 1"),
    "a deny of rotating": ([says(DENY, ROTATE)], ROTATE, "policy rule 1"),
    "nothing": ([], Action.REPORT, None),
}


@pytest.mark.parametrize("row", EARLY)
def test_what_is_denied_before_the_target_is_known(row: str) -> None:
    """Only what is denied whatever the target is."""
    rules, action, rule = EARLY[row]
    denial = deny_early(action, OFF, policy(*rules))
    assert (denial and denial.rule) == rule
    assert denial is None or (denial.verdict is DENY and rule is not None and rule in denial.reason)


@pytest.mark.parametrize("action", sorted(UNAIMED))
def test_a_default_denies_early_what_is_aimed_at_nothing(action: Action) -> None:
    """Nothing else would ask about it later."""
    denial = deny_early(action, OFF, Policy(other={**ACTION_DEFAULTS, action: DENY}))
    assert denial is not None
    assert denial.rule == f"default: {action.value}"


CANT: Final = "This client can't ask the user."
WAYS_OUT: Final = {
    "a value": (REVEAL, ASKED, (), f"{CANT} The operator can allow it: `r4-mcp policy allow r4://{VAULT}/{ITEM}/{FIELD}`."),
    "a value, by a rule": (REVEAL, OPEN, (says(ASK),), f"{CANT} Only changing rule 1 of the operator's policy file allows it."),
    "a value that is not verified": (
        REVEAL,
        UNPROVEN,
        (),
        f"{CANT} In the operator's policy file, only a rule or default for UNVERIFIED allows it.",
    ),
    "a value of which only the vault is known": (
        REVEAL,
        Target(VAULT, Classification.CONFIDENTIAL),
        (),
        f"{CANT} The operator can allow it in the policy file, under [defaults].",
    ),
    "the key": (ROTATE, Target(), (), f"{CANT} The operator runs `r4-mcp rotate-key` on this machine."),
    "the key, by a rule": (
        ROTATE,
        Target(),
        (says(ASK, ROTATE),),
        f"{CANT} The operator runs `r4-mcp rotate-key` on this machine.",
    ),
}


@pytest.mark.parametrize("row", WAYS_OUT)
def test_the_way_out_where_nobody_can_be_asked(row: str) -> None:
    """It names ids only, and never more than what was asked for."""
    action, target, rules, way_out = WAYS_OUT[row]
    assert decide(action, target, OFF, policy(*rules)).way_out == way_out


def test_the_way_out_of_a_write() -> None:
    """With its action; a new vault has no id to name."""
    asking = Policy(other={**ACTION_DEFAULTS, CREATE: ASK, ARCHIVE: ASK})
    ways = [
        decide(action, target, OFF, asking).way_out
        for action, target in ((CREATE, Target(VAULT)), (ARCHIVE, Target(VAULT, item_id=ITEM)))
    ]
    assert ways == [
        f"{CANT} The operator can allow it: `r4-mcp policy allow r4://{VAULT} --action create`.",
        f"{CANT} The operator can allow it: `r4-mcp policy allow r4://{VAULT}/{ITEM} --action archive`.",
    ]
    assert (
        decide(CREATE, Target(), OFF, asking).way_out == f"{CANT} The operator can allow it in the policy file, under [defaults]."
    )


def test_only_what_is_asked_about_has_a_way_out() -> None:
    """A denial is not talked about with the model."""
    assert decide(REVEAL, OPEN, OFF).way_out is None
    assert decide(REVEAL, SHUT, OFF).way_out is None


@pytest.mark.parametrize("row", RULE_TABLE)
def test_the_audit_log_takes_every_rule_name(row: str) -> None:
    """A name that it refused would refuse the call."""
    rules, action, target, _, rule = RULE_TABLE[row]
    AuditEntry("read_secret", "ok", 0, rule=decide(action, target, OFF, policy(*rules)).rule)
    assert AuditEntry("read_secret", "ok", 0, rule=rule).rule == rule


def test_the_ids_of_a_target_end_where_they_are_unknown() -> None:
    """A field without its item has no address."""
    assert Target(VAULT, field_id=FIELD).ids == (VAULT,)
    assert Target(item_id=ITEM).ids == ()
    assert OPEN.ids == (VAULT, ITEM, FIELD)
