"""Rules as text: what of a policy's TOML is understood, and what is refused and how that is told."""

from __future__ import annotations

import re
import time
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r4_mcp.core.wire import FieldId, FieldType, ItemId, VaultId
from r4_mcp.errors import ConfigurationError
from r4_mcp.policy.model import (
    ACTION_DEFAULTS,
    BY_CLASS,
    DEFAULTS,
    REVEAL_DEFAULTS,
    Action,
    Budget,
    Policy,
    PolicyClass,
    PolicyRule,
    Verdict,
)
from r4_mcp.policy.policy_file import MAX_SIZE
from r4_mcp.policy.policy_keys import MAX_NAME
from r4_mcp.policy.policy_text import parse_policy

VAULT, ITEM, FIELD = VaultId("a" * 24), ItemId("b" * 24), FieldId("c" * 24)
CANARY: Final = "canary-4711"
"""Stands for whatever a file holds that was taken for a policy by mistake."""

VALID: Final = f"""\
# A whole policy.
[defaults]
create = "ask"
rotate = "deny"
reveal = {{ INTERNAL = "ask", CUI = "ask" }}

[budget]
per_hour = 100

[[rule]]  # one
action = ["reveal", "archive"]
decision = "deny"
vault = "{VAULT}"
item = "{ITEM}"
name = "Production / Stripe"

[[rule]]
action = "reveal"
decision = "allow"
classification = ["CONFIDENTIAL", "UNVERIFIED"]
field_type = "TOTP"
"""
ONE_RULE: Final = '[[rule]]\naction = "reveal"\ndecision = "deny"\n'


def test_a_whole_policy_is_understood() -> None:
    """Every member of the file comes out as what it says; what is not said stays as it is by default."""
    assert parse_policy(VALID.encode()) == Policy(
        rules=(
            PolicyRule(
                1,
                Verdict.DENY,
                frozenset({Action.REVEAL, Action.ARCHIVE}),
                vault_id=VAULT,
                item_id=ITEM,
                name="Production / Stripe",
            ),
            PolicyRule(
                2,
                Verdict.ALLOW,
                frozenset({Action.REVEAL}),
                frozenset({PolicyClass.CONFIDENTIAL, PolicyClass.UNVERIFIED}),
                frozenset({FieldType.TOTP}),
            ),
        ),
        reveal={**REVEAL_DEFAULTS, PolicyClass.INTERNAL: Verdict.ASK, PolicyClass.CUI: Verdict.ASK},
        other={**ACTION_DEFAULTS, Action.CREATE: Verdict.ASK, Action.ROTATE: Verdict.DENY},
        budget=Budget(per_connection=20, per_hour=100),
    )


@pytest.mark.parametrize("text", ["[budget]\n", "[defaults]\n", "[defaults.reveal]\n", "rule = []\n"])
def test_a_policy_that_says_nothing_more_is_the_default(text: str) -> None:
    """A header is something: the operator began to write."""
    assert parse_policy(text.encode()) == DEFAULTS


@pytest.mark.parametrize("action", Action)
def test_every_action_can_be_denied(action: Action) -> None:
    """By a rule, and what has a default of its own by that; a new action is not forgotten here."""
    (rule,) = parse_policy(f'[[rule]]\naction = "{action.value}"\ndecision = "deny"\n'.encode()).rules
    assert (rule.actions, rule.verdict) == (frozenset({action}), Verdict.DENY)
    assert (action in ACTION_DEFAULTS) is (action not in BY_CLASS)
    if action in ACTION_DEFAULTS:
        policy = parse_policy(f'[defaults]\n{action.value} = "deny"\n'.encode())
        assert policy.other == {**ACTION_DEFAULTS, action: Verdict.DENY}


def rule_with(line: str) -> str:
    """Return a rule with one more line."""
    return ONE_RULE + line + "\n"


