"""The operator's policy file: TOML, read and checked whole, and one rule appended at a time.

What this file does not do: decide (``rules`` does), or know the vault. Nothing that a model can call reaches its writing.

Rules:
1. The file is a regular one of this user or root, at most 64 KiB, that nobody else can write, in a folder that nobody else can
   write; a symbolic link is not followed. Others may read it: it holds no secret.
2. It is understood whole or not at all. An unknown key or word, a wrong type, a key or table that is there twice, or nothing at
   all closes the policy. Messages name keys and lines, never values: the path may be one of another file by mistake.
3. A rule names vaults, items and fields by id, an item with its vault, a field with its item; ``name`` is for people. What only
   has a name is refused: names are not unique, and whoever may rename things would move the rule.
4. No rule is there that can't do what it says. An action that is aimed at nothing names no vault; rotating the key always asks,
   so it is never allowed; nothing asks before listing and reporting, so these are allowed or denied. What allows names the class
   that it opens (rule 5 of ``rules``), or stands under ``[defaults]``.
5. A file that is absent means the defaults; one that the operator named must be there; one that vanishes while a process lives
   closes its policy, since an editor that saves may make it vanish for a moment.
6. The bytes are read anew for each decision and parsed where they changed, so that a deny bites at once and no stamp of the file
   system has to be believed. (An editor that writes in place can be seen half way: what is there then is judged as it stands.)
7. Appending keeps every byte that is there and replaces the file atomically, with mode 0600. The whole is checked before: neither
   a policy that is closed nor one that would be is written to.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

from r4_mcp.core.record import is_id
from r4_mcp.core.wire import FieldId, FieldType, ItemId, VaultId
from r4_mcp.errors import ConfigurationError, FileAccessError
from r4_mcp.policy.rules import (
    ACTION_DEFAULTS,
    DEFAULTS,
    MAX_BUDGET,
    REVEAL_DEFAULTS,
    UNAIMED,
    Action,
    Budget,
    Policy,
    PolicyClass,
    PolicyRule,
    Verdict,
)
from r4_mcp.policy.views import display
from r4_mcp.vault.locked_file import LockedFile

MAX_SIZE: Final = 64 * 1024
MAX_NAME: Final = 512
"""Characters of a rule's name."""

_MAX_LINE: Final = 2 * MAX_NAME + 32
"""Characters of a line: a dotted key of 32,000 parts on one line keeps ``tomllib`` busy for half a minute."""
_OTHERS_WRITE: Final = 0o022
_AT_LINE: Final = re.compile(r"at line ([0-9]+), column [0-9]+", re.ASCII)
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_-]{1,32}", re.ASCII)
_CHECK: Final = "Correct the file; `r4-mcp policy check` says whether it is understood, and what it comes to."
_BY_ID: Final = "Write it, or let `r4-mcp policy allow REF` find it and write the whole rule."
_HEADER: Final = "# What r4-mcp may do. `r4-mcp policy check` prints what this comes to.\n"
AIMED: Final[Mapping[Action, frozenset[str]]] = {
    Action.REVEAL: frozenset({"classification", "vault", "item", "field", "field_type"}),
    **dict.fromkeys((Action.UPDATE, Action.ARCHIVE), frozenset({"classification", "vault", "item"})),
    Action.CREATE: frozenset({"classification", "vault"}),
    **dict.fromkeys(UNAIMED, frozenset[str]()),
}
"""The keys by which a rule may say what an action is aimed at (rule 4)."""
_ANY_ACTION: Final = frozenset({"action", "decision", "name"})
_RULE_KEYS: Final = _ANY_ACTION.union(*AIMED.values())

WordT = TypeVar("WordT", bound=StrEnum)


class PolicySource:
    """The policy of a process: always that of the file as it is now (rule 6).

    Args:
        path: The file.
        named: Whether the operator named it, so that it must be there.
    """

    def __init__(self, path: Path, *, named: bool) -> None:
        self.path = path
        self.named = named
        # One member, so that threads never see the bytes of one policy with the rules of another.
        self._judged: tuple[bytes, Policy] | None = None

    def current(self) -> Policy:
        """Return the policy; a file that can't be used gives one that is closed, and says why."""
        try:
            raw = _read(self.path)
        except ConfigurationError as error:
            return _closed(error)
        if raw is None and self._judged is not None:
            return replace(DEFAULTS, closed=f"{self.path} vanished while this process ran; put it back, or start again")
        if raw is None:
            return self._judge(raw)
        if self._judged is None or raw != self._judged[0]:
            self._judged = (raw, self._judge(raw))
        return self._judged[1]

    def _judge(self, raw: bytes | None) -> Policy:
        try:
            return _understand(self.path, raw, named=self.named)
        except ConfigurationError as error:
            return _closed(error)


def load_policy(path: Path, *, named: bool) -> Policy:
    """Return the policy of a file as it is now, like ``PolicySource``."""
    return PolicySource(path, named=named).current()


def read_policy(path: Path, *, named: bool) -> Policy:
    """Return the policy of a file, or say what is wrong with it.

    Args:
        path: The file.
        named: Whether the operator named it, so that it must be there (rule 5).

    Raises:
        FileAccessError: Rule 1, unreadable, or absent though named.
        ConfigurationError: It is not understood (rules 2 to 4).
    """
    return _understand(path, _read(path), named=named)


