"""The text of a policy: TOML, understood whole or not at all, and the block of one rule.

What this file does not do: read or write a file (``policy_file`` does), decide (``rules`` does), or know the vault.

Rules:
1. An unknown key or word, a wrong type, a key or table that is there twice, or nothing at all is an error. Messages name keys and
   lines, never values: the text may be that of another file by mistake.
2. A rule names vaults, items and fields by id, an item with its vault, a field with its item; ``name`` is for people. What only
   has a name is refused: names are not unique, and whoever may rename things would move the rule.
3. No rule is there that can't do what it says. An action that is aimed at nothing names no vault; rotating the key always asks,
   so it is never allowed; nothing asks before listing and reporting, so these are allowed or denied. What allows names the class
   that it opens (rule 5 of ``rules``), or stands under ``[defaults]``.
4. A raw request is listed by its pattern, once; none whose path has a tool of its own, because it would never be let through.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from r4_mcp.core.record import is_id
from r4_mcp.core.wire import FieldId, FieldType, ItemId, VaultId
from r4_mcp.machine.contract import is_served
from r4_mcp.policy.command_text import read_commands
from r4_mcp.policy.file_text import read_roots
from r4_mcp.policy.model import (
    ACTION_DEFAULTS,
    BY_CLASS,
    MAX_BUDGET,
    REVEAL_DEFAULTS,
    UNAIMED,
    USE_DEFAULTS,
    Action,
    Budget,
    Policy,
    PolicyClass,
    PolicyRule,
    Verdict,
)
from r4_mcp.policy.policy_keys import only_keys, parse_toml, read_list, read_name, read_table, read_word, read_words, wrong
from r4_mcp.policy.raw_request import MAX_PATTERN, RequestPattern, parse_pattern
from r4_mcp.policy.use_rules import Sink
from r4_mcp.policy.use_text import read_hosts, read_openings
from r4_mcp.policy.views import display

MAX_REQUESTS: Final = 64
"""Patterns of raw requests."""

_TABLES: Final = frozenset({"rule", "defaults", "budget", "machine_request", "http_request", "run_command", "write_secret_file"})
_BY_ID: Final = "Write it, or let `r4-mcp policy allow REF` find it and write the whole rule."
AIMED: Final[Mapping[Action, frozenset[str]]] = {
    Action.REVEAL: frozenset({"classification", "vault", "item", "field", "field_type"}),
    Action.USE: frozenset({"classification", "vault", "item", "field", "field_type", "sink", "host"}),
    **dict.fromkeys((Action.UPDATE, Action.ARCHIVE), frozenset({"classification", "vault", "item"})),
    Action.CREATE: frozenset({"classification", "vault"}),
    **dict.fromkeys(UNAIMED, frozenset[str]()),
}
"""The keys by which a rule may say what an action is aimed at (rule 3)."""
_ANY_ACTION: Final = frozenset({"action", "decision", "name"})
_RULE_KEYS: Final = _ANY_ACTION.union(*AIMED.values())


def parse_policy(raw: bytes) -> Policy:
    """Parse and check the text of a policy file.

    Raises:
        ConfigurationError: It is not understood (rules 1 to 4); names the key, and the line where the parser gives it.
    """
    document = parse_toml(raw)
    if not document:
        raise wrong("it is empty, and an empty policy denies everything")
    only_keys(document, _TABLES, "the file")
    entries = document.get("rule", [])
    if not isinstance(entries, list):
        raise wrong("rule is not written as [[rule]]")
    defaults = read_table(document, "defaults")
    other = _defaults(defaults)
    return Policy(
        rules=tuple(_rule(number, entry) for number, entry in enumerate(entries, 1)),
        reveal=_classes(defaults, Action.REVEAL, REVEAL_DEFAULTS),
        use=_classes(defaults, Action.USE, USE_DEFAULTS),
        other=other,
        budget=_budget(read_table(document, "budget")),
        requests=_requests(read_table(document, "machine_request")),
        openings=read_openings(read_table(document, "http_request")),
        commands=read_commands(read_table(document, "run_command")),
        roots=read_roots(read_table(document, "write_secret_file")),
    )


def rule_block(rule: PolicyRule) -> str:
    """Return the text of a rule, with an empty line before it."""
    members = {
        "action": sorted(rule.actions),
        "decision": rule.verdict,
        "classification": sorted(rule.classes),
        "field_type": sorted(rule.field_types),
        "vault": rule.vault_id,
        "item": rule.item_id,
        "field": rule.field_id,
        "sink": sorted(rule.sinks),
        "host": sorted(rule.hosts),
        "name": display(rule.name),
    }
    # What JSON writes for a text without control characters, or for a list of such texts, is TOML as well.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in members.items() if value]
    return "\n[[rule]]\n" + "".join(lines)


def _rule(number: int, entry: object) -> PolicyRule:
    where = f"rule {number}"
    if not isinstance(entry, dict):
        raise wrong(f"{where} is not written as [[rule]]")
    only_keys(entry, _RULE_KEYS, where)
    for key in ("action", "decision"):
        if key not in entry:
            raise wrong(f"{where} has no {key}")
    actions = read_words(entry, "action", Action, where)
    verdict = read_word(entry["decision"], Verdict, f"{where}: decision")
    for action in sorted(actions):
        _check_word(action, verdict, f"{where}: decision")
        for key in sorted(entry.keys() - _ANY_ACTION - AIMED[action]):
            raise wrong(f"{where}: {key} says nothing about the action {action.value}")
        if verdict is Verdict.ALLOW and action in UNAIMED:
            raise wrong(f"{where}: the action {action.value} is allowed under [defaults] only")
    if verdict is Verdict.ALLOW and "classification" not in entry:
        raise wrong(f"{where}: decision is allow, but no classification says what it opens", _BY_ID)
    sinks, hosts = read_words(entry, "sink", Sink, where), read_hosts(entry, where)
    if hosts and sinks and Sink.HTTP_REQUEST not in sinks:
        raise wrong(f"{where} names a host, and a sink that has none")
    vault_id, item_id, field_id = _ids(entry, where)
    return PolicyRule(
        number=number,
        verdict=verdict,
        actions=actions,
        classes=read_words(entry, "classification", PolicyClass, where),
        field_types=read_words(entry, "field_type", FieldType, where),
        vault_id=None if vault_id is None else VaultId(vault_id),
        item_id=None if item_id is None else ItemId(item_id),
        field_id=None if field_id is None else FieldId(field_id),
        sinks=sinks,
        hosts=hosts,
        name=_name(entry, where),
    )


def _check_word(action: Action, verdict: Verdict, where: str) -> None:
    if action is Action.ROTATE and verdict is Verdict.ALLOW:
        raise wrong(f"{where} is allow, but rotating the key always asks; ask or deny it")
    if action in {Action.LIST, Action.REPORT} and verdict is Verdict.ASK:
        raise wrong(f"{where} is ask, but the action {action.value} can only be allowed or denied")


def _ids(entry: Mapping[str, object], where: str) -> list[str | None]:
    """Read the ids of vault, item and field, each one held by the one before it (rule 2)."""
    ids: list[str | None] = []
    for key in ("vault", "item", "field"):
        found = entry.get(key)
        if found is not None and not (isinstance(found, str) and is_id(found)):
            raise wrong(f"{where}: {key} is not an id of 24 lowercase hex characters", _BY_ID)
        if found is not None and None in ids:
            raise wrong(f"{where} names one {key} without the id of what holds it", _BY_ID)
        ids.append(found)
    return ids


def _name(entry: Mapping[str, object], where: str) -> str:
    name = read_name(entry, where)
    if "name" in entry and "vault" not in entry:
        raise wrong(f"{where} names something by name only, and a name decides nothing", _BY_ID)
    return name


def _classes(table: Mapping[str, object], action: Action, before: Mapping[PolicyClass, Verdict]) -> Mapping[PolicyClass, Verdict]:
    where = f"defaults.{action.value}"
    classes = read_table(table, action.value)
    only_keys(classes, frozenset(PolicyClass), where)
    words = {found: read_word(classes[found], Verdict, f"{where}.{found.value}") for found in PolicyClass if found in classes}
    return MappingProxyType({**before, **words})


def _defaults(table: Mapping[str, object]) -> Mapping[Action, Verdict]:
    where = "defaults"
    only_keys(table, frozenset({*BY_CLASS, *ACTION_DEFAULTS}), where)
    other = dict(ACTION_DEFAULTS)
    for action in ACTION_DEFAULTS:
        if action in table:
            other[action] = read_word(table[action], Verdict, f"{where}.{action.value}")
            _check_word(action, other[action], f"{where}.{action.value}")
    return MappingProxyType(other)


def _budget(table: Mapping[str, object]) -> Budget:
    only_keys(table, frozenset({"per_connection", "per_hour"}), "budget")
    limits = dict[str, int]()
    for key, value in table.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_BUDGET:
            raise wrong(f"budget.{key} is not a whole number from 0 to {MAX_BUDGET}")
        limits[key] = value
    return Budget(**limits)


def _requests(table: Mapping[str, object]) -> tuple[RequestPattern, ...]:
    where = "machine_request"
    only_keys(table, frozenset({"allow"}), where)
    listed = read_list(table, "allow", MAX_REQUESTS, where)
    patterns = tuple(_pattern(entry, f"{where}.allow, entry {number}") for number, entry in enumerate(listed, 1))
    if len(set(patterns)) != len(patterns):
        raise wrong(f"{where}.allow has a pattern twice")
    return patterns


def _pattern(entry: object, where: str) -> RequestPattern:
    try:
        pattern = parse_pattern(entry if isinstance(entry, str) else "")
    except ValueError:
        raise wrong(
            f"{where} is not a method and a path of at most {MAX_PATTERN} characters",
            'Write it like "GET /webhook" or "POST /attachment/*"; * is exactly one segment of the path.',
        ) from None
    if is_served(pattern.segments):
        raise wrong(f"{where} has tools of its own, so no raw request takes it")
    return pattern