REFUSED: Final[dict[str, tuple[str | bytes, str]]] = {
    "nothing": ("", "empty"),
    "blanks": (" \n\t\n", "empty"),
    "a comment only": ("# to be written\n", "empty"),
    "not UTF-8": (b"[budget]\nper_hour = 1 # \xff", "not UTF-8"),
    "UTF-16": ("[budget]\n".encode("utf-16"), "not UTF-8"),
    "a byte order mark": (b"\xef\xbb\xbf[budget]\n", "line 1 is not TOML"),
    "no TOML": (f'[budget]\nper_hour = 1\n{CANARY} = = "x"\n', "line 3 is not TOML"),
    "JSON": ("{}", "line 1 is not TOML"),
    "nesting without end": (f"a = {'[' * 900}", "is not TOML"),
    "a number without end": (f"[budget]\nper_hour = {'9' * 900}\n", r"budget\.per_hour is not a whole number"),
    "a line without end": (f"# {'x' * 2000}\n[budget]\n", "line 1 is longer than"),
    "a key twice": (rule_with('decision = "allow"'), "line 4 has a key or table that is there twice"),
    "a table twice": ("[budget]\n[defaults]\n[budget]\n", "line 3 has a key or table that is there twice"),
    "an unknown table": (
        "[sinks]\n",
        (
            "the file has an unknown key sinks; "
            "known are budget, defaults, http_request, machine_request, rule, run_command, write_secret_file"
        ),
    ),
    "an unknown key at the top": (f'version = "{CANARY}"\n', "the file has an unknown key version"),
    "an unknown key of a rule": (rule_with(f'verdict = "{CANARY}"'), "rule 1 has an unknown key verdict"),
    "an unknown key of the second rule": (ONE_RULE + rule_with('vautl = "x"'), "rule 2 has an unknown key vautl"),
    "a key that is no word": (rule_with(f'"{CANARY}" = 1'), "rule 1 has an unknown key that is no plain word"),
    "an unknown default": ('[defaults]\nread = "ask"\n', "defaults has an unknown key read"),
    "an unknown class": ('[defaults.reveal]\nSECRET = "ask"\n', r"defaults\.reveal has an unknown key SECRET"),
    "an unknown limit": ("[budget]\nper_day = 1\n", "budget has an unknown key per_day"),
    "rules as one table": ('[rule]\naction = "reveal"\n', r"rule is not written as \[\[rule\]\]"),
    "a rule that is a word": (f'rule = ["{CANARY}"]\n', r"rule 1 is not written as \[\[rule\]\]"),
    "defaults as a word": (f'defaults = "{CANARY}"\n', "defaults is not a table"),
    "a default for every class": ('[defaults]\nreveal = "ask"\n', "reveal is not a table"),
    "a limit as a list": ("budget = [1, 2]\n", "budget is not a table"),
    "no action": ('[[rule]]\ndecision = "deny"\n', "rule 1 has no action"),
    "no decision": ('[[rule]]\naction = "reveal"\n', "rule 1 has no decision"),
    "an unknown action": (f'[[rule]]\naction = "{CANARY}"\ndecision = "deny"\n', "rule 1: action is not one of list, reveal"),
    "an unknown action beside a known": ('[[rule]]\naction = ["reveal", "x"]\ndecision = "deny"\n', "action is not one of"),
    "no action in the list": ('[[rule]]\naction = []\ndecision = "deny"\n', "rule 1: action is an empty list"),
    "an action twice": ('[[rule]]\naction = ["reveal", "reveal"]\ndecision = "deny"\n', "has a word twice"),
    "an action of another type": ('[[rule]]\naction = 1\ndecision = "deny"\n', "rule 1: action is not one of"),
    "an unknown decision": (f'[[rule]]\naction = "reveal"\ndecision = "{CANARY}"\n', "decision is not one of allow, ask, deny"),
    "a decision in capitals": ('[[rule]]\naction = "reveal"\ndecision = "DENY"\n', "decision is not one of"),
    "a decision that is true": ('[[rule]]\naction = "reveal"\ndecision = true\n', "decision is not one of"),
    "an unknown classification": (rule_with(f'classification = "{CANARY}"'), "classification is not one of PUBLIC"),
    "no classification in the list": (rule_with("classification = []"), "classification is an empty list"),
    "an unknown field type": (rule_with('field_type = "totp"'), "field_type is not one of TEXT"),
    "an unknown default word": (f'[defaults]\ncreate = "{CANARY}"\n', r"defaults\.create is not one of"),
    "an unknown default of a class": ('[defaults.reveal]\nCUI = "no"\n', r"defaults\.reveal\.CUI is not one of"),
    "a vault by name": (rule_with(f'vault = "{CANARY}"'), "rule 1: vault is not an id"),
    "a vault id in capitals": (rule_with(f'vault = "{"A" * 24}"'), "rule 1: vault is not an id"),
    "a vault that is a number": (rule_with("vault = 123"), "rule 1: vault is not an id"),
    "an empty vault": (rule_with('vault = ""'), "rule 1: vault is not an id"),
    "an item by name": (rule_with(f'vault = "{VAULT}"\nitem = "Stripe"'), "rule 1: item is not an id"),
    "an item without its vault": (rule_with(f'item = "{ITEM}"'), "names one item without the id of what holds it"),
    "a field without its item": (rule_with(f'vault = "{VAULT}"\nfield = "{FIELD}"'), "names one field without the id"),
    "a name only": (rule_with(f'name = "{CANARY}"'), "rule 1 names something by name only"),
    "a name that is too long": (
        rule_with(f'vault = "{VAULT}"\nname = "{"x" * (MAX_NAME + 1)}"'),
        "name is not a text of at most",
    ),
    "a name that is a number": (rule_with(f'vault = "{VAULT}"\nname = 1'), "name is not a text"),
    "an allow of any class": ('[[rule]]\naction = "reveal"\ndecision = "allow"\n', "no classification says what it opens"),
    "an allow by id of any class": (
        f'[[rule]]\naction = "reveal"\ndecision = "allow"\nvault = "{VAULT}"\n',
        "no classification says what it opens",
    ),
    "rotating is allowed": ('[[rule]]\naction = "rotate"\ndecision = "allow"\n', "rotating the key always asks"),
    "rotating is allowed by default": ('[defaults]\nrotate = "allow"\n', r"defaults\.rotate is allow"),
    "listing is asked about": ('[[rule]]\naction = "list"\ndecision = "ask"\n', "can only be allowed or denied"),
    "reporting is asked about by default": ('[defaults]\nreport = "ask"\n', r"defaults\.report is ask"),
    "listing is allowed by a rule": (
        '[[rule]]\naction = "list"\ndecision = "allow"\n',
        r"list is allowed under \[defaults\] only",
    ),
    "one vault is not listed": (f'[[rule]]\naction = "list"\ndecision = "deny"\nvault = "{VAULT}"\n', "vault says nothing about"),
    "an item is created": (
        f'[[rule]]\naction = "create"\ndecision = "ask"\nvault = "{VAULT}"\nitem = "{ITEM}"\n',
        "item says nothing about the action create",
    ),
    "a field type is archived": (
        '[[rule]]\naction = ["reveal", "archive"]\ndecision = "ask"\nfield_type = "TOTP"\n',
        "field_type says nothing about the action archive",
    ),
    "a field type is changed": (
        '[[rule]]\naction = "update"\ndecision = "ask"\nfield_type = "TOTP"\n',
        "field_type says nothing about the action update",
    ),
    "a limit below zero": ("[budget]\nper_connection = -1\n", r"budget\.per_connection is not a whole number from 0 to 1000"),
    "a limit too high": ("[budget]\nper_hour = 1001\n", r"budget\.per_hour is not"),
    "a limit that is true": ("[budget]\nper_hour = true\n", r"budget\.per_hour is not"),
    "half a limit": ("[budget]\nper_hour = 1.5\n", r"budget\.per_hour is not"),
}


