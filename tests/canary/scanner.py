"""The scanner: finds planted plaintexts in bytes, in every encoding, and counts what it looked through.

What this file does not do: decide where a plaintext may stand; whoever scans says what is allowed there.

Rules:
1. Looked for are the pieces of each canary in our own encodings, and the whole of it in the product's: a gap in either list is
   closed by the other.
2. A finding names the canary, the encoding and the place, never the value.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from ahocorasick_rs import BytesAhoCorasick, Implementation

from r4_mcp.sinks.spellings import spellings

from .canaries import Canary
from .encodings import MIN_NEEDLE, needles


@dataclass(frozen=True, slots=True)
class Hit:
    """A canary in some bytes."""

    label: str
    encoding: str
    at: int


@dataclass(slots=True)
class Tally:
    """What was looked through."""

    scans: int = 0
    octets: int = 0


@dataclass(frozen=True, slots=True)
class _Needles:
    """Some canaries, ready to be looked for."""

    names: list[tuple[str, str]]
    automaton: BytesAhoCorasick

    @classmethod
    def of(cls, canaries: Iterable[Canary]) -> _Needles:
        """Encode canaries (rule 1)."""
        patterns: list[bytes] = []
        names: list[tuple[str, str]] = []
        for canary in canaries:
            for needle, encoding in _encoded(canary).items():
                patterns.append(needle)
                names.append((canary.label, encoding))
        return cls(names, BytesAhoCorasick(patterns, implementation=Implementation.ContiguousNFA))


@dataclass
class Scanner:
    """Looks for canaries.

    Attributes:
        tally: What it has looked through.
    """

    tally: Tally = field(default_factory=Tally)
    _needles: list[_Needles] = field(default_factory=list)
    _labels: set[str] = field(default_factory=set)

    def add(self, canaries: Iterable[Canary]) -> None:
        """Look for these too, from now on; one that is looked for already is left out."""
        fresh = {canary.label: canary for canary in canaries if canary.label not in self._labels}
        if fresh:
            self._labels |= fresh.keys()
            self._needles.append(_Needles.of(fresh.values()))

    def find(self, content: bytes, allowed: Collection[str] = ()) -> list[Hit]:
        """Return the canaries that stand in some bytes, each encoding once.

        Args:
            content: What left, or was written.
            allowed: Labels of canaries that may stand here.
        """
        self.tally.scans += 1
        self.tally.octets += len(content)
        found: dict[tuple[str, str], int] = {}
        for part in self._needles:
            for number, start, _ in part.automaton.find_matches_as_indexes(content, overlapping=True):
                found.setdefault(part.names[number], start)
        return [Hit(label, encoding, at) for (label, encoding), at in found.items() if label not in allowed]


def _encoded(canary: Canary) -> dict[bytes, str]:
    found: dict[bytes, str] = {}
    for piece in canary.pieces:
        for needle, encoding in needles(piece).items():
            found.setdefault(needle, encoding)
    for spelling in spellings(canary.text) if canary.text else ():
        needle = spelling.encode("utf-8", "surrogatepass")
        if len(needle) >= MIN_NEEDLE:
            found.setdefault(needle, "one of the product's spellings")
    return found
