"""What is shown of a raw answer: JSON of unknown shape, with a typed placeholder wherever something in it may be a secret.

This is the one place where a view is filtered and not built, because nobody knows the shape of what comes.

What this file does not do: fetch, or have the last word; the egress guard looks at what is let pass here as at everything else.

Rules:
1. A text is replaced as a whole, by a placeholder that says of what kind it was: a part that stayed could give the rest away. The
   length is told where the kind does not make the text a secret.
2. Replaced are secrets that this process knows, what has the shape of one (``shapes``), ciphertext envelopes, PEM, unbroken
   base64 and hexadecimal from ``MIN_BASE64`` and ``MIN_HEX`` characters on, addresses and queries that carry a credential, JSON
   as text in which something would be replaced, and all texts under a name of ``_SECRET_NAMES``, at any depth, whatever they look
   like: a short or hexadecimal secret has no shape.
3. Names of members are looked at like texts. What is shown is shown like names of a vault: escaped and capped.
4. Numbers, true, false and null stay as they are, unless a secret of this process is written like the number.
5. At most ``MAX_ENTRIES`` members and entries, and ``MAX_SHOWN`` characters of text, are shown; what is left out is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from r4_mcp.core.encoding import parse_json
from r4_mcp.errors import MalformedError
from r4_mcp.policy.raw_request import json_text
from r4_mcp.policy.shapes import has_secret_shape
from r4_mcp.policy.views import display

Answer: TypeAlias = "bool | int | float | str | Sequence[Answer] | Mapping[str, Answer] | None"
Shown: TypeAlias = "bool | int | float | str | list[Shown] | dict[str, Shown] | None"

MAX_DEPTH: Final = 16
MAX_ENTRIES: Final = 1_000
MAX_SHOWN: Final = 32_000
MAX_TEXT: Final = 2_000
"""Characters of one text that are shown."""
MAX_NAME: Final = 64
"""Characters of a member's name that are shown."""
MIN_BASE64: Final = 40
"""Characters of an unbroken run of base64 that is replaced: 30 bytes. References by id have 32, dates and UUIDs fewer."""
MIN_HEX: Final = 40
"""Hexadecimal digits that are replaced: an id has 24, a UUID 32; a key of 32 bytes has 64."""
MIN_PARAMETER: Final = 32
"""Characters of a query's value that make it a credential."""

MARKS: Final = ("\u2039", "\u203a")
"""What a placeholder stands between; no base64, path or word has them."""

SECRET: Final = "secret"  # noqa: S105 - the name of a kind
_ENVELOPE: Final = frozenset({"iv", "t", "d"})
_WRAPPED: Final = frozenset({344, 512, 684})
"""Characters of base64 that RSA of 2048, 3072 and 4096 bits wraps a key or signs to."""
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]+={0,2}", re.ASCII)
_LINE_BREAKS: Final = re.compile(r"[\r\n]+")
_HEX: Final = re.compile(rf"(?<![0-9A-Za-z])[0-9A-Fa-f]{{{MIN_HEX},}}(?![0-9A-Za-z])", re.ASCII)
_AROUND_ADDRESSES: Final = re.compile(r"[\s\"'<>()]+")
_SECRET_NAMES: Final = re.compile(
    r"(?:secret|passw(?:or)?d|passphrase|passcode|token|apikey|privatekey|accesskey|secretkey|signingkey|encryptedvalue|ciphertext"
    r"|credential|authorization|cookie|signature|dek|wrappedkey|seed|otp|pin)s?\Z"
)
"""How the name of a member that holds a secret ends, in small letters and without separators."""
_PARAMETERS: Final = frozenset({"sig", "key", "code", "auth", "hmac", "jwt", "session"})
"""Names of a query's parameters that carry a credential, beside those of members."""


