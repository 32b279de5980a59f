"""What a search finds, and in which order: against the plainest possible search, and in words of people."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from types import MappingProxyType

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from r4_mcp.core.checkpoint import ProvenItem, ProvenSummary
from r4_mcp.core.directory import Directory, Signer
from r4_mcp.core.keys import load_private_key
from r4_mcp.core.served import ServedVault
from r4_mcp.core.sync import Matched
from r4_mcp.core.trust import SignerStatus
from r4_mcp.core.wire import (
    DetailCheckpoint,
    FieldId,
    FieldType,
    ItemId,
    ItemType,
    KeyId,
    SignedField,
    SignedItem,
    SignerType,
    SummaryCheckpoint,
    VaultId,
)
from r4_mcp.emulator.fresh import generate_private_key
from r4_mcp.vault.proven import ProvenVault
from r4_mcp.vault.ranking import Place, SearchTexts, fold, texts_of
from r4_mcp.vault.sync import IndexedVault

SIGNER = Signer(KeyId("f" * 24), SignerType.USER, load_private_key(generate_private_key(2048)).public, SignerStatus.ACTIVE, None)

Named = dict[str, dict[str, tuple[list[str], list[str]]]]
"""Vault name → item name → websites and field names."""


def world_of(named: Named) -> dict[VaultId, IndexedVault]:
    """Make an index of these names; ids are numbers in order."""
    vaults = {}
    number = iter(range(1, 10_000))
    for vault_name, items in named.items():
        vault_id = VaultId(f"{next(number):024x}")
        lines, details = [], {}
        for item_name, (websites, fields) in items.items():
            item_id = ItemId(f"{next(number):024x}")
            lines.append(SignedItem(item_id, item_name, ItemType.CUSTOM, tuple(websites), None))
            signed = tuple(
                SignedField(FieldId(f"{next(number):024x}"), name, FieldType.SECRET, order, (), ())
                for order, name in enumerate(fields)
            )
            detail = DetailCheckpoint(item_id, vault_id, 1, item_name, ItemType.CUSTOM, tuple(websites), None, signed)
            details[item_id] = ProvenItem(detail, SIGNER)
        summary = SummaryCheckpoint(vault_id, 1, vault_name, None, 1, tuple(lines), b"[]")
        proven = ProvenSummary(summary, SIGNER, {line.id: line for line in lines}, {}, 0)
        vault = ProvenVault(vault_id, Directory(vault_id, {}, {}), proven)
        listed = ServedVault(vault_id, vault_name, None, len(lines))
        vaults[vault_id] = IndexedVault(listed, vault, MappingProxyType(details))
    return vaults


SEED: Named = {
    "Production": {
        "GitHub": (["https://github.com"], ["Username", "Token"]),
        "Stripe": ([], ["API key", "Webhook secret"]),
        "Café Crème": (["https://cafe.example"], ["Kennwort"]),
    },
    "Sandbox github": {"GitHub Actions": ([], ["Deploy token"]), "a.b*c[d]": ([], ["(?:x)"])},
}


def within(place: Place) -> Iterator[Place]:
    """Yield a place and what it is in."""
    yield place
    if place.field_id is not None:
        yield Place(place.vault_id, place.item_id)
    if place.item_id is not None:
        yield Place(place.vault_id)


def found(query: str, named: Named = SEED) -> list[str]:
    """Search; returns the texts of the hits, as ``vault/item/field``."""
    vaults = world_of(named)
    names = {
        place: text for entry in vaults.values() for matched, text, place in texts_of(entry) if matched is not Matched.WEBSITE
    }
    hits = SearchTexts(vaults).find(query)
    return ["/".join(names[place] for place in reversed(list(within(hit.place)))) for hit in hits]


def test_the_best_fit_comes_first() -> None:
    """Whole, beginning, word, part; within a rank vaults, items, fields."""
    assert found("github") == ["Production/GitHub", "Sandbox github/GitHub Actions", "Sandbox github"]
    assert found("token") == ["Production/GitHub/Token", "Sandbox github/GitHub Actions/Deploy token"]
    assert found("hub") == ["Sandbox github", "Production/GitHub", "Sandbox github/GitHub Actions"]


def test_words_may_be_spread_over_a_place() -> None:
    """Each word in the place itself or in what it is in."""
    assert found("github token") == ["Sandbox github/GitHub Actions/Deploy token", "Production/GitHub/Token"]
    assert found("production token") == ["Production/GitHub/Token"]
    assert found("stripe token") == []


def test_words_that_stand_everywhere_may_be_spread_too() -> None:
    """No word of the query is a rare one."""
    items: dict[str, tuple[list[str], list[str]]] = {f"Alpha {number:03}": ([], ["Token"]) for number in range(700)}
    assert found("token alpha", {"Many": items}) == [f"Many/{name}/Token" for name in items]


@pytest.mark.parametrize("query", ["cafe creme", "CAFÉ CRÈME", "cafe\u0301  cre\u0300me", "\uff23\uff21\uff26\uff25 creme"])
def test_case_accents_and_forms_do_not_matter(query: str) -> None:
    """Rule 1."""
    assert found(query) == ["Production/Café Crème"]


@pytest.mark.parametrize(("query", "expected"), [("a.b*c[d]", 1), (".*", 0), ("[d]", 1), ("(?:x)", 1), ("^", 0), ("\\", 0)])
def test_nothing_in_a_query_is_a_pattern(query: str, expected: int) -> None:
    """Rule 1: literally."""
    assert len(found(query)) == expected


@pytest.mark.parametrize("query", ["", " ", "\n", "\u0301", "\t \u00a0"])
def test_what_folds_to_nothing_finds_nothing(query: str) -> None:
    """Not everything."""
    assert found(query) == []


def test_a_website_finds_its_item() -> None:
    """As an item."""
    hits = list(SearchTexts(world_of(SEED)).find("cafe.example"))
    assert [(hit.matched, hit.place.field_id) for hit in hits] == [(Matched.WEBSITE, None)]


LETTERS = st.text("abB éß\n.-İ", max_size=6)
QUERIES = LETTERS | st.lists(LETTERS, min_size=2, max_size=3).map(" ".join)
NAMED = st.dictionaries(
    LETTERS,
    st.dictionaries(LETTERS, st.tuples(st.lists(LETTERS, max_size=2), st.lists(LETTERS, max_size=3)), max_size=3),
    max_size=3,
)


def plainly(vaults: dict[VaultId, IndexedVault], query: str) -> Iterator[Place]:
    """Search in the plainest way: rank every place by all its texts, and sort."""
    wanted = fold(query)
    if not wanted:
        return
    order = {Matched.VAULT: 0, Matched.ITEM: 1, Matched.FIELD: 2, Matched.WEBSITE: 3}
    texts = [(order[matched], fold(text), place) for entry in vaults.values() for matched, text, place in texts_of(entry)]
    ranked = []
    for kind, text, place in texts:
        ids = (place.vault_id, place.item_id or "", place.field_id or "")
        rank = rank_of(text, wanted)
        if rank is None and len(wanted.split()) > 1:
            own = [word for word in wanted.split() if word in text]
            around = [other for _, other, where in texts if where in set(within(place))]
            if own and all(any(word in other for other in around) for word in wanted.split()):
                rank = 4
        if rank is not None:
            ranked.append((rank, kind, text, ids, place))
    yield from dict.fromkeys(row[-1] for row in sorted(ranked, key=lambda row: row[:-1]))


def rank_of(text: str, wanted: str) -> int | None:
    """Return how well a text fits: 0 whole, 1 beginning, 2 words, 3 part."""
    if text == wanted:
        return 0
    if text.startswith(wanted):
        return 1
    places = [at for at in range(len(text)) if text.startswith(wanted, at)]
    outside = [(text[at - 1 : at], text[at + len(wanted) : at + len(wanted) + 1]) for at in places]
    if any(not before.isalnum() and not after.isalnum() for before, after in outside):
        return 2
    return 3 if places else None


@settings(max_examples=300, deadline=None)
@given(NAMED, QUERIES)
@example({"ab": {"a b": (["b a"], ["b", "a b a"])}}, "a b")
@example({"a": {"b": (["é"], ["a"]), "a": (["b"], ["b"])}, "b": {"a": ([], ["a", "b"])}}, "b a")
@example({"é": {"a": (["b", "a"], [])}, "a": {"b": ([], ["é"])}}, "é a b")
@example({"İ": {"ß": ([], ["ss"])}}, "SS")
def test_a_search_finds_what_the_plainest_search_finds(named: Named, query: str) -> None:
    """The same places in the same order."""
    vaults = world_of(named)
    assert [hit.place for hit in SearchTexts(vaults).find(query)] == list(plainly(vaults, query))


@given(st.text(max_size=30))
def test_folding_is_stable(text: str) -> None:
    """Folding twice is folding once, and leaves no line break and no combining mark."""
    once = fold(text)
    assert fold(once) == once
    assert "\n" not in once
    assert not any(unicodedata.combining(character) for character in once)
