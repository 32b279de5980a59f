"""The egress guard with many values and long texts: as exact as a search for each needle, whatever was learnt when."""

from __future__ import annotations

import random
import string
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r4_mcp.policy.egress import MAX_SEGMENT, Egress
from r4_mcp.secret import KnownSecrets, SecretKind
from r4_mcp.sinks.spellings import MIN_SUBSTRING, spellings

from .test_egress import ENCODERS, guard

SIZE: Final = 16_384
WORDS: Final = (
    "lantern",
    "harbour",
    "r4://Dry%20Dock/Crane",
    "0123456789abcdef01234567",
    "LOGIN",
    "é€\U0001f511",
    "{}",
    '"',
    "=",
)


def filler(seed: int, size: int = SIZE) -> str:
    """Return a text of ordinary words."""
    chosen = random.Random(seed).choices(WORDS, k=size // 2)  # noqa: S311 - a test text, repeatable
    return " ".join(chosen)[:size]


def some_value(source: random.Random) -> str:
    """Return a value of letters, digits and symbols."""
    return "".join(source.choices(string.ascii_letters + string.digits + "-+/!?", k=source.randint(12, 40)))


@settings(max_examples=200, deadline=None)
@given(
    # The sign keeps the value from being a word of ours or of the filler, which is another test's business.
    value=st.text(min_size=MIN_SUBSTRING - 1, max_size=47).map("\u00a4".__add__),
    others=st.lists(st.text(alphabet=string.ascii_lowercase, min_size=MIN_SUBSTRING, max_size=20).map("zq".join), max_size=5),
    encoder=st.sampled_from(sorted(ENCODERS)),
    place=st.integers(min_value=0, max_value=SIZE),
    seed=st.integers(min_value=0, max_value=50),
)
def test_a_value_planted_anywhere_in_any_spelling_is_found(
    value: str, others: list[str], encoder: str, place: int, seed: int
) -> None:
    """The fuzz: 16 KB without it pass, with it are a hit."""
    text = filler(seed)
    egress = guard(value, *others)
    if not any(needle in text for known in (value, *others) for needle in spellings(known)):
        assert not egress.holds_secret(text)
    assert egress.holds_secret(text[:place] + ENCODERS[encoder](value) + text[place:])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text(alphabet="abA/", min_size=MIN_SUBSTRING, max_size=10), max_size=4), st.text(alphabet="abA/%2Ff", max_size=60)
)
def test_the_guard_agrees_with_a_search_for_each_needle(values: list[str], text: str) -> None:
    """The law: no public text, so the verdict is that some needle stands in the text."""
    assert guard(*values).holds_secret(text) is any(needle in text for value in values for needle in spellings(value))


@pytest.mark.parametrize("border", [MAX_SEGMENT, 65_536, 131_072])
def test_no_place_in_a_long_text_is_overlooked(border: int) -> None:
    """Long texts are searched in chunks: a value at, before and across each border is found; nothing is cut."""
    value = "zebra-crossing 7"
    egress = guard(value)
    for shift in range(-len(value) - 1, 2):
        start = border + shift
        assert egress.holds_secret("é" * (start // 2) + "x" * (start % 2) + value + "y" * 300)
    assert not egress.holds_secret("é" * border + value[:-1] + "y" * 300)


def test_a_text_that_is_full_of_pieces_is_searched_all_the_same() -> None:
    """Each position of it holds a piece of a needle; only the last one holds the needle."""
    value = "a" * 12 + "b" + "a" * 20
    egress = guard(value, "a" * 40 + "c")
    assert not egress.holds_secret("a" * 200_000)
    assert egress.holds_secret("a" * 200_000 + value)


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "one by one"])
def test_each_of_many_values_is_found(*, at_once: bool) -> None:
    """More than one automaton holds; however they arrive, each is found as soon as it is known."""
    source = random.Random(1)  # noqa: S311 - test values, repeatable
    values = [some_value(source) for _ in range(MAX_SEGMENT + MAX_SEGMENT // 4)]
    known = KnownSecrets()
    egress = Egress(known)
    text = filler(1)
    for value in values:
        assert not known.armed() or not at_once
        if not at_once:
            assert not egress.holds_secret(value)
            known.text(value, SecretKind.FIELD)
            assert egress.holds_secret(f"{text} {value}")
    if at_once:
        for value in values:
            known.text(value, SecretKind.FIELD)
    assert not egress.holds_secret(text)
    for value in values:
        spelling = source.choice(sorted(ENCODERS))
        assert egress.holds_secret(f"before {ENCODERS[spelling](value)} behind"), spelling


@settings(max_examples=20, deadline=None)
@given(st.integers(min_value=1, max_value=40), st.lists(st.integers(min_value=0, max_value=60), min_size=1, max_size=100))
def test_what_is_forgotten_is_no_longer_looked_for(capacity: int, numbers: list[int]) -> None:
    """The guard follows the memory of known values: the newest ``capacity`` are hits, others are not."""
    known = KnownSecrets(capacity)
    egress = Egress(known)
    kept: deque[int] = deque(maxlen=capacity)
    for number in numbers:
        if number in kept:
            kept.remove(number)
        kept.append(number)
        known.text(f"quay number {number:04d}", SecretKind.FIELD)
        assert egress.holds_secret(f"at quay number {number:04d} now")
    for number in range(61):
        assert egress.holds_secret(f"quay number {number:04d}") is (number in kept)


def test_a_few_that_are_forgotten_among_many_are_not_looked_for() -> None:
    """Their automaton still stands, because most of its values are known."""
    known = KnownSecrets(64)
    egress = Egress(known)
    for number in range(64):
        known.text(f"quay number {number:04d}", SecretKind.FIELD)
    assert egress.holds_secret("quay number 0003")
    for number in range(64, 70):
        known.text(f"quay number {number:04d}", SecretKind.FIELD)
    assert [number for number in range(71) if egress.holds_secret(f"quay number {number:04d}")] == list(range(6, 70))


def test_keys_are_never_forgotten() -> None:
    """Field values come and go; the API key stays a hit."""
    known = KnownSecrets(3)
    known.text("lighthouse-keeper-1", SecretKind.API_KEY)
    egress = Egress(known)
    for number in range(50):
        known.text(f"quay number {number:04d}", SecretKind.FIELD)
        assert egress.holds_secret("lighthouse-keeper-1")
    assert not egress.holds_secret("quay number 0001")


@pytest.mark.parametrize("value", ["half a pair \ud800 here", "\udfff" * 8, "pair \ud83d\ude00 apart"], ids=ascii)
def test_halves_of_surrogate_pairs_are_values_too(value: str) -> None:
    """They come in by JSON escapes, and can't be encoded strictly."""
    egress = guard(value)
    for encoder in ENCODERS.values():
        assert egress.holds_secret(f"before {encoder(value)} behind")
    assert not egress.holds_secret("half a pair \ud801 here")


def test_threads_that_learn_and_look_do_not_disturb_each_other() -> None:
    """A logging handler calls from any thread: what a thread made known, it finds, whatever others do meanwhile."""
    known = KnownSecrets()
    egress = Egress(known)

    def work(worker: int) -> bool:
        found = []
        for number in range(60):
            value = f"worker {worker} value {number}"
            known.text(value, SecretKind.FIELD)
            known.publish([f"public {worker} {number}"])
            found.append(egress.holds_secret(f"log: {value}"))
        return all(found)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))
    assert not egress.holds_secret("worker 9 value 9")
