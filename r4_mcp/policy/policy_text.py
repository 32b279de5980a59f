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
import re
import tomllib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeVar

from r4_mcp.core.record import is_id
from r4_mcp.core.wire import FieldId, FieldType, ItemId, VaultId
from r4_mcp.errors import ConfigurationError
from r4_mcp.machine.contract import is_served
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
from r4_mcp.policy.raw_request import MAX_PATTERN, RequestPattern, parse_pattern
from r4_mcp.policy.use_rules import Sink
from r4_mcp.policy.use_text import read_hosts, read_openings
from r4_mcp.policy.views import display

MAX_NAME: Final = 512
"""Characters of a rule's name."""
MAX_REQUESTS: Final = 64
"""Patterns of raw requests."""

_MAX_LINE: Final = 2 * MAX_NAME + 32
"""Characters of a line: a dotted key of 32,000 parts on one line keeps ``tomllib`` busy for half a minute."""
_AT_LINE: Final = re.compile(r"at line ([0-9]+), column [0-9]+", re.ASCII)
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_-]{1,32}", re.ASCII)
_CHECK: Final = "Correct the file; `r4-mcp policy check` says whether it is understood, and what it comes to."
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

WordT = TypeVar("WordT", bound=StrEnum)


def parse_policy(raw: bytes) -> Policy:
    """Parse and check the text of a policy file.

    Raises:
        ConfigurationError: It is not understood (rules 1 to 4); names the key, and the line where the parser gives it.
    """
    document = _parse(raw)
    if not document:
        raise _wrong("it is empty, and an empty policy denies everything")
    _only(document, frozenset({"rule", "defaults", "budget", "machine_request", "http_request"}), "the file")
    entries = document.get("rule", [])
    if not isinstance(entries, list):
        raise _wrong("rule is not written as [[rule]]")
    defaults = _table(document, "defaults")
    other = _defaults(defaults)
    return Policy(
        rules=tuple(_rule(number, entry) for number, entry in enumerate(entries, 1)),
        reveal=_classes(defaults, Action.REVEAL, REVEAL_DEFAULTS),
        use=_classes(defaults, Action.USE, USE_DEFAULTS),
        other=other,
        budget=_budget(_table(document, "budget")),
        requests=_requests(_table(document, "machine_request")),
        openings=read_openings(_table(document, "http_request")),
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


def _wrong(message: str, next_step: str = _CHECK) -> ConfigurationError:
    return ConfigurationError(message, next_step=next_step)


def _parse(raw: bytes) -> dict[str, object]:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _wrong("it is not UTF-8") from None
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > _MAX_LINE:
            raise _wrong(f"line {number} is longer than {_MAX_LINE} characters")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Of the parser's message only the line is used: the rest quotes the document.
        place = _AT_LINE.search(str(error))
        twice = str(error).startswith(("Cannot declare", "Cannot overwrite", "Duplicate", "Cannot mutate"))
        where = f"line {place[1]}" if place else "it"
        raise _wrong(f"{where} has a key or table that is there twice" if twice else f"{where} is not TOML") from None


def _only(table: Mapping[str, object], known: Iterable[str], where: str) -> None:
    for key in table:
        if key not in known:
            shown = f"unknown key {key}" if _PLAIN_KEY.fullmatch(key) else "unknown key that is no plain word"
            raise _wrong(f"{where} has an {shown}; known are {', '.join(sorted(known))}")


def _table(document: Mapping[str, object], key: str) -> dict[str, object]:
    found = document.get(key, {})
    if not isinstance(found, dict):
        raise _wrong(f"{key} is not a table")
    return found


def _word(value: object, kind: type[WordT], where: str) -> WordT:
    if isinstance(value, str) and value in tuple(kind):
        return kind(value)
    raise _wrong(f"{where} is not one of {', '.join(kind)}")


def _words(entry: Mapping[str, object], key: str, kind: type[WordT], where: str) -> frozenset[WordT]:
    """Read one word or a list of words; no key means none, which a rule takes for any."""
    if key not in entry:
        return frozenset()
    where = f"{where}: {key}"
    value = entry[key]
    words = value if isinstance(value, list) else [value]
    if not words or len({str(word) for word in words}) != len(words):
        raise _wrong(f"{where} is an empty list, or has a word twice")
    return frozenset(_word(word, kind, where) for word in words)


def _rule(number: int, entry: object) -> PolicyRule:
    where = f"rule {number}"
    if not isinstance(entry, dict):
        raise _wrong(f"{where} is not written as [[rule]]")
    _only(entry, _RULE_KEYS, where)
    for key in ("action", "decision"):
        if key not in entry:
            raise _wrong(f"{where} has no {key}")
    actions = _words(entry, "action", Action, where)
    verdict = _word(entry["decision"], Verdict, f"{where}: decision")
    for action in sorted(actions):
        _check_word(action, verdict, f"{where}: decision")
        for key in sorted(entry.keys() - _ANY_ACTION - AIMED[action]):
            raise _wrong(f"{where}: {key} says nothing about the action {action.value}")
        if verdict is Verdict.ALLOW and action in UNAIMED:
            raise _wrong(f"{where}: the action {action.value} is allowed under [defaults] only")
    if verdict is Verdict.ALLOW and "classification" not in entry:
        raise _wrong(f"{where}: decision is allow, but no classification says what it opens", _BY_ID)
    sinks, hosts = _words(entry, "sink", Sink, where), read_hosts(entry, where)
    if hosts and sinks and Sink.HTTP_REQUEST not in sinks:
        raise _wrong(f"{where} names a host, and a sink that has none")
    vault_id, item_id, field_id = _ids(entry, where)
    return PolicyRule(
        number=number,
        verdict=verdict,
        actions=actions,
        classes=_words(entry, "classification", PolicyClass, where),
        field_types=_words(entry, "field_type", FieldType, where),
        vault_id=None if vault_id is None else VaultId(vault_id),
        item_id=None if item_id is None else ItemId(item_id),
        field_id=None if field_id is None else FieldId(field_id),
        sinks=sinks,
        hosts=hosts,
        name=_name(entry, where),
    )


def _check_word(action: Action, verdict: Verdict, where: str) -> None:
    if action is Action.ROTATE and verdict is Verdict.ALLOW:
        raise _wrong(f"{where} is allow, but rotating the key always asks; ask or deny it")
    if action in {Action.LIST, Action.REPORT} and verdict is Verdict.ASK:
        raise _wrong(f"{where} is ask, but the action {action.value} can only be allowed or denied")


def _ids(entry: Mapping[str, object], where: str) -> list[str | None]:
    """Read the ids of vault, item and field, each one held by the one before it (rule 2)."""
    ids: list[str | None] = []
    for key in ("vault", "item", "field"):
        found = entry.get(key)
        if found is not None and not (isinstance(found, str) and is_id(found)):
            raise _wrong(f"{where}: {key} is not an id of 24 lowercase hex characters", _BY_ID)
        if found is not None and None in ids:
            raise _wrong(f"{where} names one {key} without the id of what holds it", _BY_ID)
        ids.append(found)
    return ids


def _name(entry: Mapping[str, object], where: str) -> str:
    name = entry.get("name", "")
    if not isinstance(name, str) or len(name) > MAX_NAME:
        raise _wrong(f"{where}: name is not a text of at most {MAX_NAME} characters")
    if "name" in entry and "vault" not in entry:
        raise _wrong(f"{where} names something by name only, and a name decides nothing", _BY_ID)
    return name


def _classes(table: Mapping[str, object], action: Action, before: Mapping[PolicyClass, Verdict]) -> Mapping[PolicyClass, Verdict]:
    where = f"defaults.{action.value}"
    classes = _table(table, action.value)
    _only(classes, frozenset(PolicyClass), where)
    words = {found: _word(classes[found], Verdict, f"{where}.{found.value}") for found in PolicyClass if found in classes}
    return MappingProxyType({**before, **words})


def _defaults(table: Mapping[str, object]) -> Mapping[Action, Verdict]:
    where = "defaults"
    _only(table, frozenset({*BY_CLASS, *ACTION_DEFAULTS}), where)
    other = dict(ACTION_DEFAULTS)
    for action in ACTION_DEFAULTS:
        if action in table:
            other[action] = _word(table[action], Verdict, f"{where}.{action.value}")
            _check_word(action, other[action], f"{where}.{action.value}")
    return MappingProxyType(other)


def _budget(table: Mapping[str, object]) -> Budget:
    _only(table, frozenset({"per_connection", "per_hour"}), "budget")
    limits = dict[str, int]()
    for key, value in table.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_BUDGET:
            raise _wrong(f"budget.{key} is not a whole number from 0 to {MAX_BUDGET}")
        limits[key] = value
    return Budget(**limits)


def _requests(table: Mapping[str, object]) -> tuple[RequestPattern, ...]:
    where = "machine_request"
    _only(table, frozenset({"allow"}), where)
    listed = table.get("allow", [])
    if not isinstance(listed, list) or len(listed) > MAX_REQUESTS:
        raise _wrong(f"{where}.allow is not a list of at most {MAX_REQUESTS} patterns")
    patterns = tuple(_pattern(entry, f"{where}.allow, entry {number}") for number, entry in enumerate(listed, 1))
    if len(set(patterns)) != len(patterns):
        raise _wrong(f"{where}.allow has a pattern twice")
    return patterns


def _pattern(entry: object, where: str) -> RequestPattern:
    try:
        pattern = parse_pattern(entry if isinstance(entry, str) else "")
    except ValueError:
        raise _wrong(
            f"{where} is not a method and a path of at most {MAX_PATTERN} characters",
            'Write it like "GET /webhook" or "POST /attachment/*"; * is exactly one segment of the path.',
        ) from None
    if is_served(pattern.segments):
        raise _wrong(f"{where} has tools of its own, so no raw request takes it")
    return pattern
