"""Masking of known values in a stream: each becomes its reference, between angle quotation marks.

What this file does not do: prove that nothing leaked. Who holds a value can write it in a form that nobody looks for; what
programs and services do without intent is covered by ``stream_spellings``.

Rules:
1. Every byte that lies inside a spelling of a value is covered, however the values overlap and wherever the chunks end. A run of
   covered bytes becomes the references of its values, each once, in order; of values with one beginning, the longest counts.
2. A byte leaves only when it is decided: what may be the beginning of a value is held back, and nothing else is.
3. A stream that is cut off ends without ``finish``: what was held back is dropped, since it may be half a value.
4. A value under ``MIN_SUBSTRING`` characters can't be masked, and is refused.
5. A long value is looked for in pieces that overlap, so that the size of a needle has a bound; the bare lines of a text are
   looked for too, since lines leak alone. Over ``MAX_WHOLE`` characters, ``spellings`` has to do: more would cost seconds.
6. At the ends of a base64 inside a longer one, or of a long value, up to four bits of the first and of the last byte stay in
   characters that also depend on the neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from ahocorasick_rs import BytesAhoCorasick, Implementation

from r4_mcp.errors import NotMaskableError
from r4_mcp.secret import Secret
from r4_mcp.sinks.spellings import MAX_WHOLE, MIN_SUBSTRING, spellings
from r4_mcp.sinks.stream_spellings import stream_spellings

MIN_LINE: Final = 32
"""Characters from which one line of a value is looked for on its own; shorter ones (``-----END …``) are too common."""

MAX_PIECE: Final = 1_024
"""Characters of a piece of a long value (rule 5): few enough that the JSON of one is looked for in all its spellings too."""

_OVERLAP: Final = 64
"""Characters that neighbouring pieces of a long value share (rule 5): enough that their base64 joins without a gap."""

_ANCHOR: Final = 12
"""Bytes of a needle's beginning that the automaton looks for; the rest is compared. So the automaton stays small, however long
the values are."""

_CHUNK: Final = 65_536
"""Bytes that are searched at once, so that a stream full of beginnings gives no list of millions."""


def mark(reference: str) -> str:
    """Return what stands in place of a value."""
    return f"\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}{reference}\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"


def is_maskable(secret: Secret[str]) -> bool:
    """Say whether a value is long enough to be masked (rule 4). White space at its ends does not count: others strip it."""
    # reveal: seen by this count only.
    return len(secret.reveal().strip()) >= MIN_SUBSTRING


class Masker:
    """Knows the values of one use; ``stream`` masks as many streams as it has.

    Args:
        values: The values by their references. One that stands there twice is shown as the first reference.

    Raises:
        NotMaskableError: Rule 4.
    """

    def __init__(self, values: Mapping[str, Secret[str]]) -> None:
        owners: dict[bytes, bytes] = {}
        for reference, secret in values.items():
            if not is_maskable(secret):
                raise NotMaskableError(f"a value under {MIN_SUBSTRING} characters can't be masked")
            # reveal: seen by the needles of this object only.
            for needle in _needles(secret.reveal()):
                owners.setdefault(needle, mark(reference).encode("utf-8", "replace"))
        groups: dict[bytes, list[tuple[bytes, bytes]]] = {}
        for needle in sorted(owners, key=len, reverse=True):
            groups.setdefault(needle[:_ANCHOR], []).append((needle, owners[needle]))
        self._groups = groups
        self._lengths = sorted({len(anchor) for anchor in groups}, reverse=True)
        self._prefixes = frozenset(anchor[:length] for anchor in groups for length in range(1, len(anchor)))
        self._automaton = BytesAhoCorasick(groups, implementation=Implementation.ContiguousNFA)

    def stream(self) -> MaskingStream:
        """Begin a stream."""
        return MaskingStream(self)

    def text(self, text: str) -> str:
        """Mask a whole text."""
        stream = self.stream()
        return (stream.feed(text.encode("utf-8", "surrogatepass")) + stream.finish()).decode("utf-8", "replace")

    def starts(self, buffer: bytes, at: int) -> set[int]:
        """Return where a needle may begin, from a place of the buffer on."""
        found = self._automaton.find_matches_as_indexes(buffer[at:], overlapping=True)
        return {at + start for _, start, _ in found}

    def candidates(self, buffer: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield the needles whose anchor stands at a place, with their marks, longest first."""
        for length in self._lengths:
            yield from self._groups.get(buffer[at : at + length], ())

    def tail(self, buffer: bytes) -> int:
        """Return how many of the last bytes may be the beginning of an anchor."""
        longest = min(len(buffer), _ANCHOR - 1)
        return next((length for length in range(longest, 0, -1) if buffer[-length:] in self._prefixes), 0)


