"""References: ``r4://vault/item/field`` and SCREAMING keys, parsed, written and matched (contract §4, §8).

What this file does not do: fetch, or know what exists. It matches parts against names that the caller has proven.

Rules:
1. A part is an id (exactly 24 lowercase hex characters is always an id) or a percent-encoded name. ``/``, ``?``, ``#``, control
   characters and a ``%`` without two hex digits can't stand raw. The grammar is ours; no URL library normalises it.
2. Names that are ``.`` or ``..``, empty, or look like an id can only be addressed by id.
3. Matching is exact, then case-insensitive; several fits are an ambiguity, never a choice.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Generic, TypeVar
from urllib.parse import quote

from r4_mcp.core.record import is_id
from r4_mcp.errors import AmbiguousReferenceError, NotFoundError, ReferenceSyntaxError

SCHEME: Final = "r4://"
MAX_REFERENCE: Final = 9_216
"""Characters of a whole reference: three names of 255 characters, each character up to 12 when percent-encoded."""

_RAW_PART: Final = re.compile(r"(?:[^/?#%\x00-\x1f\x7f]|%[0-9A-Fa-f]{2})+")
_SCREAMING: Final = re.compile(r"[A-Z0-9]+(?:_[A-Z0-9]+)*", re.ASCII)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_WORD_BREAK: Final = re.compile(r"[^A-Za-z0-9]+", re.ASCII)

ThingT = TypeVar("ThingT")


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference; a part is the decoded text, and ``is_id`` tells ids from names."""

    vault: str
    item: str | None = None
    field: str | None = None


@dataclass(frozen=True, slots=True)
class ScreamingKey:
    """``{ITEM_NAME}_{FIELD_NAME}``, both in SCREAMING_SNAKE_CASE."""

    text: str


@dataclass(frozen=True, slots=True)
class Named(Generic[ThingT]):
    """Something that a part can name: its id, its proven name, and itself."""

    id: str
    name: str
    thing: ThingT


def parse_reference(text: str) -> Reference:
    """Parse ``r4://vault[/item[/field]]``.

    Raises:
        ReferenceSyntaxError: Rule 1. The text is not quoted: it may be a pasted secret.
    """
    if len(text) > MAX_REFERENCE:
        raise ReferenceSyntaxError(f"a reference has at most {MAX_REFERENCE} characters")
    if not text.startswith(SCHEME):
        raise ReferenceSyntaxError("a reference starts with r4://")
    parts = text.removeprefix(SCHEME).split("/")
    if not 1 <= len(parts) <= 3:  # noqa: PLR2004 - vault, item, field
        raise ReferenceSyntaxError("a reference has one to three parts: r4://vault/item/field")
    decoded = [_decode(part) for part in parts]
    return Reference(*decoded)


def parse_field_reference(text: str) -> Reference | ScreamingKey:
    """Parse a reference, or a SCREAMING key such as ``GITHUB_PRODUCTION_TOKEN``.

    Raises:
        ReferenceSyntaxError: Neither of the two.
    """
    if not text.startswith(SCHEME) and len(text) <= MAX_REFERENCE and _SCREAMING.fullmatch(text):
        return ScreamingKey(text)
    return parse_reference(text)


def write_reference(*parts: str) -> str:
    """Write a reference from decoded parts (names or ids)."""
    return SCHEME + "/".join(_encode(part) for part in parts)


def address(own_id: str, name: str, siblings: Sequence[str]) -> str:
    """Choose the part that addresses a thing: its name where that is unmistakable, else its id.

    Args:
        own_id: The thing's id.
        name: Its proven name.
        siblings: The names of everything in the same place, this one included.
    """
    alike = _folded(tuple(siblings))[name.casefold()]
    plain = name not in {"", ".", ".."} and not is_id(name) and len(name) <= 255  # noqa: PLR2004 - contract §2
    return name if plain and alike <= 1 and (name.isascii() or not _SURROGATE.search(name)) else own_id


@lru_cache(maxsize=16)
def _folded(names: tuple[str, ...]) -> Counter[str]:
    # A page of a listing asks for each of its lines among the same siblings, of which a vault has thousands.
    return Counter(map(str.casefold, names))


def match(part: str, things: Sequence[Named[ThingT]], what: str, reference: Callable[[Named[ThingT]], str]) -> ThingT:
    """Find the one thing that a part names (rule 3).

    Args:
        part: Decoded part of a reference.
        things: Everything it could name.
        what: Our own word for such a thing.
        reference: Writes the reference of a candidate, by id.

    Raises:
        NotFoundError: Nothing fits.
        AmbiguousReferenceError: Several things fit; lists them.
    """
    if is_id(part):
        found = [thing for thing in things if thing.id == part]
    else:
        found = [thing for thing in things if thing.name == part]
        if not found:
            folded = part.casefold()
            found = [thing for thing in things if thing.name.casefold() == folded]
    if not found:
        raise NotFoundError(f"no {what} of that {'id' if is_id(part) else 'name'} is visible to this agent")
    if len(found) > 1:
        raise AmbiguousReferenceError(
            f"{len(found)} {what}s fit that name", candidates=tuple(reference(thing) for thing in found)
        )
    return found[0].thing


def screaming(name: str) -> str:
    """Return a name in SCREAMING_SNAKE_CASE: my-redis-cache → MY_REDIS_CACHE (contract §4)."""
    return "_".join(word.upper() for word in _WORD_BREAK.split(name) if word)


def screaming_key(item_name: str, field_name: str) -> str | None:
    """Return the SCREAMING key of a field; None where a name has no letter or digit to make it of."""
    item, field = screaming(item_name), screaming(field_name)
    return f"{item}_{field}" if item and field else None


def _decode(part: str) -> str:
    if not part or not _RAW_PART.fullmatch(part):
        raise ReferenceSyntaxError("a part of the reference is empty or not percent-encoded")
    try:
        raw = bytearray()
        position = 0
        while position < len(part):
            if part[position] == "%":
                raw.append(int(part[position + 1 : position + 3], 16))
                position += 3
            else:
                raw += part[position].encode("utf-8")
                position += 1
        decoded = raw.decode("utf-8")
    except UnicodeError:
        raise ReferenceSyntaxError("a part of the reference is not percent-encoded UTF-8") from None
    if decoded in {".", ".."}:
        raise ReferenceSyntaxError("a part of the reference is a dot name; address such a thing by its id")
    return decoded


def _encode(part: str) -> str:
    # Leaves the unreserved characters of RFC 3986 section 2.3 alone, a slash is none of them; the digits are upper-case.
    return quote(part, safe="")
