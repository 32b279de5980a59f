"""The egress guard: the last look at everything that leaves the process.

What this file does not do: filter. A hit means that some room showed what it must not, so the whole message is blocked: a
bug alarm.

Rules:
1. String leaves are looked at, never JSON keys. A value that stands inside our own constant words, or inside signed metadata
   (names, labels, websites), is public anyway: it gives nothing away there and does not alarm. Else a password that equals a
   vault's name would block every listing.
2. Exempt is a location (the explicit read's own ``value``), never a value.
3. Values under ``MIN_SUBSTRING`` characters are matched only as whole strings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Final

from r4_mcp.core.encoding import JsonIn
from r4_mcp.core.trust import SignerStatus, SignerTrust
from r4_mcp.core.wire import Classification, FieldType, ItemType, SignerType
from r4_mcp.errors import LeakBlockedError
from r4_mcp.machine.contract import Permission
from r4_mcp.secret import KnownSecrets
from r4_mcp.sinks.spellings import MIN_SUBSTRING, spellings

_ENUMS: Final[tuple[type[StrEnum], ...]] = (
    Classification,
    FieldType,
    ItemType,
    SignerType,
    SignerStatus,
    SignerTrust,
    Permission,
)
_STATES: Final = ("registered", "not_registered", "another_key_is_active", "unknown", "human", "agent", "vault", "item", "AGENT")
OUR_WORDS: Final = frozenset({*(member.value for enum in _ENUMS for member in enum), *_STATES, "r4://", "https://", "http://"})
"""Constant words of our own that a secret may happen to equal."""

MAX_CACHED: Final = 8192
"""Values whose spellings are kept, so that a new value costs its own spellings and not everybody's."""

Location = tuple[str | int, ...]


class Egress:
    """Looks for every known secret, in every spelling.

    Args:
        known: The secrets of this process.
        sentences: Constant sentences and names of ours that messages are made of (rule 1).
    """

    def __init__(self, known: KnownSecrets, sentences: Iterable[str] = ()) -> None:
        self._known = known
        self._words = OUR_WORDS | frozenset(sentences)
        self._generation = -1
        self._needles: tuple[str, ...] = ()
        self._cache: dict[str | bytes, frozenset[str]] = {}
        self._short: frozenset[str] = frozenset()

    def check(self, payload: JsonIn, *, exempt: frozenset[Location] = frozenset()) -> None:
        """Let a payload pass, or block it.

        Args:
            payload: What is about to leave, before it is encoded.
            exempt: Locations that may hold a plaintext (rule 2).

        Raises:
            LeakBlockedError: A known secret stands somewhere else.
        """
        for location, text in _leaves(payload, ()):
            if location not in exempt and self.holds_secret(text):
                raise LeakBlockedError("an outgoing message held a known secret outside the explicit read and was blocked")

    def holds_secret(self, text: str) -> bool:
        """Say whether a text holds a known secret in any spelling."""
        self._refresh()
        return text in self._short or any(needle in text for needle in self._needles)

    def _spelled(self, value: str | bytes) -> frozenset[str]:
        if value not in self._cache:
            if len(self._cache) >= MAX_CACHED:
                self._cache.clear()
            self._cache[value] = spellings(value)
        return self._cache[value]

    def _refresh(self) -> None:
        generation = self._known.generation
        if self._generation == generation:
            return
        needles: set[str] = set()
        short: set[str] = set()
        words = self._words | frozenset(self._known.public())
        corpus = "\n".join(words)
        for value in self._known.armed():
            if len(value) < MIN_SUBSTRING:
                if isinstance(value, str) and value not in words:
                    short.add(value)
            elif not (isinstance(value, str) and value in corpus):
                needles |= self._spelled(value)
        self._needles = tuple(sorted(needles, key=len, reverse=True))
        self._short = frozenset(short)
        # Last: another thread that sees the new number must see the new needles too.
        self._generation = generation


def _leaves(payload: JsonIn, at: Location) -> Iterator[tuple[Location, str]]:
    if isinstance(payload, str):
        yield at, payload
    elif isinstance(payload, Mapping):
        for key, member in payload.items():
            yield from _leaves(member, (*at, key))
    elif isinstance(payload, (list, tuple)):
        for index, member in enumerate(payload):
            yield from _leaves(member, (*at, index))
