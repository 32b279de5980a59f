"""Suggestions: which verified names a text may be the beginning of, and how each is addressed.

What this file does not do: fetch. It reads proven vaults and items that it is given.

Rules:
1. Only signed names are suggested; what does not verify is left out.
2. The beginning of a name fits in any case, raw or as it is spelled in a reference.
3. A name that is not unmistakable, or that would not be shown as it is, is suggested by its id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from r4_mcp.errors import NotFoundError, ReferenceSyntaxError
from r4_mcp.policy.views import display
from r4_mcp.vault.references import SCHEME, Named, Reference, address, match, parse_reference, write_reference
from r4_mcp.vault.sync import IndexedVault

ThingT = TypeVar("ThingT")

MAX_SUGGESTIONS: Final = 100
"""As many as the protocol lets one completion have."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One thing that fits: its part (a name or an id) and its part as a reference spells it."""

    part: str
    spelled: str


@dataclass(frozen=True, slots=True)
class Suggestions:
    """The first that fit, by name; ``total`` counts the others too."""

    found: tuple[Suggestion, ...]
    total: int


NOTHING: Final = Suggestions((), 0)


def suggest(within: str | None, typed: str, entries: Sequence[IndexedVault]) -> Suggestions:
    """Suggest vaults, a vault's items, or an item's fields.

    Args:
        within: Empty for vaults, ``vault`` for its items, ``vault/item`` for its fields; parts as in a reference. None for the
            names of items anywhere, which are words to search for and not parts.
        typed: The beginning of a name.
        entries: The visible vaults.

    Raises:
        ReferenceSyntaxError: ``within`` is not of that form.
        NotFoundError: Nothing visible has that name, or its fields are not known yet.
        AmbiguousReferenceError: Several have; lists them.
    """
    vaults = [Named(entry.listed.id, entry.listed.name, entry) for entry in entries if _agrees(entry)]
    if within is None:
        return _names(typed, entries)
    if not within:
        # An unverified vault has a name too, though an unsigned one: the twin of a verified one must not steal its address.
        return _fitting(typed, vaults, [entry.listed.name for entry in entries])
    place = parse_reference(SCHEME + within)
    found = match(place.vault, vaults, "vault", lambda vault: write_reference(vault.id))
    things = _inside(found, place)
    return _fitting(typed, things, [thing.name for thing in things])


def _names(typed: str, entries: Sequence[IndexedVault]) -> Suggestions:
    lines = (line for entry in entries if entry.vault is not None for line in entry.vault.summary.checkpoint.items)
    names = {line.name for line in lines if display(line.name) == line.name}
    return _fitting(typed, [Named(name, name, None) for name in names], ())


def _inside(entry: IndexedVault, place: Reference) -> list[Named[None]]:
    if entry.vault is None or place.field is not None:
        raise ReferenceSyntaxError("a name is completed inside a vault or an item: r4://vault/item")
    lines = entry.vault.summary.checkpoint.items
    if place.item is None:
        return [Named(line.id, line.name, None) for line in lines]
    items = [Named(line.id, line.name, line.id) for line in lines]
    item_id = match(place.item, items, "item", lambda item: write_reference(entry.listed.id, item.id))
    known = entry.items.get(item_id)
    if known is None:
        raise NotFoundError(f"the fields of item {item_id} are not known yet")
    return [Named(field.id, field.name, None) for field in known.checkpoint.fields]


def _agrees(entry: IndexedVault) -> bool:
    # The list is unsigned: its name counts where the signed one is the same.
    return entry.vault is not None and entry.vault.summary.checkpoint.name == entry.listed.name


def _fitting(typed: str, things: Sequence[Named[ThingT]], siblings: Sequence[str]) -> Suggestions:
    beginnings = _beginnings(typed)
    fitting = [thing for thing in things if thing.name.casefold().startswith(beginnings)]
    fitting.sort(key=lambda thing: (thing.name.casefold(), thing.id))
    return Suggestions(tuple(_suggestion(thing, siblings) for thing in fitting[:MAX_SUGGESTIONS]), len(fitting))


def _suggestion(thing: Named[ThingT], siblings: Sequence[str]) -> Suggestion:
    name = address(thing.id, thing.name, siblings)
    part = name if display(name) == name else thing.id
    return Suggestion(part, write_reference(part).removeprefix(SCHEME))


def _beginnings(typed: str) -> tuple[str, ...]:
    """Return what a name may begin with (rule 2)."""
    raw = typed.casefold()
    try:
        spelled = parse_reference(SCHEME + typed)
    except ReferenceSyntaxError:
        # Not a part as a reference spells it, then: a raw name, or nothing.
        return (raw,)
    return (raw,) if spelled.item is not None else (raw, spelled.vault.casefold())