class AnswerFilter:
    """Makes the shown form of one answer.

    Args:
        holds_secret: Says whether a text holds a secret of this process.
    """

    def __init__(self, holds_secret: Callable[[str], bool]) -> None:
        self._holds_secret = holds_secret
        self._entries = MAX_ENTRIES
        self._room = MAX_SHOWN
        self.replaced = 0
        """How many texts, names and numbers were replaced or left out."""

    def shown(self, raw: bytes) -> str | None:
        """Return what is shown of a body, as compact JSON text; None for an empty body.

        Args:
            raw: The body, within its cap.

        Raises:
            MalformedError: It is not strict JSON.
        """
        if not raw:
            return None
        answer: Answer = parse_json(raw, what="the answer", max_depth=MAX_DEPTH, fractions=True)
        return json_text(self._value(answer, secret=False))

    def _value(self, value: Answer, *, secret: bool) -> Shown:
        if isinstance(value, str):
            return self._text(value, secret=secret)
        if isinstance(value, Mapping):
            return self._replaced("ciphertext") if _is_envelope(value) else self._object(value, secret=secret)
        if isinstance(value, Sequence):
            return self._list(value, secret=secret)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and self._holds_secret(str(value)):
            return self._replaced(SECRET)
        return value

    def _object(self, members: Mapping[str, Answer], *, secret: bool) -> dict[str, Shown]:
        found: dict[str, Shown] = {}
        for number, (name, member) in enumerate(members.items(), 1):
            if self._entries == 0:
                found[_placeholder("more")] = self._left_out(len(members) - number + 1)
                break
            self._entries -= 1
            shown = self._name(name, number)
            # Two names may look the same once they are escaped.
            unique = shown if shown not in found else f"{shown} {_placeholder(str(number))}"
            found[unique] = self._value(member, secret=secret or _is_secret_name(name))
        return found

    def _list(self, entries: Sequence[Answer], *, secret: bool) -> list[Shown]:
        kept = entries[: self._entries]
        self._entries -= len(kept)
        found = [self._value(entry, secret=secret) for entry in kept]
        return found if len(kept) == len(entries) else [*found, self._left_out(len(entries) - len(kept))]

    def _name(self, name: str, number: int) -> str:
        if len(name) > MAX_NAME or self._kind(name) is not None:
            return self._replaced(f"name {number}")
        return display(name)

    def _text(self, text: str, *, secret: bool) -> str:
        kind = self._kind(text) or (SECRET if secret and text else None)
        if kind is not None:
            return self._replaced(kind if kind is SECRET else f"{kind}, {len(text)} characters")
        shown = display(text, MAX_TEXT)
        if len(shown) > self._room:
            return self._replaced(f"text, {len(text)} characters, left out")
        self._room -= len(shown)
        return shown

    def _replaced(self, what: str) -> str:
        self.replaced += 1
        return _placeholder(what)

    def _left_out(self, count: int) -> str:
        self.replaced += count
        return _placeholder(f"{count} left out")

    def _kind(self, text: str) -> str | None:
        """Return the kind of a text that may not be shown (rule 2); None for any other."""
        if self._holds_secret(text):
            return SECRET
        found = next((kind for kind, is_one in _KINDS.items() if is_one(text)), None)
        if found is None and self._hides_in_json(text):
            return "JSON with a secret"
        return found or (SECRET if has_secret_shape(text) else None)

    def _hides_in_json(self, text: str) -> bool:
        parsed = _parsed(text)
        inner = AnswerFilter(self._holds_secret)
        if isinstance(parsed, (Mapping, list)):
            inner._value(parsed, secret=False)
        return inner.replaced > 0


def _placeholder(what: str) -> str:
    return f"{MARKS[0]}{what}{MARKS[1]}"


def _parsed(text: str) -> Answer:
    """Return what a text is as JSON; the text itself where it is none."""
    if text.lstrip()[:1] not in {"{", "["}:
        return text
    try:
        return parse_json(text.encode("utf-8"), what="a text", max_depth=MAX_DEPTH, fractions=True)
    except MalformedError:
        return text


def _is_envelope(value: Answer) -> bool:
    return isinstance(value, Mapping) and value.keys() >= _ENVELOPE


def _is_run(text: str) -> bool:
    run = _LINE_BREAKS.sub("", text)
    return len(run) >= MIN_BASE64 and _BASE64.fullmatch(run) is not None


def _is_secret_name(name: str) -> bool:
    return _SECRET_NAMES.search(re.sub(r"[^a-z0-9]", "", name.lower())) is not None


def _carries_credential(address: str) -> bool:
    """Say whether an address, or a path with a query, gives access to whoever has it."""
    try:
        parts = urlsplit(address)
        pairs = parse_qsl(f"{parts.query}&{parts.fragment}", keep_blank_values=True)
    except ValueError:
        return True  # What can't be read can't be judged.
    return "@" in parts.netloc or any(
        _is_secret_name(name) or name.lower().rpartition("-")[2] in _PARAMETERS or len(value) >= MIN_PARAMETER
        for name, value in pairs
    )


_KINDS: Final[Mapping[str, Callable[[str], bool]]] = {
    "ciphertext": lambda text: _is_envelope(_parsed(text)),
    "PEM": lambda text: "-----BEGIN " in text,
    "wrapped key or signature": lambda text: len(text) in _WRAPPED and _is_run(text),
    "base64 or hexadecimal": lambda text: _is_run(text) or _HEX.search(text) is not None,
    "address with a credential": lambda text: any(map(_carries_credential, _AROUND_ADDRESSES.split(text))),
}
"""Kinds of texts whose length gives nothing away."""
