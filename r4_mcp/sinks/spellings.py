"""The spellings of a secret: what the egress guard and the maskers look for.

What this file does not do: search. It turns one value into the texts that would give it away.

Rules:
1. A value under ``MIN_SUBSTRING`` characters is only recognised as a whole string: as a part it would be found in everything.
2. A base64 of the value inside a longer text starts at one of three alignments; the characters that also depend on the neighbours
   are left out of the needle. A base32 of it is recognised where it begins.
3. Longest first: who masks the longer spelling before the shorter one inside it leaves no rest behind. Nobody cuts a text before
   it was looked through.
"""

from __future__ import annotations

import base64
import html
import json
import re
from typing import Final
from urllib.parse import quote, quote_plus

MIN_SUBSTRING: Final = 8
"""Characters (or bytes) from which a value is looked for inside longer texts."""

MAX_WHOLE: Final = 4096
WINDOW: Final = 64
"""Values over ``MAX_WHOLE`` characters are recognised by three windows of this many: start, middle, end."""

_URL_SAFE: Final = ("", "/", "!*'()", "!*'();/?:@&=+$,#")
"""What encoders of URLs leave alone beside letters, digits and ``-._~``: RFC 3986's strictest, Python's default, and the two of
ECMAScript (encodeURIComponent and encodeURI, ECMA-262 section 19.2.6)."""

_PERCENT: Final = re.compile("%[0-9A-F]{2}")


def spellings(value: str | bytes) -> tuple[str, ...]:
    """Return the texts in which a value would be readable, longest first (rule 3).

    Covers raw, JSON-escaped, URL, HTML, hex in both cases, base64 and base64url at three alignments, base32, reversed, and the
    same of its UTF-16 forms.

    Args:
        value: The plaintext: a text, or the bytes of a key.
    """
    return tuple(sorted(_spellings(value), key=lambda text: (-len(text), text)))


def _spellings(value: str | bytes) -> set[str]:
    if len(value) > MAX_WHOLE:
        # A long value leaks by its parts as well; windows of it find every copy of the whole, at a bounded cost.
        middle = len(value) // 2
        return _spellings(value[:WINDOW]) | _spellings(value[middle : middle + WINDOW]) | _spellings(value[-WINDOW:])
    if isinstance(value, str):
        found = _text_spellings(value)
        octets = [value.encode("utf-8", "surrogatepass")]
        octets += [value.encode(codec, "surrogatepass") for codec in ("utf-16-le", "utf-16-be")]
    else:
        # As the program would show bytes by mistake: one character each, or as Python writes them.
        found = {value.decode("latin-1"), repr(value)[2:-1]}
        octets = [value]
    for raw in octets:
        found |= _octet_spellings(raw)
    return {text for text in found if len(text) >= MIN_SUBSTRING}


def _text_spellings(value: str) -> set[str]:
    escaped = json.dumps(value)[1:-1]
    marked = html.escape(value)
    found = {
        value,
        value[::-1],
        # UTF-16 read as bytes: the same for both byte orders, but for one NUL at an end.
        "\0".join(value),
        escaped,
        escaped.replace("/", "\\/"),
        json.dumps(value, ensure_ascii=False)[1:-1],
        # JSON inside JSON, as in a tool result that quotes a document.
        json.dumps(escaped)[1:-1],
        quote_plus(value, errors="surrogatepass"),
        marked,
        marked.replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
        html.escape(value, quote=False),
    }
    for safe in _URL_SAFE:
        encoded = quote(value, safe=safe, errors="surrogatepass")
        found |= {encoded, _PERCENT.sub(lambda escape: escape[0].lower(), encoded)}
    # As host names and some logs have it: the whole in small letters.
    found.add(quote(value, safe="", errors="surrogatepass").lower())
    return found


def _octet_spellings(raw: bytes) -> set[str]:
    # Rule 2: the last character of a base32 mixes in the neighbour behind, unless it is full.
    base32 = base64.b32encode(raw).decode("ascii")[: len(raw) * 8 // 5]
    found = {raw.hex(), raw.hex().upper(), base32, base32.lower()}
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + raw).decode("ascii").rstrip("=")
        # Rule 2: the first characters mix in the neighbour before; the last one mixes in the neighbour behind.
        start = (offset * 8 + 5) // 6
        end = (offset + len(raw)) * 8 // 6
        needle = encoded[start:end]
        found |= {needle, needle.replace("+", "-").replace("/", "_")}
    return found
