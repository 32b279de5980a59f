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
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, takewhile
from typing import Final

from r4_mcp.core.sync import Matched
from r4_mcp.core.wire import FieldId, ItemId, VaultId
from r4_mcp.vault.sync import IndexedVault

_END: Final = "\n"
"""Ends each text; folding leaves none inside."""

_MANY: Final = 512
"""Places from which a word is no rare one: to go through more of them takes longer than to count all."""


_ORDER: Final = {Matched.VAULT: 0, Matched.ITEM: 1, Matched.FIELD: 2, Matched.WEBSITE: 3}


@dataclass(frozen=True, slots=True)
class Place:
    """A vault, an item of it, or a field of that."""

    vault_id: VaultId
    item_id: ItemId | None = None
    field_id: FieldId | None = None


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

    All of them stand in one string, so that a search is a search of the standard library's own; to go through all of it is what a
    search costs, so that it is done once for the query and once for each word. A text has two numbers: its row in this order, and
    its place number, in which a vault's texts follow each other, an item's within them, and its fields' last.

    Args:
        vaults: What is known; vaults without a proof are not searched.
    """

    def __init__(self, vaults: Mapping[VaultId, IndexedVault]) -> None:
        texts: list[tuple[str, Hit]] = []
        self._vaults, self._items = array("L"), array("L")
        """By place number: that of the vault, and that of the item's name (of the vault, where it is the vault's own)."""
        for entry in vaults.values():
            vault = item = len(texts)
            for matched, text, place in texts_of(entry):
                if matched is Matched.ITEM:
                    item = len(texts)
                self._vaults.append(vault)
                self._items.append(item)
                texts.append((fold(text), Hit(place, matched)))
        keys = [
            (_ORDER[hit.matched], text, hit.place.vault_id, hit.place.item_id or "", hit.place.field_id or "")
            for text, hit in texts
        ]
        self._numbers = array("L", sorted(range(len(texts)), key=keys.__getitem__))
        self._rows = array("L", self._numbers)
        self._hits: list[Hit] = []
        self._starts: list[int] = []
        at = 1
        for row, number in enumerate(self._numbers):
            text, hit = texts[number]
            self._rows[number] = row
            self._hits.append(hit)
            self._starts.append(at)
            at += len(text) + 1
        self._text = _END + "".join(texts[number][0] + _END for number in self._numbers)
        kinds = [_ORDER[hit.matched] for hit in self._hits]
        self._groups = [range(bisect_left(kinds, kind), bisect_right(kinds, kind)) for kind in _ORDER.values()]
        """The rows of each kind, in the order of their texts."""

    def find(self, query: str) -> Iterator[Hit]:
        """Yield what fits, best first; lazily, so that a page costs about a page."""
        wanted = fold(query)
        if not wanted:
            return
        found: set[Place] = set()
        for rank in (self._whole, self._beginnings, self._inner, self._spread):
            for row in rank(wanted):
                hit = self._hits[row]
                if hit.place not in found:
                    found.add(hit.place)
                    yield hit

    def _whole(self, wanted: str) -> Iterator[int]:
        return (row for rows in self._groups for row in takewhile(lambda row: self._own(row) == wanted, self._from(rows, wanted)))

    def _beginnings(self, wanted: str) -> Iterator[int]:
        for rows in self._groups:
            yield from takewhile(lambda row: self._text.startswith(wanted, self._starts[row]), self._from(rows, wanted))

    def _from(self, rows: range, wanted: str) -> range:
        """Return the rows of a kind whose text is not before the one that is wanted."""
        return rows[bisect_left(rows, wanted, key=self._own) :]

    def _inner(self, wanted: str) -> Iterator[int]:
        """Yield the rows that have it as whole words, then those that have it as any part; these are not looked for twice."""
        text, size = self._text, len(wanted)
        parts = array("L")
        for at in _places(text, wanted):
            if text[at - 1].isalnum() or text[at + size].isalnum():
                parts.append(at)
            else:
                yield self._row(at)
        yield from map(self._row, parts)

    def _spread(self, wanted: str) -> Iterator[int]:
        words = wanted.split()
        if len(words) == 1:
            return
        # Whatever fits has the rarest word too, in itself or in what it is in.
        for row in sorted({inner for at in self._places_of_rarest(words) for inner in self._inside(self._row(at))}):
            own = self._own(row)
            elsewhere = [word for word in words if word not in own]
            if len(elsewhere) < len(words):
                around = _END.join(map(self._own, self._outside(row)))
                if all(word in around for word in elsewhere):
                    yield row

    def _places_of_rarest(self, words: Sequence[str]) -> Iterable[int]:
        few = [places for word in words if len(places := list(islice(_places(self._text, word), _MANY))) < _MANY]
        if few:
            return min(few, key=len)
        return _places(self._text, min(words, key=self._text.count))

    def _inside(self, row: int) -> Sequence[int]:
        """Return the rows of a row's place and of what is in it."""
        place, number = self._hits[row].place, self._numbers[row]
        if place.field_id is not None:
            return (row,)
        group = self._vaults if place.item_id is None else self._items
        end = number + 1
        while end < len(group) and group[end] == group[number]:
            end += 1
        return self._rows[group[number] : end]

    def _outside(self, row: int) -> Iterator[int]:
        """Yield the other rows of a row's place, and those of what it is in."""
        number = self._numbers[row]
        yield self._rows[self._vaults[number]]
        for other in range(self._items[number], len(self._rows)):
            outer = self._rows[other]
            if self._items[other] != self._items[number] or self._hits[outer].place.field_id is not None:
                return
            yield outer

    def _own(self, row: int) -> str:
        at = self._starts[row]
        return self._text[at : self._text.index(_END, at)]

    def _row(self, at: int) -> int:
        return bisect_right(self._starts, at) - 1


def _places(text: str, needle: str) -> Iterator[int]:
    at = text.find(needle)
    while at >= 0:
        yield at
        at = text.find(needle, at + 1)
