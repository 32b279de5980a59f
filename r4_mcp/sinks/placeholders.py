"""Placeholders, ``{{r4://vault/item/field}}``, and the encoding of each place where a value may stand.

What this file does not do: resolve a reference, or decide which place is open to which item.

Rules:
1. A placeholder is two braces, a whole reference, two braces; white space, a second placeholder or a default inside are errors.
   Two braces before ``r4:`` are never text, so that a slip of the pen is not sent as it stands.
2. A value is put in once and not read again: one that holds a placeholder stays as it is.
3. Each place has one encoding, and a value that the place can't carry is refused, never changed.
4. A place where no placeholder may stand refuses it: sent as text, it would tell a stranger the names of the vault.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, quote_plus

from r4_mcp.errors import InvalidArgumentError, PlaceholderError
from r4_mcp.secret import Secret

JsonValue = str | int | float | bool | None | Sequence["JsonValue"] | Mapping[str, "JsonValue"]
Values = Mapping[str, Secret[str]]
"""Values by reference, as it stands between the braces."""

MAX_DEPTH: Final = 64
"""Levels of a JSON body; far under the limit of the interpreter's own recursion."""

_PART: Final = r"(?:[^/?#%{}\x00-\x1f\x7f]|%[0-9A-Fa-f]{2})+"
_PLACEHOLDER: Final = re.compile(r"\{\{(r4://" + "/".join([_PART] * 3) + r")\}\}")
_LIKE_ONE: Final = re.compile(r"\{\{\s*r4\s*:", re.IGNORECASE)

_HEADER: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?", re.ASCII)
"""RFC 9110, section 5.5, without obs-text: visible ASCII, with spaces and tabs between."""
_TOKEN: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Placeholder:
    """The reference of one placeholder."""

    reference: str


@dataclass(frozen=True, slots=True)
class Template:
    """A text with its placeholders. Made by ``parse_template``."""

    parts: tuple[str | Placeholder, ...]

    @property
    def references(self) -> frozenset[str]:
        """The references that it needs."""
        return frozenset(part.reference for part in self.parts if isinstance(part, Placeholder))

    def fill(self, values: Values) -> str:
        """Return the text with the values in place of the placeholders (rule 2).

        Raises:
            KeyError: A value is missing.
        """
        # reveal: seen by the place that the text is filled for, and by the receiver that was proven for it.
        return "".join(part if isinstance(part, str) else values[part.reference].reveal() for part in self.parts)


JsonTemplate = Template | int | float | bool | None | tuple["JsonTemplate", ...] | Mapping[str, "JsonTemplate"]
Pairs = Sequence[tuple[str, Template]]


def parse_template(text: str) -> Template:
    """Find the placeholders of a text.

    Raises:
        PlaceholderError: Rule 1. The text is not quoted.
    """
    parts: list[str | Placeholder] = []
    at = 0
    while like_one := _LIKE_ONE.search(text, at):
        found = _PLACEHOLDER.match(text, like_one.start())
        if found is None:
            raise PlaceholderError("a placeholder is not of the form {{r4://vault/item/field}}")
        parts += [text[at : found.start()], Placeholder(found[1])]
        at = found.end()
    parts.append(text[at:])
    return Template(tuple(part for part in parts if part != ""))


def parse_json_template(value: JsonValue, depth: int = 0) -> JsonTemplate:
    """Find the placeholders in the strings of a JSON value.

    Args:
        value: The value.
        depth: Levels above it.

    Raises:
        PlaceholderError: Rule 1, or rule 4 for a member's name.
        InvalidArgumentError: Deeper than ``MAX_DEPTH``.
    """
    if depth > MAX_DEPTH:
        raise InvalidArgumentError(f"json has more than {MAX_DEPTH} levels")
    if isinstance(value, str):
        return parse_template(value)
    if isinstance(value, Mapping):
        for name in value:
            refuse_placeholders(name, "a member's name")
        return {name: parse_json_template(member, depth + 1) for name, member in value.items()}
    if isinstance(value, Sequence):
        return tuple(parse_json_template(member, depth + 1) for member in value)
    return value


