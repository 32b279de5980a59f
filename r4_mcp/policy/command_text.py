"""The part of a policy's text that is about programs with secrets: ``[[run_command.allow]]``.

What this file does not do: read the file, or the rest of its text (``policy_text`` does).

Rules:
1. As in ``policy_text``: unknown keys, wrong types and doubles are errors; messages name keys, never values.
2. Program and folder are absolute paths without ``..``; arguments are one line each. Nothing is looked up on a ``PATH``.
3. A pattern has no group that is repeated, which is how patterns that take exponential time are mostly written, and none that is
   special. Others that are slow on 256 characters can still be written, such as ``.*.*.*.*``: they are the operator's to avoid.
4. A template that could give a program no secret, or uses none, is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from r4_mcp.core.record import is_id
from r4_mcp.errors import InvalidArgumentError
from r4_mcp.policy.command_rules import MAX_FREE, CommandTemplate, Free, ShownOutput
from r4_mcp.policy.invisible import is_invisible
from r4_mcp.policy.policy_keys import only_keys, read_list, read_word, wrong
from r4_mcp.sinks.environment import check_name
from r4_mcp.sinks.process import SMALL_ENVIRONMENT
from r4_mcp.vault.references import SCHEME

MAX_COMMANDS: Final = 32
MAX_ARGUMENTS: Final = 64
MAX_FIXED: Final = 1_024
"""Characters of a program, a fixed argument, a folder or a pattern."""
MAX_SECRETS: Final = 64
MAX_ENV: Final = 32
MAX_SECONDS: Final = 3_600

_TABLE: Final = "run_command"
_KEYS: Final = frozenset({"name", "argv", "folder", "secrets", "env", "stdin", "seconds", "output"})
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}", re.ASCII)
"""Short and plain: it stands in the audit log, before the rule that decided."""
_SPECIAL_GROUP: Final = re.compile(r"\(\?(?!:)")
_REPEATED_GROUP: Final = re.compile(r"\)[*+{]")
_DEPTH: Final = 3
"""Ids that name one field."""


def read_commands(table: Mapping[str, object]) -> tuple[CommandTemplate, ...]:
    """Read the table ``[run_command]``.

    Raises:
        ConfigurationError: It is not understood.
    """
    only_keys(table, {"allow"}, _TABLE)
    entries = read_list(table, "allow", MAX_COMMANDS, _TABLE)
    templates = tuple(_template(entry, f"{_TABLE}.allow, entry {number}") for number, entry in enumerate(entries, 1))
    if len({template.name for template in templates}) != len(templates):
        raise wrong(f"{_TABLE}.allow has a name twice")
    return templates


def _template(entry: object, where: str) -> CommandTemplate:
    if not isinstance(entry, dict):
        raise wrong(f"{where} is not written as [[{_TABLE}.allow]]")
    only_keys(entry, _KEYS, where)
    name, stdin, seconds = entry.get("name"), entry.get("stdin", False), entry.get("seconds", 60)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise wrong(f"{where}: name is not a word of at most 40 small letters, digits, - and _")
    if not isinstance(stdin, bool):
        raise wrong(f"{where}: stdin is not true or false")
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 1 <= seconds <= MAX_SECONDS:
        raise wrong(f"{where}: seconds is not a whole number from 1 to {MAX_SECONDS}")
    env = _env(entry, where)
    if not env and not stdin:
        raise wrong(f"{where} has neither env nor stdin, so it could be given no secret")
    return CommandTemplate(
        name=name,
        argv=_argv(entry, where),
        folder=_path(entry.get("folder"), f"{where}: folder"),
        secrets=_secrets(entry, where),
        env=env,
        stdin=stdin,
        seconds=seconds,
        output=read_word(entry.get("output", ShownOutput.MASKED), ShownOutput, f"{where}: output"),
    )


def _argv(entry: Mapping[str, object], where: str) -> tuple[str | Free, ...]:
    program, *arguments = read_list(entry, "argv", MAX_ARGUMENTS, where) or [None]
    return (
        _path(program, f"{where}: argv, the program"),
        *(_argument(one, f"{where}: argv, argument {number}") for number, one in enumerate(arguments, 1)),
    )


def _argument(value: object, where: str) -> str | Free:
    if isinstance(value, dict):
        only_keys(value, {"pattern", "max_length"}, where)
        most = value.get("max_length", MAX_FREE)
        if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= MAX_FREE:
            raise wrong(f"{where}: max_length is not a whole number from 1 to {MAX_FREE}")
        return Free(_pattern(value.get("pattern"), where), most)
    return _line(value, where)


def _pattern(value: object, where: str) -> re.Pattern[str]:
    text = _line(value, f"{where}: pattern")
    if _SPECIAL_GROUP.search(text) or _REPEATED_GROUP.search(text):
        step = "Repeat characters, such as [a-z-]+, and write a bracket of the argument as [(] or [)]."
        raise wrong(f"{where}: pattern has a group that is repeated, or begins with (? other than (?:", step)
    try:
        # Letters and digits are those of ASCII, where a pattern says no more than \w or \d.
        return re.compile(text, re.ASCII)
    except (re.error, OverflowError, RecursionError):
        raise wrong(f"{where}: pattern is no regular expression") from None


def _path(value: object, where: str) -> str:
    path = _line(value, where)
    plain = PurePosixPath(path)
    if not plain.is_absolute() or str(plain) != path or path.startswith("//") or ".." in plain.parts:
        raise wrong(f"{where} is not an absolute path in its plain spelling")
    return path


def _line(value: object, where: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_FIXED or any(map(is_invisible, value)):
        raise wrong(f"{where} is not one line of at most {MAX_FIXED} visible characters")
    return value


def _env(entry: Mapping[str, object], where: str) -> frozenset[str]:
    names = frozenset(_variable(name, where) for name in read_list(entry, "env", MAX_ENV, where))
    if len(names) != len(read_list(entry, "env", MAX_ENV, where)):
        raise wrong(f"{where}: env has a name twice")
    return names


def _variable(value: object, where: str) -> str:
    try:
        check_name(value if isinstance(value, str) else "")
    except InvalidArgumentError as error:
        raise wrong(f"{where}: env: {error.message}") from None
    if value in SMALL_ENVIRONMENT:
        raise wrong(f"{where}: env: {value} is set for every program")
    return str(value)


def _secrets(entry: Mapping[str, object], where: str) -> tuple[tuple[str, ...], ...]:
    found = tuple(_ids(text, where) for text in read_list(entry, "secrets", MAX_SECRETS, where))
    if not found or len(set(found)) != len(found):
        raise wrong(f"{where}: secrets is missing, an empty list, or has one twice")
    return found


def _ids(value: object, where: str) -> tuple[str, ...]:
    text = value if isinstance(value, str) else ""
    ids = tuple(text.removeprefix(SCHEME).split("/"))
    if not text.startswith(SCHEME) or len(ids) > _DEPTH or not all(map(is_id, ids)):
        raise wrong(f"{where}: secrets is not a list of references made of ids, such as r4://64b1… or r4://64b1…/64b2…")
    return ids
