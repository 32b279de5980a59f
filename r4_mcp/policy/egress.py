"""The egress guard: the last look at everything that leaves the process.

What this file does not do: filter. A hit means that some room showed what it must not, so the whole message is blocked: a
bug alarm. It does not cut texts either: each is looked through whole, however long.

Rules:
1. String leaves are looked at, never JSON keys.
2. Exempt is a location (the explicit read's own ``value``), never a value.
3. Values under ``MIN_SUBSTRING`` characters are matched only as whole strings.
4. A place inside a public text gives nothing away there: our own words and sentences, signed metadata (names, labels, websites),
   and what is derived from it (its form in listings, in references, in SCREAMING keys). The place is let pass, not the value:
   the same value beside it, or in another spelling, is a hit. Else a password that equals a word of an error message would block
   that error for the life of the process, or be free to leave everywhere.
5. The verdict is exact: a needle of ``spellings`` stands in a leaf. The automata only say which values to try. They look for a
   short piece of each needle, so that their size does not depend on the length of the values.
6. A new value costs a small automaton. Small ones are built together into larger ones, up to ``MAX_SEGMENT`` values, which stay.
"""

from __future__ import annotations

import re
import sys
import threading
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import CodeType
from typing import Final
from urllib.parse import quote

from ahocorasick_rs import BytesAhoCorasick, Implementation

from r4_mcp.core.encoding import JsonIn
from r4_mcp.errors import LeakBlockedError, ReferenceSyntaxError
from r4_mcp.secret import KnownSecrets
from r4_mcp.sinks.spellings import MIN_SUBSTRING, spellings

MAX_SEGMENT: Final = 512
"""Values in one automaton: building it is the longest pause that a new value can cause (tens of milliseconds)."""

_GROWTH: Final = 4
"""A segment joins the next larger one when it has at least a quarter of its values. Measured over 4,096 values that arrive one by
one: each is built into an automaton 9.5 times on average, and at most 11 automata stand."""

_PIECE: Final = 12
"""Bytes of a needle's middle that an automaton looks for. The middle, because beginnings are what values of a kind share; twelve,
because shorter pieces of a hex are found by chance and longer ones cost memory."""

_CHUNK: Final = 65_536
"""Bytes that are searched at once, so that a text in which a piece stands everywhere gives no list of millions."""

_PLACEHOLDER: Final = re.compile(r"%[-#0-9.]*[a-z]|\{[^{}]*\}")
_SCREAMING: Final = re.compile(r"[A-Z0-9]+(?:_[A-Z0-9]+)+", re.ASCII)

Location = tuple[str | int, ...]
Value = str | bytes


class Egress:
    """Looks for every known secret, in every spelling.

    Args:
        known: The secrets of this process.
        sentences: Texts of ours that are not constants of the program, such as the service's address (rule 4).
    """

    def __init__(self, known: KnownSecrets, sentences: Iterable[str] = ()) -> None:
        self._known = known
        self._public = _PublicTexts(known, frozenset(sentences))
        self._index = _Index(-1, (), frozenset(), frozenset())
        self._lock = threading.RLock()

    def check(self, payload: JsonIn, *, exempt: frozenset[Location] = frozenset()) -> None:
        """Let a payload pass, or block it.

        Args:
            payload: What is about to leave, before it is encoded.
            exempt: Locations that may hold a plaintext (rule 2).

        Raises:
            LeakBlockedError: A known secret stands somewhere else.
        """
        if self._is_hit([text for location, text in _leaves(payload, ()) if location not in exempt]):
            raise LeakBlockedError("an outgoing message held a known secret outside the explicit read and was blocked")

    def holds_secret(self, text: str) -> bool:
        """Say whether a text holds a known secret in any spelling."""
        return self._is_hit([text])

    def _is_hit(self, texts: Sequence[str]) -> bool:
        # A logging handler may call from any thread, or from a signal handler in the middle of another look.
        with self._lock:
            self._index = index = self._index.followed(self._known)
            # A piece that is found across two leaves only makes its value a suspect.
            joined = "\n".join(texts)
            short, suspects = index.short.intersection(texts), index.suspects(joined)
            if not short and not suspects:
                return False
            self._public.follow()
            return not all(self._public.is_public(text, text) for text in short) or any(
                self._stands(value, texts, joined) for value in suspects
            )

    def _stands(self, value: Value, texts: Sequence[str], joined: str) -> bool:
        needles = [needle for needle in spellings(value) if needle in joined]
        return any(
            not self._public.covers(text, at, needle, value)
            for needle in needles
            for text in texts
            for at in _places(needle, text)
        )