class MaskingStream:
    """One stream of bytes on its way out. Made by ``Masker.stream``."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._held = b""
        self._starts: set[int] = set()
        # Up to where what is held lies inside the open run, and the marks that were written for that run (rule 1).
        self._covered = 0
        self._run: set[bytes] = set()

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes, of any number; return those that are decided (rule 2)."""
        return b"".join(self._step(chunk[at : at + _CHUNK], final=False) for at in range(0, len(chunk), _CHUNK))

    def finish(self) -> bytes:
        """Return the rest. The stream is at its own end: what is not a whole value now is none."""
        return self._step(b"", final=True)

    def _step(self, chunk: bytes, *, final: bool) -> bytes:
        # A needle that began earlier has been noted by its anchor, unless less than the anchor was there.
        seen = max(0, len(self._held) - _ANCHOR + 1)
        buffer = self._held + chunk
        self._starts |= self._masker.starts(buffer, seen)
        decided = len(buffer) if final else len(buffer) - self._masker.tail(buffer)
        out: list[bytes] = []
        for start in sorted(self._starts):
            if start >= decided:
                break
            match = self._match(buffer, start, final=final)
            if match is None:
                decided = start
                break
            self._cover(buffer, start, match, out)
        self._plain(buffer, decided, out)
        self._held = buffer[decided:]
        self._covered -= decided
        self._starts = {start - decided for start in self._starts if start >= decided}
        return b"".join(out)

    def _match(self, buffer: bytes, start: int, *, final: bool) -> tuple[int, bytes] | None:
        """Return the length and mark of the longest needle at a place (0 for none), or None where only more bytes can tell."""
        for needle, own in self._masker.candidates(buffer, start):
            if buffer.startswith(needle, start):
                return len(needle), own
            if not final and len(needle) > len(buffer) - start and needle.startswith(buffer[start:]):
                return None
        return 0, b""

    def _cover(self, buffer: bytes, start: int, match: tuple[int, bytes], out: list[bytes]) -> None:
        length, own = match
        if not length:
            return
        self._plain(buffer, start, out)
        if own not in self._run:
            self._run.add(own)
            out.append(own)
        self._covered = max(self._covered, start + length)

    def _plain(self, buffer: bytes, end: int, out: list[bytes]) -> None:
        if end > self._covered:
            out.append(buffer[self._covered : end])
            self._covered = end
            self._run.clear()


def _needles(value: str) -> Iterator[bytes]:
    """Yield what gives a value away: the spellings of it, in pieces where it is long, and its bare lines (rule 5)."""
    whole = value.strip()  # what is looked for between any two neighbours, white space too
    forms = {whole}
    if "\n" in whole:
        yield from (line.encode("utf-8", "surrogatepass") for line in map(str.strip, whole.splitlines()) if len(line) >= MIN_LINE)
        if len(whole) <= MAX_WHOLE:
            forms.add(whole.replace("\r\n", "\n").replace("\n", "\r\n"))
    for form in forms:
        # The last piece has its full length, so that none is too short to be looked for.
        last = max(0, len(form) - MAX_PIECE)
        for start in (*range(0, last, MAX_PIECE - _OVERLAP), last):
            piece = form[start : start + MAX_PIECE]
            if len(whole) <= MAX_WHOLE:
                yield from stream_spellings(piece)
            else:
                yield from (text.encode("utf-8", "surrogatepass") for text in spellings(piece))
