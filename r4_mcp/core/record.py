"""Typed, strict access to one parsed JSON object.

Two readers of one object, because two kinds of bytes exist:
1. ``exact``: signed objects. Every key is named by the contract; a missing or unknown one is refused before the signature is
   looked at (contract §3).
2. ``open_record``: unsigned wrappers around them. The keys we use must be there and of their type; others are not copied
   anywhere, so a service that adds one breaks nothing and shows nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import Final, TypeVar

from r4_mcp.core.encoding import MAX_INT, Json
from r4_mcp.errors import MalformedError

EnumT = TypeVar("EnumT", bound=StrEnum)
PartT = TypeVar("PartT")

_ID: Final = re.compile(r"[0-9a-f]{24}", re.ASCII)
_HEX_256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)

MAX_TEXT: Final = 65_536
"""Longest text of any metadata field, in characters; names have their own, lower limit where they are written."""

MAX_LIST: Final = 100_000
"""Most entries of any served list."""


def is_id(text: str) -> bool:
    """Say whether a text is an id: 24 lowercase hex characters (contract §1)."""
    return _ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Record:
    """One JSON object with a name for its errors."""

    what: str
    members: dict[str, Json]

    def text(self, key: str, *, max_length: int = MAX_TEXT) -> str:
        """Return a string member."""
        value = self.members.get(key)
        if not isinstance(value, str):
            raise self._wrong(key, "a string")
        if len(value) > max_length:
            raise self._wrong(key, f"at most {max_length} characters")
        return value

    def optional_text(self, key: str) -> str | None:
        """Return a string member, or None for null."""
        return None if self._member(key) is None else self.text(key)

    def identifier(self, key: str) -> str:
        """Return an id member."""
        value = self.members.get(key)
        if not isinstance(value, str) or not _ID.fullmatch(value):
            raise self._wrong(key, "an id of 24 lowercase hex characters")
        return value

    def optional_identifier(self, key: str) -> str | None:
        """Return an id member, or None for null."""
        return None if self._member(key) is None else self.identifier(key)

    def hex_digest(self, key: str) -> str:
        """Return a member of 64 lowercase hex characters."""
        value = self.members.get(key)
        if not isinstance(value, str) or not _HEX_256.fullmatch(value):
            raise self._wrong(key, "64 lowercase hex characters")
        return value

    def integer(self, key: str, *, minimum: int = 0) -> int:
        """Return an integer member within ``minimum`` and 2^53-1. True and false are not integers here."""
        value = self.members.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= MAX_INT:
            raise self._wrong(key, f"an integer from {minimum} to 2^53-1")
        return value

    def boolean(self, key: str) -> bool:
        """Return a boolean member."""
        value = self.members.get(key)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def choice(self, key: str, kind: type[EnumT]) -> EnumT:
        """Return a member of a closed set."""
        value = self.members.get(key)
        found: EnumT | None = _choices(kind).get(value) if isinstance(value, str) else None
        if found is None:
            raise self._wrong(key, "one of " + ", ".join(kind))
        return found

    def optional_choice(self, key: str, kind: type[EnumT]) -> EnumT | None:
        """Return a member of a closed set, or None for null."""
        return None if self._member(key) is None else self.choice(key, kind)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list-of-strings member."""
        found = self._list(key)
        if not found:
            return ()
        texts = [item for item in found if isinstance(item, str) and len(item) <= MAX_TEXT]
        if len(texts) != len(found):
            raise self._wrong(key, "a list of strings")
        return tuple(texts)

    def identifiers(self, key: str) -> tuple[str, ...]:
        """Return a list-of-ids member without repeats."""
        found = self.texts(key)
        if not all(map(is_id, found)) or len(set(found)) != len(found):
            raise self._wrong(key, "a list of distinct ids")
        return found

    def parts(self, key: str, read: Callable[[Json, str], PartT]) -> tuple[PartT, ...]:
        """Return a list member, each entry read by ``read(entry, what)``."""
        return tuple(read(entry, f"{self.what}.{key}[{index}]") for index, entry in enumerate(self._list(key)))

    def part(self, key: str, read: Callable[[Json, str], PartT]) -> PartT:
        """Return an object member, read by ``read(member, what)``."""
        return read(self._member(key), f"{self.what}.{key}")

    def has(self, key: str) -> bool:
        """Say whether a member is there and not null."""
        return self.members.get(key) is not None

    def _member(self, key: str) -> Json:
        if key not in self.members:
            raise MalformedError(f"{self.what} lacks {key}")
        return self.members[key]

    def _list(self, key: str) -> list[Json]:
        value = self.members.get(key)
        if not isinstance(value, list) or len(value) > MAX_LIST:
            raise self._wrong(key, f"a list of at most {MAX_LIST} entries")
        return value

    def _wrong(self, key: str, wanted: str) -> MalformedError:
        # No member that is wanted may be null, so the readers above ask for it as if it were there.
        if key not in self.members:
            return MalformedError(f"{self.what} lacks {key}")
        return MalformedError(f"{self.what}.{key} is not {wanted}")


def open_record(value: Json, what: str) -> Record:
    """Read an unsigned object (rule 2).

    Raises:
        MalformedError: Not an object.
    """
    if not isinstance(value, dict):
        raise MalformedError(f"{what} is not an object")
    return Record(what, value)


def exact(value: Json, what: str, keys: frozenset[str]) -> Record:
    """Read a signed object: exactly these keys (rule 1).

    Raises:
        MalformedError: Not an object, a key is missing, or there is one that the contract does not name.
    """
    record = open_record(value, what)
    if record.members.keys() == keys:
        return record
    missing = keys - record.members.keys()
    if missing:
        raise MalformedError(f"{what} lacks {', '.join(sorted(missing))}")
    # Their names were chosen by whoever sent them, so they are counted, not quoted.
    raise MalformedError(f"{what} has {len(record.members.keys() - keys)} member(s) that the contract does not name")


@cache
def _choices(kind: type[EnumT]) -> Mapping[str, EnumT]:
    # Calling the enum finds the same member, several times slower.
    return MappingProxyType({member.value: member for member in kind})