def append_rule(path: Path, rule: PolicyRule) -> Policy:
    """Append a rule to the file, which is made where it is absent (rule 7).

    Args:
        path: The file.
        rule: The rule; its number is given by its place.

    Returns:
        The policy that the file holds now; its last rule is the new one.

    Raises:
        FileAccessError: Rule 1, of another user, or it can't be written.
        ConfigurationError: It is not understood as it is, or would not be afterwards. Nothing was written.
        BusyError: Another process holds its lock.
    """
    file = LockedFile(path, MAX_SIZE)
    with file.locked():
        raw = _read(path, root_may_own=False)
        # An empty policy is closed; a rule that is appended must not be what opens it.
        _understand(path, raw, named=False)
        before = _HEADER.encode("utf-8") if raw is None else raw
        ending = b"" if before.endswith(b"\n") else b"\n"
        content = before + ending + _block(rule).encode("utf-8")
        new = _understand(path, content, named=False)
        file.replace(content)
    return new


def parse_policy(raw: bytes) -> Policy:
    """Parse and check the text of a policy file.

    Raises:
        ConfigurationError: It is not understood (rules 2 to 4); names the key, and the line where the parser gives it.
    """
    document = _parse(raw)
    if not document:
        raise _wrong("it is empty, and an empty policy denies everything")
    _only(document, frozenset({"rule", "defaults", "budget"}), "the file")
    entries = document.get("rule", [])
    if not isinstance(entries, list):
        raise _wrong("rule is not written as [[rule]]")
    reveal, other = _defaults(_table(document, "defaults"))
    return Policy(
        rules=tuple(_rule(number, entry) for number, entry in enumerate(entries, 1)),
        reveal=reveal,
        other=other,
        budget=_budget(_table(document, "budget")),
    )


def _read(path: Path, *, root_may_own: bool = True) -> bytes | None:
    """Return the file's bytes, None for no file (rule 1). Replacing root's file would make it this user's."""
    # Not blocking: opening a FIFO would wait for a writer that never comes. For a regular file it changes nothing.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        _check_owner(path.parent, path.parent.stat(), root_may_own=True)
        descriptor = os.open(path, flags)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise FileAccessError(f"{path} is not a regular file")
            _check_owner(path, status, root_may_own=root_may_own)
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                raw = file.read(MAX_SIZE + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return None
    except OSError as error:
        if path.is_symlink():
            raise FileAccessError(f"{path} is a symbolic link, which is not followed", next_step="Give the real path.") from None
        reason = os.strerror(error.errno) if error.errno else "unknown reason"
        raise FileAccessError(f"{path} can't be used: {reason}") from None
    if len(raw) > MAX_SIZE:
        raise FileAccessError(f"{path} is larger than {MAX_SIZE} bytes, so it is no policy")
    return raw


def _check_owner(path: Path, status: os.stat_result, *, root_may_own: bool) -> None:
    if sys.platform == "win32":
        return  # Modes and owners say nothing there.
    if status.st_uid != os.geteuid() and not (root_may_own and status.st_uid == 0):
        raise FileAccessError(f"{path} belongs to another user", next_step=f"Run: chown {os.geteuid()} {path}")
    if status.st_mode & _OTHERS_WRITE:
        raise FileAccessError(f"{path} can be written by other users", next_step=f"Run: chmod go-w {path}")


def _understand(path: Path, raw: bytes | None, *, named: bool) -> Policy:
    if raw is None and named:
        raise FileAccessError(f"{path} does not exist", next_step="Set R4_POLICY to a policy file, or remove the setting.")
    if raw is None:
        return DEFAULTS
    try:
        return parse_policy(raw)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path} is no policy: {error.message}", next_step=error.next_step) from None


def _closed(error: ConfigurationError) -> Policy:
    return replace(DEFAULTS, closed=error.message)


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
        name=_name(entry, where),
    )


def _check_word(action: Action, verdict: Verdict, where: str) -> None:
    if action is Action.ROTATE and verdict is Verdict.ALLOW:
        raise _wrong(f"{where} is allow, but rotating the key always asks; ask or deny it")
    if action in {Action.LIST, Action.REPORT} and verdict is Verdict.ASK:
        raise _wrong(f"{where} is ask, but the action {action.value} can only be allowed or denied")


def _ids(entry: Mapping[str, object], where: str) -> list[str | None]:
    """Read the ids of vault, item and field, each one held by the one before it (rule 3)."""
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


def _defaults(table: Mapping[str, object]) -> tuple[Mapping[PolicyClass, Verdict], Mapping[Action, Verdict]]:
    where = "defaults"
    _only(table, frozenset({Action.REVEAL, *ACTION_DEFAULTS}), where)
    reveal = dict(REVEAL_DEFAULTS)
    classes = _table(table, Action.REVEAL.value)
    _only(classes, frozenset(PolicyClass), f"{where}.reveal")
    for found in PolicyClass:
        if found in classes:
            reveal[found] = _word(classes[found], Verdict, f"{where}.reveal.{found.value}")
    other = dict(ACTION_DEFAULTS)
    for action in ACTION_DEFAULTS:
        if action in table:
            other[action] = _word(table[action], Verdict, f"{where}.{action.value}")
            _check_word(action, other[action], f"{where}.{action.value}")
    return MappingProxyType(reveal), MappingProxyType(other)


def _budget(table: Mapping[str, object]) -> Budget:
    _only(table, frozenset({"per_connection", "per_hour"}), "budget")
    limits = dict[str, int]()
    for key, value in table.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_BUDGET:
            raise _wrong(f"budget.{key} is not a whole number from 0 to {MAX_BUDGET}")
        limits[key] = value
    return Budget(**limits)


def _block(rule: PolicyRule) -> str:
    members = {
        "action": sorted(rule.actions),
        "decision": rule.verdict,
        "classification": sorted(rule.classes),
        "field_type": sorted(rule.field_types),
        "vault": rule.vault_id,
        "item": rule.item_id,
        "field": rule.field_id,
        "name": display(rule.name),
    }
    # What JSON writes for a text without control characters, or for a list of such texts, is TOML as well.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in members.items() if value]
    return "\n[[rule]]\n" + "".join(lines)