@dataclass(frozen=True, slots=True)
class _Segment:
    """Some values, and the automaton that finds a piece of each of their needles (rules 5 and 6)."""

    pieces: Mapping[Value, tuple[bytes, ...]]
    """Kept, because to spell a value costs more than to build it into an automaton."""
    values: tuple[Value, ...]
    owners: array[int]
    """Number of the automaton's pattern → index of the value."""
    automaton: BytesAhoCorasick

    @classmethod
    def of(cls, pieces: Mapping[Value, tuple[bytes, ...]]) -> _Segment:
        owners = array("H")
        for number, own in enumerate(pieces.values()):
            owners.extend([number] * len(own))
        patterns = (piece for own in pieces.values() for piece in own)
        return cls(pieces, tuple(pieces), owners, BytesAhoCorasick(patterns, implementation=Implementation.ContiguousNFA))

    def suspects(self, raw: bytes) -> set[Value]:
        found: set[int] = set()
        for start in range(0, len(raw), _CHUNK):
            # Neighbouring chunks share what a piece that lies across their border needs.
            chunk = raw[start : start + _CHUNK + _PIECE - 1]
            found.update(
                self.owners[pattern] for pattern, _, _ in self.automaton.find_matches_as_indexes(chunk, overlapping=True)
            )
        return {self.values[number] for number in found}


@dataclass(frozen=True, slots=True)
class _Index:
    """What is looked for, as of one generation of the known secrets."""

    generation: int
    segments: tuple[_Segment, ...]
    """Larger ones first."""
    long: frozenset[Value]
    short: frozenset[str]
    """Rule 3."""

    def suspects(self, text: str) -> frozenset[Value]:
        """Return the values of which a piece stands in the text."""
        raw = text.encode("utf-8", "surrogatepass")
        # A value that was forgotten stays in its segment until that is built again, but is no longer looked for.
        return self.long.intersection(value for segment in self.segments for value in segment.suspects(raw))

    def followed(self, known: KnownSecrets) -> _Index:
        """Return the index of what is known now: this one, if nothing changed."""
        # Read first: what becomes known meanwhile makes the number differ at the next look.
        generation = known.generation
        if generation == self.generation:
            return self
        armed = known.armed()
        long = frozenset(value for value in armed if len(value) >= MIN_SUBSTRING)
        short = frozenset(value for value in armed if isinstance(value, str) and len(value) < MIN_SUBSTRING)
        return _Index(generation, self._grown(long), long, short)

    def _grown(self, long: frozenset[Value]) -> tuple[_Segment, ...]:
        standing = list(self.segments)
        if not self.long <= long:
            # Where most were forgotten, the rest is built anew, so that what is kept stays in proportion to what is known.
            standing = [segment for segment in standing if 2 * len(long.intersection(segment.values)) > len(segment.values)]
        fresh = list(long.difference(*(segment.pieces for segment in standing)))
        for start in range(0, len(fresh), MAX_SEGMENT):
            pieces = {
                value: tuple({_piece(needle) for needle in spellings(value)}) for value in fresh[start : start + MAX_SEGMENT]
            }
            # Decided before anything is built, so that one new value causes one build.
            while standing and len(pieces) * _GROWTH >= len(standing[-1].values) <= MAX_SEGMENT - len(pieces):
                pieces |= {value: own for value, own in standing.pop().pieces.items() if value in long}
            standing.append(_Segment.of(pieces))
            standing.sort(key=lambda segment: -len(segment.values))
        return tuple(standing)


