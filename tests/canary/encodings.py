"""Encodings of a plaintext, written here a second time so that a gap in the product's own list is not trusted.

What this file does not do: search, or use the product's list; ``scanner`` adds that one.

Rules:
1. Each encoding is a function from what gives a canary away to the bytes in which it would be read.
2. Where an encoding depends on what stands before, every alignment is one, without the characters that mix in the neighbours.
3. What is shorter than ``MIN_NEEDLE`` bytes is left out: it would be found by chance.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

MIN_NEEDLE: Final = 10
"""Bytes. Ten random letters are not met by chance in what a sweep looks through."""


def needles(piece: str | bytes) -> dict[bytes, str]:
    """Return the bytes in which a piece would be readable, each with the name of its encoding.

    Args:
        piece: A text, or the bytes of a key or seed.
    """
    found: dict[bytes, str] = {}
    if isinstance(piece, str):
        for name, encode in TEXT.items():
            found.setdefault(encode(piece), name)
        for order in ("le", "be"):
            for name, encoded in _of_wide(piece.encode(f"utf-16-{order}")):
                found.setdefault(encoded, f"utf-16-{order} {name}")
        piece = piece.encode()
    for name, encoded in _of_octets(piece):
        found.setdefault(encoded, name)
    return {needle: name for needle, name in found.items() if len(needle) >= MIN_NEEDLE}


def _percent(text: str) -> bytes:
    return "".join(f"%{octet:02X}" for octet in text.encode()).encode()


def _escaped(text: str) -> bytes:
    return "".join(f"\\u{ord(character):04x}" for character in text).encode()


TEXT: Final[dict[str, Callable[[str], bytes]]] = {
    "raw": str.encode,
    "reversed": lambda text: text[::-1].encode(),
    "small letters": lambda text: text.lower().encode(),
    "capitals": lambda text: text.upper().encode(),
    "json": lambda text: json.dumps(text)[1:-1].encode(),
    "json in json": lambda text: json.dumps(json.dumps(text))[3:-3].encode(),
    "json escapes": _escaped,
    "json escapes in json": lambda text: _escaped(text).replace(b"\\", b"\\\\"),
    "url": lambda text: quote(text, safe="").encode(),
    "form": lambda text: quote_plus(text).encode(),
    "url, every character": _percent,
    "url, every character, small": lambda text: _percent(text).lower(),
    "html": lambda text: html.escape(text).encode(),
    "html, decimal": lambda text: "".join(f"&#{ord(character)};" for character in text).encode(),
    "html, hex": lambda text: "".join(f"&#x{ord(character):x};" for character in text).encode(),
    "spaced": lambda text: " ".join(text).encode(),
}
"""Name → encoding of a text."""


def _of_octets(raw: bytes) -> Iterator[tuple[str, bytes]]:
    yield "bytes", raw
    yield "bytes reversed", raw[::-1]
    yield "bytes as python writes them", repr(raw)[2:-1].encode()
    yield "bytes as latin-1 in utf-8", raw.decode("latin-1").encode()
    yield "hex with colons", raw.hex(":").encode()
    yield "hex with spaces", raw.hex(" ").encode()
    yield "hex escapes", "".join(f"\\x{octet:02x}" for octet in raw).encode()
    yield "decimals", ", ".join(map(str, raw)).encode()
    yield "decimals, compact", ",".join(map(str, raw)).encode()
    yield from _of_dense(raw)
    for offset in range(5):
        encoded = _shared(base64.b32encode, raw, offset, 5)
        yield f"base32 at {offset}", encoded
        yield f"base32 at {offset}, small", encoded.lower()
    for offset in range(4):
        # Whole groups only: the characters of a group depend on all its bytes.
        start = -offset % 4
        inner = raw[start : start + (len(raw) - start) // 4 * 4]
        yield f"base85 at {offset}", base64.b85encode(inner)
        yield f"ascii85 at {offset}", base64.a85encode(inner)


def _of_wide(raw: bytes) -> Iterator[tuple[str, bytes]]:
    yield "bytes", raw
    yield from _of_dense(raw)


def _of_dense(raw: bytes) -> Iterator[tuple[str, bytes]]:
    yield "hex", raw.hex().encode()
    yield "HEX", raw.hex().upper().encode()
    for offset in range(3):
        encoded = _shared(base64.b64encode, raw, offset, 6)
        yield f"base64 at {offset}", encoded
        yield f"base64url at {offset}", encoded.replace(b"+", b"-").replace(b"/", b"_")


def _shared(encode: Callable[[bytes], bytes], raw: bytes, offset: int, bits: int) -> bytes:
    """Return the characters that depend on ``raw`` alone when ``offset`` bytes stand before it (rule 2)."""
    first = -(-offset * 8 // bits)
    last = (offset + len(raw)) * 8 // bits
    return encode(b"\0" * offset + raw)[first:last]
