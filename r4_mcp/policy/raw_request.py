"""Raw requests: which ones the operator may list, and which one a caller asks for; all of it strict text.

What this file does not do: send, decide, or know which paths have a tool of their own (``machine.contract`` does).

Rules:
1. A path is a slash and a segment, up to eight times. A segment has 1 to 64 of ``A-Z a-z 0-9 . _ ~ -`` and is not made of dots
   alone. So there is no host, no ``//``, no percent sign, no line break: nothing that a server could read in a second way.
2. A query is ``key=value`` pairs of the same characters, up to 16, each key once. It may be left out.
3. A pattern is a method, one space, and a path in which ``*`` stands for exactly one segment. It leaves the query open.
4. A body is a JSON object for any method but GET, bounded in depth and size. Every text and whole number in it, keys included,
   is handed out to be screened.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from r4_mcp.core.encoding import parse_json
from r4_mcp.errors import InvalidArgumentError, MalformedError

MAX_PATH: Final = 512
"""Characters of a path with its query."""
MAX_PATTERN: Final = 80
"""Characters of a pattern: it is a part of an audit line."""
MAX_BODY: Final = 16 * 1024
"""Bytes of a body as compact JSON."""
MAX_BODY_DEPTH: Final = 8
MAX_SEGMENTS: Final = 8
MAX_PAIRS: Final = 16

_SEGMENT: Final = re.compile(r"(?!\.+\Z)[A-Za-z0-9._~-]{1,64}", re.ASCII)
_PAIR: Final = re.compile(r"([A-Za-z0-9._~-]{1,64})=([A-Za-z0-9._~-]{0,128})", re.ASCII)
_ANY: Final = "*"


class Method(StrEnum):
    """The methods of a raw request."""

    GET = "GET"
    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"
    DELETE = "DELETE"

    @property
    def is_read(self) -> bool:
        """Whether it asks for no change (RFC 9110 section 9.2.1)."""
        return self is Method.GET


@dataclass(frozen=True, slots=True)
class RawRequest:
    """What a caller asks for, by rules 1 and 2."""

    method: Method
    segments: tuple[str, ...]
    query: Mapping[str, str]

    @property
    def path(self) -> str:
        """The path without its query."""
        return "/" + "/".join(self.segments)


@dataclass(frozen=True, slots=True)
class RequestPattern:
    """What an operator lists, by rule 3; as text it is spelled as it was written."""

    method: Method
    segments: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.method.value} /{'/'.join(self.segments)}"

    def fits(self, request: RawRequest) -> bool:
        """Say whether a request is one of those that it lists."""
        return (
            self.method is request.method
            and len(self.segments) == len(request.segments)
            and all(named in {_ANY, asked} for named, asked in zip(self.segments, request.segments, strict=True))
        )


def parse_pattern(text: str) -> RequestPattern:
    """Parse a pattern.

    Raises:
        ValueError: It is not of the form of rule 3; says no more, and not what stands there.
    """
    method, space, path = text.partition(" ")
    if len(text) > MAX_PATTERN or not space or method not in tuple(Method):
        raise ValueError("no method and path")
    segments = _segments(path)
    if segments is None or not all(part == _ANY or _SEGMENT.fullmatch(part) for part in segments):
        raise ValueError("no path of plain segments")
    return RequestPattern(Method(method), segments)


def parse_request(method: Method, text: str) -> RawRequest:
    """Parse what a caller asks for.

    Args:
        method: The HTTP method.
        text: The path under the API's base, with its query.

    Raises:
        InvalidArgumentError: It breaks rule 1 or 2; never repeats it.
    """
    path, mark, rest = text.partition("?")
    segments = _segments(path) if len(text) <= MAX_PATH else None
    if segments is None or not all(_SEGMENT.fullmatch(part) for part in segments):
        raise InvalidArgumentError(
            "the argument path is not of the form /segment/segment?key=value, with letters, digits and . _ ~ - alone",
            next_step="Give the path under the machine API's base: no host, no percent sign, no dot segment.",
        )
    pairs = [_PAIR.fullmatch(pair) for pair in rest.split("&")] if mark else []
    query = {pair[1]: pair[2] for pair in pairs if pair is not None}
    if len(query) != len(pairs) or len(pairs) > MAX_PAIRS:
        raise InvalidArgumentError(
            f"the query of the argument path is not up to {MAX_PAIRS} pairs key=value of the same characters, each key once"
        )
    return RawRequest(method, segments, query)


def check_body(method: Method, body: Mapping[str, object] | None) -> tuple[str, ...]:
    """Check a body by rule 4.

    Args:
        method: The HTTP method.
        body: Decoded JSON; None for no body.

    Returns:
        Every text and whole number in it, keys included, for the screen.

    Raises:
        InvalidArgumentError: It is not such an object; never repeats a part of it.
    """
    if body is None:
        return ()
    if method.is_read:
        raise InvalidArgumentError("the argument body has no meaning for GET")
    try:
        raw = json_text(body).encode("utf-8")
    except (TypeError, ValueError, RecursionError):
        raise InvalidArgumentError("the argument body is no JSON of whole texts and finite numbers") from None
    if len(raw) > MAX_BODY:
        raise InvalidArgumentError(f"the argument body is larger than {MAX_BODY} bytes")
    try:
        parse_json(raw, what="the argument body", max_depth=MAX_BODY_DEPTH, fractions=True)
    except MalformedError as error:
        raise InvalidArgumentError(error.message) from None
    return tuple(_texts(body))


def json_text(value: object) -> str:
    """Return compact JSON of a value that may hold fractions, which the JSON of the contract never does.

    Raises:
        ValueError: It is not JSON.
        TypeError: As before.
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _segments(path: str) -> tuple[str, ...] | None:
    slash, parts = path[:1], tuple(path[1:].split("/"))
    return parts if slash == "/" and len(parts) <= MAX_SEGMENTS else None


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        yield from (text for member in value.values() for text in _texts(member))
    elif isinstance(value, list):
        yield from (text for member in value for text in _texts(member))
    elif isinstance(value, int) and not isinstance(value, bool):
        yield str(value)