class _PublicTexts:
    """The texts of rule 4. Looked at only where a value was found, so that they cost nothing else.

    Args:
        known: Knows what was published.
        sentences: Further texts that are public anyway.
    """

    def __init__(self, known: KnownSecrets, sentences: frozenset[str]) -> None:
        self._known = known
        self._sentences = _as_told(sentences)
        self._generation = -1
        self._own: dict[str, frozenset[str]] = {}
        self._texts: frozenset[str] = frozenset()
        self._around: dict[tuple[str, str], tuple[str, ...]] = {}
        self._key_words: frozenset[str] | None = None

    def follow(self) -> None:
        """Take note of what was published, and of modules that were loaded, since the last time."""
        loaded = [name for name in tuple(sys.modules) if name.startswith("r4_mcp.") and name not in self._own]
        if self._generation == self._known.generation and not loaded:
            return
        self._generation = self._known.generation
        self._own |= {name: _constants(name) for name in loaded}
        self._texts = self._sentences.union(self._known.public(), *self._own.values())
        self._around.clear()
        self._key_words = None

    def is_public(self, text: str, needle: str) -> bool:
        """Say whether a whole leaf is public: one public text, or made of nothing else.

        Args:
            text: The leaf.
            needle: What was found in it.
        """
        return text in self._texts or self._is_reference(text, needle) or self._is_key(text)

    def covers(self, text: str, at: int, needle: str, value: Value) -> bool:
        """Say whether the needle that stands at a place of the text lies wholly inside a public text there."""
        if isinstance(value, bytes):
            # No name or sentence is a key by chance.
            return False
        if value in self._texts or self.is_public(text, needle):
            return True
        end = at + len(needle)
        return any(
            text.find(public, max(0, end - len(public)), at + len(public)) != -1 for public in self._holding(value, needle)
        )

    def _holding(self, value: str, needle: str) -> tuple[str, ...]:
        if (value, needle) not in self._around:
            # Imported here: whoever shows names has it, and who only guards a log should not pay for it.
            from r4_mcp.policy.views import display  # noqa: PLC0415

            found = {text for text in self._texts if value in text}
            # What is derived from a text that holds the value holds the value so derived.
            found |= {quote(text, safe="", errors="surrogatepass") for text in found} | {display(text) for text in found}
            found |= {text for text in self._texts if needle in text}
            self._around[value, needle] = tuple(found)
        return self._around[value, needle]

    def _is_reference(self, text: str, needle: str) -> bool:
        from r4_mcp.core.record import is_id  # noqa: PLC0415 - as in _holding
        from r4_mcp.vault.references import parse_reference  # noqa: PLC0415 - as in _holding

        try:
            reference = parse_reference(text)
        except ReferenceSyntaxError:
            return False
        parts = (part for part in (reference.vault, reference.item, reference.field) if part is not None)
        # An id that nobody published may be the value itself, or its hex, shown as if it were an id.
        return all(part in self._texts or (is_id(part) and needle not in part) for part in parts)

    def _is_key(self, text: str) -> bool:
        if not _SCREAMING.fullmatch(text):
            return False
        if self._key_words is None:
            from r4_mcp.vault.references import screaming  # noqa: PLC0415 - as in _holding

            self._key_words = frozenset(screaming(name) for name in self._known.public())
        cuts = [cut.start() for cut in re.finditer("_", text)]
        return any(text[:cut] in self._key_words and text[cut + 1 :] in self._key_words for cut in cuts)


@cache
def _constants(module: str) -> frozenset[str]:
    """Return the constant texts of a module of ours, from its compiled code: every word it can say.

    They are read there and not listed by hand, because a sentence that somebody forgets to list blocks messages. They never
    change, so that one reading serves every guard of the process.
    """
    from importlib.abc import InspectLoader  # noqa: PLC0415 - twenty milliseconds that only a hit is worth

    loaded = sys.modules.get(module)
    spec = None if loaded is None else loaded.__spec__
    # The emulator is the other side: its constants are the contents of the demo's vaults.
    if module.startswith("r4_mcp.emulator") or spec is None or not isinstance(spec.loader, InspectLoader):
        return frozenset()
    try:
        code = spec.loader.get_code(module)
    except (ImportError, OSError, SyntaxError):
        # Not readable (any more): its words alarm where they equal a value. That blocks a message too many, never one too few.
        return frozenset()
    return frozenset() if code is None else _as_told(_texts_of(code))


def _texts_of(code: CodeType) -> Iterator[str]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _texts_of(constant)
        for text in constant if isinstance(constant, (tuple, frozenset)) else (constant,):
            if isinstance(text, str):
                yield text
                # A format's constant parts; those of an f-string are constants already.
                yield from _PLACEHOLDER.split(text)


def _as_told(texts: Iterable[str]) -> frozenset[str]:
    # ``explain`` begins each sentence with a capital.
    return frozenset(form for text in texts for form in (text, text[:1].upper() + text[1:]))


def _piece(needle: str) -> bytes:
    raw = needle.encode("utf-8", "surrogatepass")
    start = max(0, (len(raw) - _PIECE) // 2)
    return raw[start : start + _PIECE]


def _places(needle: str, text: str) -> Iterator[int]:
    at = text.find(needle)
    while at != -1:
        yield at
        at = text.find(needle, at + 1)


def _leaves(payload: JsonIn, at: Location) -> Iterator[tuple[Location, str]]:
    if isinstance(payload, str):
        yield at, payload
    elif isinstance(payload, Mapping):
        for key, member in payload.items():
            yield from _leaves(member, (*at, key))
    elif isinstance(payload, (list, tuple)):
        for index, member in enumerate(payload):
            yield from _leaves(member, (*at, index))
