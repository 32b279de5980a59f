"""Reading the keys of a policy's text: TOML as a whole, words, lists, names, and what is said of a wrong one.

What this file does not do: know which tables and keys there are.

Rules:
1. An unknown key or word, a wrong type, a key or table that is there twice is an error. Messages name keys and lines, never
   values: the text may be that of another file by mistake.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, TypeVar

from r4_mcp.errors import ConfigurationError

MAX_NAME: Final = 512
"""Characters of a rule's name."""

_MAX_LINE: Final = 2 * MAX_NAME + 32
"""Characters of a line: a dotted key of 32,000 parts on one line keeps ``tomllib`` busy for half a minute."""
_AT_LINE: Final = re.compile(r"at line ([0-9]+), column [0-9]+", re.ASCII)
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_-]{1,32}", re.ASCII)
_CHECK: Final = "Correct the file; `r4-mcp policy check` says whether it is understood, and what it comes to."

WordT = TypeVar("WordT", bound=StrEnum)


def wrong(message: str, next_step: str = _CHECK) -> ConfigurationError:
    """Return the error for a text that is not understood."""
    return ConfigurationError(message, next_step=next_step)


def parse_toml(raw: bytes) -> dict[str, object]:
    """Parse a TOML document.

    Raises:
        ConfigurationError: It is not UTF-8 or not TOML, a line is too long, or something is there twice.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise wrong("it is not UTF-8") from None
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > _MAX_LINE:
            raise wrong(f"line {number} is longer than {_MAX_LINE} characters")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Of the parser's message only the line is used: the rest quotes the document.
        place = _AT_LINE.search(str(error))
        twice = str(error).startswith(("Cannot declare", "Cannot overwrite", "Duplicate", "Cannot mutate"))
        where = f"line {place[1]}" if place else "it"
        raise wrong(f"{where} has a key or table that is there twice" if twice else f"{where} is not TOML") from None


def only_keys(table: Mapping[str, object], known: Iterable[str], where: str) -> None:
    """Check that a table has no other keys than the known ones.

    Raises:
        ConfigurationError: It has.
    """
    for key in table:
        if key not in known:
            shown = f"unknown key {key}" if _PLAIN_KEY.fullmatch(key) else "unknown key that is no plain word"
            raise wrong(f"{where} has an {shown}; known are {', '.join(sorted(known))}")


def read_table(document: Mapping[str, object], key: str) -> dict[str, object]:
    """Read a table of a document; no key means an empty one.

    Raises:
        ConfigurationError: It is no table.
    """
    found = document.get(key, {})
    if not isinstance(found, dict):
        raise wrong(f"{key} is not a table")
    return found


def read_word(value: object, kind: type[WordT], where: str) -> WordT:
    """Read one word.

    Raises:
        ConfigurationError: It is none of its kind.
    """
    if isinstance(value, str) and value in tuple(kind):
        return kind(value)
    raise wrong(f"{where} is not one of {', '.join(kind)}")


def read_words(entry: Mapping[str, object], key: str, kind: type[WordT], where: str) -> frozenset[WordT]:
    """Read one word or a list of words; no key means none, which a rule takes for any.

    Raises:
        ConfigurationError: A word is none of its kind, or the list is empty or has one twice.
    """
    if key not in entry:
        return frozenset()
    where = f"{where}: {key}"
    value = entry[key]
    words = value if isinstance(value, list) else [value]
    if not words or len({str(word) for word in words}) != len(words):
        raise wrong(f"{where} is an empty list, or has a word twice")
    return frozenset(read_word(word, kind, where) for word in words)


def read_list(table: Mapping[str, object], key: str, most: int, where: str) -> list[object]:
    """Read a list; no key means an empty one.

    Raises:
        ConfigurationError: It is no list, or too long.
    """
    found = table.get(key, [])
    if not isinstance(found, list) or len(found) > most:
        raise wrong(f"{where}.{key} is not a list of at most {most}")
    return found


def read_name(entry: Mapping[str, object], where: str) -> str:
    """Read what people call something; no key means no name.

    Raises:
        ConfigurationError: It is no text, or too long.
    """
    name = entry.get("name", "")
    if not isinstance(name, str) or len(name) > MAX_NAME:
        raise wrong(f"{where}: name is not a text of at most {MAX_NAME} characters")
    return name
