"""Strict decoding and canonical encoding: one value has one spelling.

What this file does not do: give meaning. It knows JSON, base64 and RFC 8785, not vaults.

Rules:
1. JSON is UTF-8 without BOM, at most ``max_depth`` deep, without duplicate keys, floats, NaN, Infinity, ``-0``, integers beyond
   2^53-1, or lone surrogates. ``json.loads`` alone keeps the last duplicate and accepts NaN. (Only JSON that is of no contract of
   ours, and is neither signed nor stored, may have fractions: ``fractions``.)
2. Base64 is the standard alphabet, padded, with zero trailing bits: decoded, encoded again and compared, because
   ``b64decode(validate=True)`` accepts altered trailing bits.
3. Canonical bytes are RFC 8785. What our signed objects consist of goes through the standard encoder, which gives the same bytes.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn, TypeAlias

import rfc8785

from r4_mcp.errors import MalformedError

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"
JsonIn: TypeAlias = "bool | int | str | Sequence[JsonIn] | Mapping[str, JsonIn] | None"

MAX_INT: Final = 2**53 - 1
"""Largest integer that every JSON reader keeps exactly (RFC 8785 section 3.2.2.3)."""

MAX_DEPTH: Final = 32
"""Nesting allowed in a response; the contract's deepest object has 8 levels."""

_MAX_INT_DIGITS: Final = 17
_LONG_INTEGER: Final = re.compile(r"[-,:\[][0-9]{16}", re.ASCII)
"""Stands in the compact text of each member or entry that is an integer that might be out of range (and, seldom, in a name)."""

_PLAIN: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, sort_keys=True, separators=(",", ":"))
_SURROGATE_ESCAPE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def parse_json(raw: bytes, *, what: str, max_depth: int = MAX_DEPTH, fractions: bool = False) -> Json:
    """Parse JSON bytes by rule 1.

    Args:
        raw: The bytes, already within their size cap.
        what: Our own word for what is parsed, for the error.
        max_depth: Deepest nesting allowed.
        fractions: Whether finite numbers with a fraction or exponent pass, as ``float``, which the return type leaves out.

    Returns:
        The value: dict, list, str, int, bool or None.

    Raises:
        MalformedError: The bytes break rule 1.
    """
    if raw[:3] == b"\xef\xbb\xbf":
        raise MalformedError(f"{what} starts with a byte order mark")
    try:
        text = raw.decode("utf-8")
        value: Json = json.loads(
            text,
            object_pairs_hook=_object_without_duplicates,
            parse_int=_bounded_int,
            parse_float=_finite_float if fractions else _no_float,
            parse_constant=_no_constant,
        )
    except _StrictnessError as error:
        raise MalformedError(f"{what} {error}") from None
    except (ValueError, RecursionError):
        # The library's own message quotes the document, which may hold anything.
        raise MalformedError(f"{what} is not JSON in UTF-8") from None
    _check_depth(value, max_depth, what)
    if _SURROGATE_ESCAPE.search(raw):
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise MalformedError(f"{what} holds half of a surrogate pair") from None
    return value


def canonical(value: JsonIn) -> bytes:
    """Return the RFC 8785 bytes of a value.

    Raises:
        MalformedError: The value has no canonical form (a lone surrogate, an integer beyond 2^53-1).
    """
    try:
        # JsonIn has no floats, which are the one thing that the two encoders write differently and the text does not tell.
        text = _PLAIN.encode(value)
        if (text.isascii() and text[0] in "{[" and not _LONG_INTEGER.search(text)) or _is_plain(value):
            return text.encode("utf-8")
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, ValueError, TypeError, RecursionError):
        raise MalformedError("a value has no canonical JSON form") from None


def _is_plain(value: object) -> bool:
    """Say whether the standard encoder writes a value's RFC 8785 form; it does so far faster than the library.

    It escapes the same characters in the same way and sorts keys by code points, which for ASCII is the order of RFC 8785 (UTF-16
    units). A float, an integer out of range, another key or a type that we don't know is left to the library.
    """
    waiting: list[object] = [value]
    while waiting:
        one = waiting.pop()
        if one is None or isinstance(one, str):
            # A subclass such as an enum is a string to both encoders, by its own value.
            continue
        if isinstance(one, dict):
            if not all(type(key) is str and key.isascii() for key in one):
                return False
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
        elif not (type(one) is bool or (type(one) is int and -MAX_INT <= one <= MAX_INT)):
            return False
    return True


def compact_json(value: JsonIn) -> str:
    """Return compact JSON text, keys in the given order, non-ASCII kept."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def b64_encode(raw: bytes) -> str:
    """Return standard padded base64."""
    return base64.b64encode(raw).decode("ascii")


def b64_decode(text: str, *, what: str, max_size: int) -> bytes:
    """Decode base64 by rule 2.

    Args:
        text: The base64 text.
        what: Our own word for what is decoded, for the error.
        max_size: Largest decoded size in bytes; decided before decoding.

    Raises:
        MalformedError: Too large, or not the one spelling of its bytes.
    """
    if len(text) > (max_size + 2) // 3 * 4:
        raise MalformedError(f"{what} is larger than {max_size} bytes")
    try:
        decoded = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        raise MalformedError(f"{what} is not standard padded base64") from None
    if b64_encode(decoded) != text:
        raise MalformedError(f"{what} is base64 with a second spelling")
    if len(decoded) > max_size:
        raise MalformedError(f"{what} is larger than {max_size} bytes")
    return decoded


class _StrictnessError(Exception):
    """Raised inside the JSON hooks; its text is our own words only. Not a ValueError, so that it is not mistaken for one."""


def _object_without_duplicates(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _StrictnessError("has an object with a duplicate key")
    return found


def _bounded_int(digits: str) -> int:
    # The length is looked at first: int() of a megabyte of digits is quadratic.
    if len(digits) > _MAX_INT_DIGITS or digits == "-0":
        raise _StrictnessError("has an integer out of range")
    number = int(digits)
    if abs(number) > MAX_INT:
        raise _StrictnessError("has an integer out of range")
    return number


def _no_float(_: str) -> NoReturn:
    raise _StrictnessError("has a number with a fraction or exponent")


def _finite_float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise _StrictnessError("has a number out of range")
    return number


def _no_constant(_: str) -> NoReturn:
    raise _StrictnessError("has NaN or Infinity")


def _check_depth(value: Json, max_depth: int, what: str) -> None:
    # ``type`` and not ``isinstance``: the parser makes nothing else, and a page has some hundred thousand values.
    level = [value] if type(value) is dict or type(value) is list else []
    for _ in range(max_depth + 1):
        if not level:
            return
        level = [
            child
            for node in level
            for child in (node.values() if type(node) is dict else node)
            if type(child) is dict or type(child) is list
        ]
    raise MalformedError(f"{what} is nested more than {max_depth} levels deep")
