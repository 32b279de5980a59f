"""Values of the tests, the encoders that would write them, and bytes cut into chunks."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final
from urllib.parse import quote, quote_plus

from r4_mcp.secret import KnownSecrets, Secret, SecretKind
from r4_mcp.sinks.masking import Masker

VALUE: Final = 'Demo-"pass\\word"/+é <&> 1234 it\'s (#;)! $x'
PLAIN: Final = "plain-Value-0123456789"
REFERENCE: Final = "r4://Harbour/Crane/PIN%20of%20the%20lock"
OTHER: Final = "r4://Harbour/Lantern/wick"


def secret(value: str) -> Secret[str]:
    """Make a secret of a process of its own."""
    return KnownSecrets().text(value, SecretKind.FIELD)


def masker(*values: str) -> Masker:
    """Return a masker of values, by the references ``r4://v/i/0``, ``r4://v/i/1`` and so on."""
    return Masker({f"r4://v/i/{number}": secret(value) for number, value in enumerate(values)})


def cut(text: bytes, places: Iterable[int]) -> Iterator[bytes]:
    """Yield the chunks of a text that is cut at some places."""
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    for start, end in pairwise(edges):
        yield text[start:end]


def masked(by: Masker, chunks: Iterable[bytes]) -> bytes:
    """Return what comes out of a whole stream."""
    stream = by.stream()
    return b"".join([*(stream.feed(chunk) for chunk in chunks), stream.finish()])


def _every_character(form: str) -> Callable[[str], str]:
    return lambda value: "".join(form.format(ord(character)) for character in value)


def _every_unit(form: str) -> Callable[[str], str]:
    def encode(value: str) -> str:
        raw = value.encode("utf-16-be")
        return "".join(form.format(int.from_bytes(raw[at : at + 2])) for at in range(0, len(raw), 2))

    return encode


def _every_octet(form: str) -> Callable[[str], str]:
    return lambda value: "".join(form.format(octet) for octet in value.encode())


def _percent_in_small_letters(value: str) -> str:
    return re.sub("%..", lambda escape: escape[0].lower(), quote(value, safe=""))


ENCODERS: Final[dict[str, Callable[[str], str]]] = {
    "raw": str,
    "reversed": lambda value: value[::-1],
    "small letters": str.lower,
    "capitals": str.upper,
    "JSON": lambda value: json.dumps(value)[1:-1],
    "JSON with its own characters": lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
    "JSON with slashes escaped": lambda value: json.dumps(value)[1:-1].replace("/", "\\/"),
    "JSON with capital digits": lambda value: json.dumps(value)[1:-1].replace("\\u00e9", "\\u00E9"),
    "JSON in JSON": lambda value: json.dumps(json.dumps(value))[3:-3],
    "JSON with its own characters in JSON": lambda value: json.dumps(json.dumps(value, ensure_ascii=False)[1:-1])[1:-1],
    "JSON in HTML": lambda value: html.escape(json.dumps(value)[1:-1]),
    "HTML in JSON": lambda value: json.dumps(html.escape(value))[1:-1],
    "JSON in a URL": lambda value: quote(json.dumps(value)[1:-1], safe=""),
    "JSON in base64": lambda value: base64.b64encode(json.dumps(value)[1:-1].encode()).decode(),
    "JSON with every character escaped": _every_unit("\\u{:04x}"),
    "JSON with every character escaped in capitals": _every_unit("\\u{:04X}"),
    "percent-encoded": lambda value: quote(value, safe=""),
    "percent-encoded in small letters": _percent_in_small_letters,
    "percent-encoded as by encodeURI": lambda value: quote(value, safe="!*'();/?:@&=+$,#"),
    "percent-encoded as by encodeURIComponent": lambda value: quote(value, safe="!*'()"),
    "percent-encoded throughout": _every_octet("%{:02X}"),
    "percent-encoded throughout in small letters": _every_octet("%{:02x}"),
    "form-encoded": quote_plus,
    "HTML": html.escape,
    "HTML without quotes": lambda value: html.escape(value, quote=False),
    "XML": lambda value: html.escape(value).replace("&#x27;", "&apos;"),
    "HTML numbers": _every_character("&#{};"),
    "HTML hex numbers": _every_character("&#x{:x};"),
    "HTML hex numbers in capitals": _every_character("&#x{:X};"),
    "hex": lambda value: value.encode().hex(),
    "HEX": lambda value: value.encode().hex().upper(),
    "C escapes": _every_octet("\\x{:02x}"),
    "base64": lambda value: base64.b64encode(value.encode()).decode().rstrip("="),
    "base64 of UTF-16": lambda value: base64.b64encode(value.encode("utf-16-le")).decode().rstrip("="),
    "base32": lambda value: base64.b32encode(value.encode()).decode().rstrip("="),
    "single-quoted by a shell": lambda value: value.replace("'", "'\\''"),
    "quoted by shlex": lambda value: shlex.quote(value)[1:-1] if shlex.quote(value) != value else value,
    "double-quoted by a shell": lambda value: re.sub(r'([\\"$`])', r"\\\1", value),
    "a literal of Python": lambda value: repr(value)[1:-1],
    "a literal of Python in ASCII": lambda value: ascii(value)[1:-1],
}
"""Every spelling that is masked, made by the encoders that would make it, not by the code that is tested."""

ENTRY: Final = {"TOKEN": secret(PLAIN)}
LINE: Final = f"TOKEN={PLAIN}\n".encode()
"""``ENTRY`` as a line of an env file."""


def files(root: Path) -> list[str]:
    """Return what stands below a root, without the repository's own files."""
    found = (path.relative_to(root) for path in root.rglob("*") if not path.is_dir())
    return sorted(str(path) for path in found if path.parts[0] not in {".git", ".gitignore"})
