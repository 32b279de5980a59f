"""One HTTP request with placeholders: checked whole before a value is touched, then filled all or nothing.

What this file does not do: send, or decide where a value may go.

Rules:
1. ``compose`` refuses what can't be sent; it sees no value. ``fill`` sees the values and sends nothing. So a request leaves
   complete, or not at all.
2. Placeholders may stand in header values, credentials, query values, form values and the strings of JSON: nowhere else.
3. A header is given once. Headers that frame the message, name another target, or change what is answered to whom are ours.
4. A range is not asked for: the parts of an answer would show a value piece by piece, and no part can be masked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Final

from r4_mcp.errors import InvalidArgumentError
from r4_mcp.sinks.destination import Destination
from r4_mcp.sinks.placeholders import (
    JsonValue,
    Template,
    Values,
    basic_credentials,
    bearer_credentials,
    form_body,
    header_value,
    json_body,
    json_references,
    parse_json_template,
    parse_template,
    query_string,
    refuse_placeholders,
    text_body,
)

METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
_BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_PAIRS: Final = 64
"""Headers, query parameters and form fields, each."""
MAX_REQUEST: Final = 1_048_576
"""Bytes of target, headers and body together."""

REFUSED_HEADERS: Final = frozenset(
    {
        # Hop by hop, and framing (RFC 9110, sections 6.4, 7.2, 7.6.1, 8.4, 10.1.1).
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        # What some servers and proxies take for another target or method.
        "forwarded",
        "x-forwarded-host",
        "x-host",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-url",
        "x-rewrite-url",
        # Answers are asked for whole and uncompressed (rule 4).
        "accept-encoding",
        "if-range",
        "range",
    }
)

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", re.ASCII)
GivenPairs = Sequence[tuple[str, str]]


class Place(Enum):
    """Where a placeholder stands."""

    HEADER = "header"
    CREDENTIALS = "credentials"
    QUERY = "query"
    FORM = "form"
    JSON = "json"
    TEXT = "text"
    """A body that is sent as it is; no placeholder stands there."""


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """Credentials of HTTP's basic scheme, as given."""

    username: str
    password: str


@dataclass(frozen=True, slots=True)
class BearerAuth:
    """A bearer token, as given."""

    token: str


@dataclass(frozen=True, slots=True)
class JsonBody:
    """A JSON value, as given."""

    value: JsonValue


@dataclass(frozen=True, slots=True)
class FormBody:
    """Form fields, as given."""

    fields: GivenPairs


@dataclass(frozen=True, slots=True)
class TextBody:
    """A text that is sent as it is, as given."""

    text: str


@dataclass(frozen=True, slots=True)
class Part:
    """One filled place: which references it needs, and how its bytes are made of their values."""

    place: Place
    references: frozenset[str]
    fill: Callable[[Values], bytes]


@dataclass(frozen=True, slots=True)
class Request:
    """A request that can be sent once its values are known. Made by ``compose``."""

    method: str
    destination: Destination
    headers: tuple[tuple[str, Part], ...]
    query: Part | None
    body: Part | None

    @property
    def uses(self) -> frozenset[tuple[Place, str]]:
        """Each place with each reference that stands there."""
        parts = [part for _, part in self.headers] + [part for part in (self.query, self.body) if part is not None]
        return frozenset((part.place, reference) for part in parts for reference in part.references)

    @property
    def references(self) -> frozenset[str]:
        """The references whose values it needs."""
        return frozenset(reference for _, reference in self.uses)


@dataclass(frozen=True, slots=True, repr=False)
class Filled:
    """A request with its values in it: for the wire only, and never shown."""

    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    content: bytes


def compose(
    method: str,
    destination: Destination,
    *,
    headers: GivenPairs = (),
    query: GivenPairs = (),
    auth: BasicAuth | BearerAuth | None = None,
    body: JsonBody | FormBody | TextBody | None = None,
) -> Request:
    """Check a request and find its placeholders (rules 1 to 4).

    Raises:
        InvalidArgumentError: The method, a header, their number, or a body that the method does not have.
        PlaceholderError: One is malformed, or stands where none may.
    """
    if method not in METHODS:
        raise InvalidArgumentError(f"method is not one of {', '.join(sorted(METHODS))}")
    if body is not None and method in _BODILESS:
        raise InvalidArgumentError(f"a {method} request has no body")
    media, content = _content(body)
    parts = _headers(headers)
    if auth is not None:
        if "authorization" in parts:
            raise InvalidArgumentError("headers and auth both set Authorization")
        parts["authorization"] = _credentials(auth)
    for name, text in (("accept", "*/*"), ("user-agent", "r4-mcp"), ("content-type", media)):
        if text:
            parts.setdefault(name, _header(text))
    searched = None
    if query:
        pairs = _pairs(query, "query")
        searched = Part(Place.QUERY, _references(pairs), partial(query_string, pairs))
    return Request(method, destination, tuple(parts.items()), searched, content)


