"""What a caller may see of an HTTP answer: status, chosen headers, masked and capped text.

What this file does not do: read from a network.

Rules:
1. Everything is masked before it is cut. Of a body that did not arrive whole, what may be the beginning of a value is left out.
2. Compressed and decompressed sizes both have their cap: 194 KB of gzip can be 200 MB. Codings other than gzip and deflate are
   not read.
3. What is no text in its character set, or holds control characters that no text has, is told by its size alone.
4. After a use of a value that can't be masked (too short, or a one-time code), there is no body, and a header that holds such a
   value is left out.
"""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from r4_mcp.sinks.capture import Capture
from r4_mcp.sinks.masking import Masker

MAX_RECEIVED: Final = 1_048_576
"""Bytes of a body that are read."""
MAX_DECODED: Final = 1_048_576
"""Bytes that a body is decompressed to."""
MAX_TEXT: Final = 65_536
"""Bytes of a body that are shown, in UTF-8."""
MAX_HEADER: Final = 2_048
"""Characters of a header that are shown."""
MAX_SHOWN: Final = 40
"""Headers that are shown."""
_CHUNK: Final = 65_536
"""Bytes that are masked at once; what comes after the shown text is not."""

SHOWN_HEADERS: Final = frozenset(
    {
        "accept-patch",
        "accept-post",
        "allow",
        "content-disposition",
        "content-language",
        "content-location",
        "content-type",
        "date",
        "deprecation",
        "etag",
        "last-modified",
        "link",
        "location",
        "ratelimit",
        "ratelimit-limit",
        "ratelimit-policy",
        "ratelimit-remaining",
        "ratelimit-reset",
        "retry-after",
        "sunset",
        "www-authenticate",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "x-request-id",
    }
)
"""Headers that say what to do next. Cookies are none of them: they are secrets of their own. Nor is the length of a body, which
tells the length of a value that stands in it."""

_CHARSETS: Final = frozenset({"utf-8", "ascii", "iso8859-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be"})
"""By the names of Python's codecs. Read are those that ``stream_spellings`` knows, so that a body that lies about its character
set shows nothing of a value; and a service must not choose among codecs that are no character sets at all."""

_CHARSET: Final = re.compile(r';\s*charset\s*=\s*"?([A-Za-z0-9_-]{1,40})', re.IGNORECASE)
_NOT_IN_TEXT: Final = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_WINDOWS: Final = {"gzip": (zlib.MAX_WBITS | 16,), "x-gzip": (zlib.MAX_WBITS | 16,), "deflate": (zlib.MAX_WBITS, -zlib.MAX_WBITS)}
"""Window bits for zlib. What is called deflate comes with zlib's header and without it (RFC 9110, section 8.4.1.2)."""

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Text:
    """A masked text; ``is_cut`` where more of it came, or would have."""

    text: str
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Binary:
    """A body that is no text; ``octets`` is what was received of it, in bytes."""

    octets: int
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Withheld:
    """A body that is not shown, by rule 4."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller may see."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: Text | Binary | Withheld


@dataclass(frozen=True, slots=True, repr=False)
class Viewer:
    """Looks at one answer on behalf of a caller.

    Args:
        masker: Knows the values of the request that can be masked.
        unmaskable: Those that can't be (rule 4).
    """

    masker: Masker
    unmaskable: tuple[str, ...] = ()

    @property
    def shows_bodies(self) -> bool:
        """Whether a body is worth reading."""
        return not self.unmaskable

    def headers(self, received: Headers) -> tuple[tuple[str, str], ...]:
        """Return the chosen headers, masked (rules 1 and 4)."""
        chosen = ((name.decode("latin-1").lower(), _header_text(value)) for name, value in received)
        shown = [(name, text) for name, text in chosen if name in SHOWN_HEADERS and not self._holds_unmaskable(text)]
        return tuple((name, self.masker.text(text)[:MAX_HEADER]) for name, text in shown[:MAX_SHOWN])

    def body(self, received: Headers, raw: bytes, *, is_cut: bool) -> Text | Binary:
        """Return the body, masked and capped (rules 1 to 3).

        Args:
            received: The headers that came with it.
            raw: Its bytes, at most ``MAX_RECEIVED``.
            is_cut: Whether there were more.
        """
        opened = _decompressed(_values(received, b"content-encoding"), raw)
        if opened is None:
            return Binary(len(raw), is_cut)
        decoded, has_more = opened
        is_part = is_cut or has_more
        text = _decoded(received, decoded, is_part=is_part)
        if text is None:
            return Binary(len(raw), is_part)
        kept = Capture(self.masker, MAX_TEXT)
        encoded = text.encode("utf-8")
        for at in range(0, len(encoded), _CHUNK):
            kept.feed(encoded[at : at + _CHUNK])
        kept.end(is_cut=is_part)
        return Text(kept.text, kept.is_cut)

    def _holds_unmaskable(self, text: str) -> bool:
        folded = text.casefold()
        forms = {form.casefold() for value in self.unmaskable for form in (value.strip(), quote(value.strip(), safe=""))}
        return any(form in folded for form in forms)


def _header_text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")  # RFC 9110, section 5.5, on what older servers send


def _values(received: Headers, name: bytes) -> Iterable[str]:
    for own, value in received:
        if own.lower() == name:
            yield from (part.strip().lower() for part in value.decode("latin-1").split(","))


def _decompressed(codings: Iterable[str], raw: bytes) -> tuple[bytes, bool] | None:
    """Undo at most one coding; return the bytes and whether more would have come, or None for what can't be read (rule 2)."""
    applied = [coding for coding in codings if coding not in {"", "identity"}]
    if not applied or not raw:
        return raw, False
    for bits in _WINDOWS.get(applied[0], ()) if len(applied) == 1 else ():
        inflater = zlib.decompressobj(bits)
        try:
            opened = inflater.decompress(raw, MAX_DECODED)
        except zlib.error:
            continue
        return opened, not inflater.eof or bool(inflater.unused_data)
    return None


def _decoded(received: Headers, raw: bytes, *, is_part: bool) -> str | None:
    """Return a body's text, or None if it has none (rule 3).

    UTF-8 comes first, whatever the body is told to be: what reads as UTF-8 is nothing else by chance.
    """
    told = _CHARSET.search(next(iter(_values(received, b"content-type")), ""))
    for charset in ("utf-8", *(_codec(told[1]) if told else ())):
        try:
            text = codecs.getincrementaldecoder(charset)("strict").decode(raw, final=not is_part)
        except UnicodeError:  # of which a UTF-16 without its mark is one, and not a UnicodeDecodeError
            continue
        if not _NOT_IN_TEXT.search(text):
            return text
    return None


def _codec(charset: str) -> tuple[str, ...]:
    try:
        name = codecs.lookup(charset).name
    except LookupError:
        return ()
    return (name,) if name in _CHARSETS else ()
