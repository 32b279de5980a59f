"""The spellings of a secret: what the egress guard and the maskers look for.

What this file does not do: search. It turns one value into the texts that would give it away.

Rules:
1. A value under ``MIN_SUBSTRING`` characters is only recognised as a whole string: as a part it would be found in everything.
2. A base64 of the value inside a longer text starts at one of three alignments; the characters that also depend on the neighbours
   are left out of the needle.
"""

from __future__ import annotations

import base64
import html
import json
from typing import Final
from urllib.parse import quote, quote_plus

MIN_SUBSTRING: Final = 8
"""Characters (or bytes) from which a value is looked for inside longer texts."""


MAX_WHOLE: Final = 4096
WINDOW: Final = 64
"""Values over ``MAX_WHOLE`` characters are recognised by three windows of this many: start, middle, end."""


def spellings(value: str | bytes) -> frozenset[str]:
    """Return the texts in which a value would be readable.

    Covers raw, JSON-escaped, URL, HTML, hex in both cases, base64 and base64url at three alignments, base32, reversed, and the
    same of its UTF-16 forms.

    Args:
        value: The plaintext: a text, or the bytes of a key.
    """
    found: set[str] = set()
    if len(value) > MAX_WHOLE:
        # A long value leaks by its parts as well; windows of it find every copy of the whole, at a bounded cost.
        middle = len(value) // 2
        return spellings(value[:WINDOW]) | spellings(value[middle : middle + WINDOW]) | spellings(value[-WINDOW:])
    if isinstance(value, str):
        found |= _text_spellings(value)
        octets = [value.encode("utf-8", "surrogatepass")]
        octets += [value.encode(codec, "surrogatepass") for codec in ("utf-16-le", "utf-16-be")]
    else:
        octets = [value]
        found.add(value.decode("latin-1"))
    for raw in octets:
        found |= _octet_spellings(raw)
    return frozenset(text for text in found if len(text) >= MIN_SUBSTRING)


def _text_spellings(value: str) -> set[str]:
    escaped = json.dumps(value)[1:-1]
    return {
        value,
        value[::-1],
        escaped,
        json.dumps(value, ensure_ascii=False)[1:-1],
        # JSON inside JSON, as in a tool result that quotes a document.
        json.dumps(escaped)[1:-1],
        quote(value, safe="", errors="surrogatepass"),
        quote(value, safe="", errors="surrogatepass").lower(),
        quote_plus(value, errors="surrogatepass"),
        html.escape(value),
        html.escape(value, quote=False),
    }


def _octet_spellings(raw: bytes) -> set[str]:
    base32 = base64.b32encode(raw).decode("ascii").rstrip("=")
    found = {raw.hex(), raw.hex().upper(), base32, base32.lower()}
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + raw).decode("ascii").rstrip("=")
        # Rule 2: the first characters mix in the neighbour before; the last one mixes in the neighbour behind.
        start = (offset * 8 + 5) // 6
        end = (offset + len(raw)) * 8 // 6
        needle = encoded[start:end]
        found |= {needle, needle.replace("+", "-").replace("/", "_")}
    return found