def fill(request: Request, values: Values) -> Filled:
    """Put the values into a request (rule 1).

    Args:
        request: The request.
        values: A value for each of its references.

    Raises:
        PlaceholderError: A value does not fit its place.
        InvalidArgumentError: Larger than ``MAX_REQUEST``, or a number that JSON does not have.
    """
    destination = request.destination
    queries = [destination.query.encode("ascii")] if destination.query else []
    if request.query is not None:
        queries.append(request.query.fill(values))
    target = b"?".join([destination.path.encode("ascii"), *([b"&".join(queries)] if queries else [])])
    headers = [(b"host", destination.authority.encode("ascii")), (b"accept-encoding", b"identity")]
    headers += [(name.encode("ascii"), part.fill(values)) for name, part in request.headers]
    content = b"" if request.body is None else request.body.fill(values)
    if content or request.method not in _BODILESS:
        headers.append((b"content-length", str(len(content)).encode("ascii")))
    size = len(target) + len(content) + sum(len(name) + len(value) for name, value in headers)
    if size > MAX_REQUEST:
        raise InvalidArgumentError(f"the request has more than {MAX_REQUEST} bytes")
    return Filled(target, tuple(headers), content)


def _headers(given: GivenPairs) -> dict[str, Part]:
    if len(given) > MAX_PAIRS:
        raise InvalidArgumentError(f"headers has more than {MAX_PAIRS} members")
    parts: dict[str, Part] = {}
    for name, text in given:
        refuse_placeholders(name, "a header's name")
        folded = name.lower()
        if not _NAME.fullmatch(name):
            raise InvalidArgumentError("headers holds a name that is no header name")
        if folded in REFUSED_HEADERS:
            raise InvalidArgumentError(f"the header {folded} can't be set")
        if folded in parts:
            raise InvalidArgumentError("headers sets one header twice")
        parts[folded] = _header(text)
    return parts


def _header(text: str) -> Part:
    template = parse_template(text)
    return Part(Place.HEADER, template.references, partial(header_value, template))


def _credentials(auth: BasicAuth | BearerAuth) -> Part:
    if isinstance(auth, BearerAuth):
        token = parse_template(auth.token)
        return Part(Place.CREDENTIALS, token.references, partial(bearer_credentials, token))
    username, password = parse_template(auth.username), parse_template(auth.password)
    needed = username.references | password.references
    return Part(Place.CREDENTIALS, needed, partial(basic_credentials, username, password))


def _content(body: JsonBody | FormBody | TextBody | None) -> tuple[str, Part | None]:
    if body is None:
        return "", None
    if isinstance(body, JsonBody):
        template = parse_json_template(body.value)
        return "application/json", Part(Place.JSON, json_references(template), partial(json_body, template))
    if isinstance(body, FormBody):
        pairs = _pairs(body.fields, "form")
        return "application/x-www-form-urlencoded", Part(Place.FORM, _references(pairs), partial(form_body, pairs))
    refuse_placeholders(body.text, "a text body")
    return "text/plain; charset=utf-8", Part(Place.TEXT, frozenset(), partial(text_body, Template((body.text,))))


def _pairs(given: GivenPairs, argument: str) -> tuple[tuple[str, Template], ...]:
    if len(given) > MAX_PAIRS:
        raise InvalidArgumentError(f"{argument} has more than {MAX_PAIRS} members")
    for name, _ in given:
        refuse_placeholders(name, f"a name in {argument}")
    return tuple((name, parse_template(text)) for name, text in given)


def _references(pairs: tuple[tuple[str, Template], ...]) -> frozenset[str]:
    return frozenset[str]().union(*(template.references for _, template in pairs))