def json_references(template: JsonTemplate) -> frozenset[str]:
    """Return the references that a JSON value needs."""
    if isinstance(template, Template):
        return template.references
    members: Iterable[JsonTemplate] = ()
    if isinstance(template, Mapping):
        members = template.values()
    elif isinstance(template, tuple):
        members = template
    return frozenset[str]().union(*(json_references(member) for member in members))


def refuse_placeholders(text: str, place: str) -> None:
    """Let a text pass that stands where no placeholder may (rule 4).

    Args:
        text: The text.
        place: Our own word for the place.

    Raises:
        PlaceholderError: It holds one, or something like one.
    """
    if _LIKE_ONE.search(text):
        raise PlaceholderError(f"{place} can't hold a placeholder")


def header_value(template: Template, values: Values) -> bytes:
    """Fill a header's value.

    Raises:
        PlaceholderError: CR, LF, NUL or another character that a header can't carry, white space at an end, or nothing at all.
    """
    filled = template.fill(values)
    if not _HEADER.fullmatch(filled):
        raise PlaceholderError("a header's value is empty or holds something that a header can't carry")
    return filled.encode("ascii")


def basic_credentials(username: Template, password: Template, values: Values) -> bytes:
    """Fill the Authorization header of HTTP's basic scheme, in UTF-8 (RFC 7617, section 2).

    Raises:
        PlaceholderError: A control character, or a colon in the user name.
    """
    name, word = username.fill(values), password.fill(values)
    if ":" in name or _CONTROL.search(name + word):
        raise PlaceholderError("basic credentials hold a control character, or a colon in the user name")
    return b"Basic " + base64.b64encode(_utf8(f"{name}:{word}"))


def bearer_credentials(token: Template, values: Values) -> bytes:
    """Fill the Authorization header of the bearer scheme. Tokens may hold more than RFC 6750 names: services issue such.

    Raises:
        PlaceholderError: Nothing, white space, or something that a header can't carry.
    """
    filled = token.fill(values)
    if not _TOKEN.fullmatch(filled):
        raise PlaceholderError("a bearer token is empty or holds something that a header can't carry")
    return b"Bearer " + filled.encode("ascii")


def query_string(pairs: Pairs, values: Values) -> bytes:
    """Fill a query, all but unreserved characters percent-encoded (RFC 3986, section 2).

    Raises:
        PlaceholderError: No UTF-8.
    """
    return b"&".join(_quoted(name) + b"=" + _quoted(template.fill(values)) for name, template in pairs)


def form_body(pairs: Pairs, values: Values) -> bytes:
    """Fill an ``application/x-www-form-urlencoded`` body (WHATWG URL, section 5.2).

    Raises:
        PlaceholderError: No UTF-8.
    """
    return b"&".join(
        quote_plus(_utf8(name)).encode("ascii") + b"=" + quote_plus(_utf8(template.fill(values))).encode("ascii")
        for name, template in pairs
    )


def json_body(template: JsonTemplate, values: Values) -> bytes:
    """Fill a JSON body (RFC 8259).

    Raises:
        PlaceholderError: No UTF-8.
        InvalidArgumentError: A number that JSON does not have.
    """
    try:
        return _utf8(json.dumps(_filled(template, values), ensure_ascii=False, allow_nan=False, separators=(",", ":")))
    except ValueError:
        raise InvalidArgumentError("json holds a number that JSON does not have") from None


def text_body(template: Template, values: Values) -> bytes:
    """Return a text as UTF-8.

    Raises:
        PlaceholderError: No UTF-8.
    """
    return _utf8(template.fill(values))


def _filled(template: JsonTemplate, values: Values) -> JsonValue:
    if isinstance(template, Template):
        return template.fill(values)
    if isinstance(template, Mapping):
        return {name: _filled(member, values) for name, member in template.items()}
    if isinstance(template, tuple):
        return [_filled(member, values) for member in template]
    return template


def _quoted(text: str) -> bytes:
    return quote(_utf8(text), safe="").encode("ascii")


def _utf8(text: str) -> bytes:
    with suppress(UnicodeEncodeError):
        return text.encode("utf-8")
    # Not where it was caught: the codec's error holds the text, and would be this one's context.
    raise PlaceholderError("a text to be sent holds half a surrogate pair, which UTF-8 does not have")
