"""The spellings of a secret in what others write: the output of programs, the answers of services.

What this file does not do: search. ``spellings`` is what our own messages can hold; others write more than that.

Rules:
1. The result is bytes: a stream may have any character set, or none.
2. Documents stand in documents: a value is looked for as JSON and as HTML has it, and each of these in every spelling. Where one
   of these has more than ``MAX_WHOLE`` characters, it is looked for as it is only.
3. A base64 or base32 that stands alone ends in a character that a longer one would not have, and in padding.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from r4_mcp.sinks.spellings import MAX_WHOLE, MIN_SUBSTRING, spellings

_ESCAPE: Final = re.compile(r"(\\[ux]|%|&#x)([0-9a-f]+)")
_BASE32_GROUP: Final = 5
_BASE32_BITS: Final = 5


def stream_spellings(value: str) -> frozenset[bytes]:
    """Return the bytes in which a value would be readable.

    Args:
        value: The plaintext, ``MIN_SUBSTRING`` to ``MAX_WHOLE`` characters of it.
    """
    escaped = json.dumps(value)[1:-1]
    marked = html.escape(value)
    texts = {
        *spellings(value),
        value.lower(),
        value.upper(),
        _with_capital_digits(escaped),
        marked.replace("&#x27;", "&apos;"),
        *_quoted(value),
        *_escaped_throughout(value),
    }
    # Rule 2. A set: all of these are one text for a value without special characters.
    documents = {value, escaped, json.dumps(value, ensure_ascii=False)[1:-1], marked}
    for document in documents:
        if len(document) <= MAX_WHOLE:
            texts.update(spellings(document))
    octets = {text.encode("utf-8", "surrogatepass") for text in texts}
    wide = [value.encode(codec, "surrogatepass") for codec in ("utf-16-le", "utf-16-be")]
    octets.update(wide, _in_code_pages(value))
    for raw in (*wide, *(document.encode("utf-8", "surrogatepass") for document in documents)):
        octets.update(_alone(raw))
    octets.update(_inside_base32(value.encode("utf-8", "surrogatepass")))
    # A base32 that begins in the middle of a group loses a character or two.
    return frozenset(spelling for spelling in octets if len(spelling) >= MIN_SUBSTRING)


def _quoted(value: str) -> Iterator[str]:
    # In single quotes, as shells and Python's shlex leave them and come back.
    yield value.replace("'", "'\\''")
    yield value.replace("'", "'\"'\"'")
    # In double quotes, and word by word.
    yield re.sub(r'([\\"$`])', r"\\\1", value)
    yield re.sub(r"([^\w@%+=:,./-])", r"\\\1", value)
    # In a literal of Python, with its own characters and without.
    yield repr(value)[1:-1]
    yield ascii(value)[1:-1]


def _escaped_throughout(value: str) -> Iterator[str]:
    """Yield the forms that escape every character, needed or not."""
    wide = value.encode("utf-16-be", "surrogatepass").hex()
    units = [wide[at : at + 4] for at in range(0, len(wide), 4)]
    raw = value.encode("utf-8", "surrogatepass")
    yield "".join(f"&#{ord(character)};" for character in value)
    for text in (
        "".join(f"\\u{unit}" for unit in units),
        "".join(f"%{octet:02x}" for octet in raw),
        "".join(f"\\x{octet:02x}" for octet in raw),
        "".join(f"&#x{ord(character):x};" for character in value),
    ):
        yield text
        yield _with_capital_digits(text)


def _with_capital_digits(text: str) -> str:
    return _ESCAPE.sub(lambda escape: escape[1] + escape[2].upper(), text)


def _in_code_pages(value: str) -> Iterator[bytes]:
    for codec in ("latin-1", "cp1252"):
        # A value that the code page lacks is not written in it.
        with suppress(UnicodeError):
            yield value.encode(codec)
        # What was written as UTF-8 may have been read as the code page.
        with suppress(UnicodeError):
            yield value.encode("utf-8").decode(codec).encode("utf-8")


def _alone(raw: bytes) -> Iterator[bytes]:
    for encoded in (base64.b64encode(raw), base64.urlsafe_b64encode(raw)):
        yield encoded
        yield encoded.rstrip(b"=")


def _inside_base32(raw: bytes) -> Iterator[bytes]:
    """Yield the characters of a base32 that depend on these bytes alone, by the alignment at which they begin; and it alone."""
    alone = base64.b32encode(raw)
    yield alone
    yield alone.rstrip(b"=")
    for offset in range(_BASE32_GROUP):
        encoded = base64.b32encode(b"\0" * offset + raw)
        start = -(-offset * 8 // _BASE32_BITS)
        needle = encoded[start : (offset + len(raw)) * 8 // _BASE32_BITS]
        yield needle
        yield needle.lower()
