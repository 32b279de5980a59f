"""Search over verified names: what fits a query, best first.

What this file does not do: fetch, or decide who may see what. It is given what is verified.

Rules:
1. Case, accents and compatibility forms don't matter, and neither does how much white space stands between words: both sides are
   folded (Unicode NFKD, case folding, without combining marks). Nothing in a query is a pattern.
2. Ranks: the whole text, its beginning, whole words of it, any part of it; and after these, a query of several words each of
   which is a part of a place's own texts or of what the place is in (``github token`` finds the field Token of the item GitHub).
3. A place is found once, at its best rank. Within a rank: vaults, items, fields, then by their folded texts, then by id.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from r4_mcp.core.sync import Matched
from r4_mcp.core.wire import FieldId, ItemId, VaultId
from r4_mcp.vault.sync import IndexedVault

_END: Final = "\n"
"""Ends each text; folding leaves none inside."""


_ORDER: Final = {Matched.VAULT: 0, Matched.ITEM: 1, Matched.FIELD: 2, Matched.WEBSITE: 3}


@dataclass(frozen=True, slots=True)
class Place:
    """A vault, an item of it, or a field of that."""

    vault_id: VaultId
    item_id: ItemId | None = None
    field_id: FieldId | None = None

    def within(self) -> Iterator[Place]:
        """Yield this place and what it is in."""
        yield self
        if self.field_id is not None:
            yield Place(self.vault_id, self.item_id)
        if self.item_id is not None:
            yield Place(self.vault_id)


@dataclass(frozen=True, slots=True)
class Hit:
    """A place that fits, and by which of its texts."""

    place: Place
    matched: Matched


@lru_cache(maxsize=65_536)
def fold(text: str) -> str:
    """Return the form in which texts are compared (rule 1)."""
    if text.isascii():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return " ".join("".join(character for character in folded if not unicodedata.combining(character)).split())


def texts_of(entry: IndexedVault) -> Iterator[tuple[Matched, str, Place]]:
    """Yield every text of a proven vault that can be searched."""
    if entry.vault is None:
        return
    checkpoint = entry.vault.summary.checkpoint
    vault_id = checkpoint.vault_id
    yield Matched.VAULT, checkpoint.name, Place(vault_id)
    for line in checkpoint.items:
        item = Place(vault_id, line.id)
        yield Matched.ITEM, line.name, item
        for website in line.websites:
            yield Matched.WEBSITE, website, item
        proven = entry.items.get(line.id)
        for field in () if proven is None else proven.checkpoint.fields:
            yield Matched.FIELD, field.name, Place(vault_id, line.id, field.id)


class SearchTexts:
    """The texts of everything visible, folded and in order.

    All of them stand in one string, so that a search is a search of the standard library's own.

    Args:
        vaults: What is known; vaults without a proof are not searched.
    """

    def __init__(self, vaults: Mapping[VaultId, IndexedVault]) -> None:
        rows = sorted(
            (_ORDER[matched], fold(text), place.vault_id, place.item_id or "", place.field_id or "", matched, place)
            for entry in vaults.values()
            for matched, text, place in texts_of(entry)
        )
        self._hits = [Hit(row[-1], row[-2]) for row in rows]
        self._text = _END + "".join(row[1] + _END for row in rows)
        self._starts: list[int] = []
        at = 1
        for row in rows:
            self._starts.append(at)
            at += len(row[1]) + 1

    def find(self, query: str) -> Iterator[Hit]:
        """Yield what fits, best first; lazily, so that a page costs about a page."""
        wanted = fold(query)
        if not wanted:
            return
        found: set[Place] = set()
        for rank in (self._whole, self._beginnings, self._words, self._parts, self._spread):
            for row in rank(wanted):
                hit = self._hits[row]
                if hit.place not in found:
                    found.add(hit.place)
                    yield hit

    def _whole(self, wanted: str) -> Iterator[int]:
        return (self._row(at + 1) for at in _places(self._text, _END + wanted + _END))

    def _beginnings(self, wanted: str) -> Iterator[int]:
        return (self._row(at + 1) for at in _places(self._text, _END + wanted))

    def _parts(self, wanted: str) -> Iterator[int]:
        return (self._row(at) for at in _places(self._text, wanted))

    def _words(self, wanted: str) -> Iterator[int]:
        text, size = self._text, len(wanted)
        for at in _places(text, wanted):
            if not text[at - 1].isalnum() and not text[at + size].isalnum():
                yield self._row(at)

    def _spread(self, wanted: str) -> Iterable[int]:
        words = wanted.split()
        if len(words) == 1:
            return ()
        rows = [set(self._parts(word)) for word in words]
        places = [{self._hits[row].place for row in found} for found in rows]
        return (
            row
            for row in sorted(set().union(*rows))
            if all(any(place in found for place in self._hits[row].place.within()) for found in places)
        )

    def _row(self, at: int) -> int:
        return bisect_right(self._starts, at) - 1


def _places(text: str, needle: str) -> Iterator[int]:
    at = text.find(needle)
    while at >= 0:
        yield at
        at = text.find(needle, at + 1)