def refusal(text: str | bytes) -> ConfigurationError:
    """Parse a text that must be refused; returns the error."""
    with pytest.raises(ConfigurationError) as raised:
        parse_policy(text if isinstance(text, bytes) else text.encode())
    return raised.value


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_understood_is_refused(what: str) -> None:
    """The message names the key or the line, never what the file holds."""
    text, told = REFUSED[what]
    error = refusal(text)
    assert re.search(told, error.message)
    assert error.next_step is not None
    assert CANARY not in error.message + error.next_step


@pytest.mark.parametrize("what", ["a vault by name", "an item without its vault", "a name only", "an allow of any class"])
def test_what_has_only_a_name_is_told_the_command_that_finds_the_id(what: str) -> None:
    """The checker can't resolve names; the command can."""
    assert "`r4-mcp policy allow REF`" in (refusal(REFUSED[what][0]).next_step or "")


def understood(raw: bytes) -> Policy | None:
    """Parse; None where it is refused with our error, which alone is caught."""
    try:
        return parse_policy(raw)
    except ConfigurationError:
        return None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_policy_or_our_error(raw: bytes) -> None:
    """Never another exception; and nearly nothing is a policy."""
    policy = understood(raw)
    assert policy is None or policy == DEFAULTS


@given(
    st.lists(
        st.tuples(st.integers(0, len(VALID)), st.integers(0, 8), st.text(max_size=4) | st.sampled_from(['"', "[[", "=", "\n"]))
    )
)
def test_a_changed_policy_is_a_policy_or_our_error(changes: list[tuple[int, int, str]]) -> None:
    """Parts of a valid file cut out and replaced: what is still understood keeps the promises of the checker."""
    text = VALID
    for start, length, new in changes:
        text = text[:start] + new + text[start + length :]
    policy = understood(text.encode("utf-8", "surrogatepass"))
    if policy is not None:
        assert all(rule.classes for rule in policy.rules if rule.verdict is Verdict.ALLOW)
        assert all(rule.vault_id for rule in policy.rules if rule.name or rule.item_id)
        assert policy.other[Action.ROTATE] is not Verdict.ALLOW
        assert set(policy.reveal) == set(PolicyClass)


def test_a_dotted_key_keeps_nobody_busy() -> None:
    """One line of dots as long as the file may be takes the parser half a minute; it is refused before."""
    began = time.monotonic()
    with pytest.raises(ConfigurationError, match="longer"):
        parse_policy((".".join("a" * (MAX_SIZE // 2 - 4)) + "=1").encode())
    assert time.monotonic() - began < 5
