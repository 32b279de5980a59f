"""A request with placeholders as a caller gives it, and what leaves of an answer.

What this file does not do: resolve a reference, decide, or send.

Rules:
1. A request has at most one body, of one kind, and credentials of one scheme.
2. What a person is asked about is the whole request, so it is small: ``MAX_DRAFT`` characters.
3. An answer is text of a stranger: what can't be seen in it is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from r4_mcp.core.encoding import JsonIn, compact_json
from r4_mcp.errors import InvalidArgumentError
from r4_mcp.policy.invisible import visible
from r4_mcp.policy.outcomes import HttpAnswer
from r4_mcp.sinks.answer import Answer, Binary, Text
from r4_mcp.sinks.destination import Destination
from r4_mcp.sinks.request import BasicAuth, BearerAuth, FormBody, JsonBody, Request, TextBody, compose

MAX_DRAFT: Final = 16 * 1024
"""Characters of everything that a caller gives, as compact JSON."""


@dataclass(frozen=True, slots=True)
class RequestDraft:
    """A request as given: nothing of it is checked yet.

    Attributes:
        method: The HTTP method.
        url: Absolute.
        headers: By name.
        query: By name.
        bearer: A bearer token, for the Authorization header.
        username: Of HTTP's basic scheme; with ``password``.
        password: Of HTTP's basic scheme; with ``username``.
        json: A JSON body.
        form: Form fields by name.
        text: A body that is sent as it is.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    bearer: str | None = None
    username: str | None = None
    password: str | None = None
    json: JsonIn = None
    form: Mapping[str, str] | None = None
    text: str | None = None

    def composed(self, destination: Destination) -> Request:
        """Check it, and find its placeholders.

        Args:
            destination: Its URL, parsed.

        Raises:
            InvalidArgumentError: Rules 1 and 2, or ``sinks.request`` refuses it.
            PlaceholderError: A placeholder is malformed, or stands where none may.
        """
        if len(self.whole()) > MAX_DRAFT:
            raise InvalidArgumentError(f"the request has more than {MAX_DRAFT} characters")
        bodies: list[JsonBody | FormBody | TextBody] = []
        if self.json is not None:
            bodies.append(JsonBody(self.json))
        if self.form is not None:
            bodies.append(FormBody(tuple(self.form.items())))
        if self.text is not None:
            bodies.append(TextBody(self.text))
        if len(bodies) > 1:
            raise InvalidArgumentError("a request has one body: json, form or text")
        return compose(
            self.method,
            destination,
            headers=tuple(self.headers.items()),
            query=tuple(self.query.items()),
            auth=self._auth(),
            body=bodies[0] if bodies else None,
        )

    def whole(self) -> str:
        """Return all of it, references and not values, as compact JSON.

        Raises:
            InvalidArgumentError: It holds a number that JSON does not have.
        """
        given: dict[str, JsonIn] = {
            "method": self.method,
            "url": self.url,
            "headers": dict(self.headers),
            "query": dict(self.query),
            "bearer": self.bearer,
            "username": self.username,
            "password": self.password,
            "json": self.json,
            "form": None if self.form is None else dict(self.form),
            "text": self.text,
        }
        try:
            return compact_json({name: value for name, value in given.items() if value not in (None, {})})
        except (ValueError, RecursionError):
            raise InvalidArgumentError("json holds a number that JSON does not have, or is too deep") from None

    def texts(self) -> dict[str, str]:
        """Return every text of it, by where it stands; not by names that the caller chose, which may be the secret."""
        found = {"url": self.url}
        for where, value in (
            ("headers", dict(self.headers)),
            ("query", dict(self.query)),
            ("auth", [text for text in (self.bearer, self.username, self.password) if text is not None]),
            ("json", self.json),
            ("form", dict(self.form or {})),
            ("text", self.text),
        ):
            found.update({f"{where}, text {number}": text for number, text in enumerate(_texts(value), 1)})
        return found

    def _auth(self) -> BasicAuth | BearerAuth | None:
        basic = (self.username, self.password)
        if self.bearer is not None and basic == (None, None):
            return BearerAuth(self.bearer)
        if self.bearer is None and self.username is not None and self.password is not None:
            return BasicAuth(self.username, self.password)
        if self.bearer is not None or basic != (None, None):
            raise InvalidArgumentError("auth is a bearer token, or a username with a password")
        return None


def http_answer(answer: Answer) -> HttpAnswer:
    """Build the view of an answer, which the sink has masked (rule 3)."""
    headers = tuple(f"{name}: {visible(text)}" for name, text in answer.headers)
    body = answer.body
    if isinstance(body, Text):
        return HttpAnswer(answer.status, headers, visible(body.text), "cut" if body.is_cut else "whole")
    if isinstance(body, Binary):
        return HttpAnswer(answer.status, headers, None, "not text")
    return HttpAnswer(answer.status, headers, None, "withheld")


def _texts(value: JsonIn) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, member in value.items():
            yield name
            yield from _texts(member)
    elif isinstance(value, Sequence):
        for member in value:
            yield from _texts(member)
