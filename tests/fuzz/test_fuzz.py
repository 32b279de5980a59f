"""No bytes make a parser raise anything but its own errors.

Arbitrary bytes, and honest documents bent in structure and in spelling. ``R4_FUZZ_EXAMPLES`` sets how many of each a target gets.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from r4_mcp.cli import doctor
from tests.core.mutate import paths, removed, replaced

from .documents import documents
from .targets import TARGETS, feed

EXAMPLES = int(os.environ.get("R4_FUZZ_EXAMPLES", "60"))
BOUNDED = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

NUMBERS = (0, -1, 1.0, 0.5, 2**53, 2**53 - 1, -(2**63), 10**30, float("nan"), float("inf"), -0.0)
TEXTS = ("", "\ud800", "\x00", "..", "\u202e", "A" * 70_000, "0" * 24, "0" * 64, "=", "AAAA", "ACTIVE", "USER_KEY_PAIR")
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(NUMBERS) | st.sampled_from(TEXTS)
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=6
)
TOKENS = st.sampled_from(
    [
        b"\xef\xbb\xbf",
        b"\xff",
        b"\x00",
        b"[" * 5_000,
        b'{"a":1,"a":2}',
        b"\\ud800",
        b"NaN",
        b"-0",
        b"1e5",
        b"//",
        b"'",
        b"%",
        b"%2",
        b"/",
        b"\n",
    ]
)


@st.composite
def bent_structure(draw: st.DrawFn, name: str) -> bytes:
    """Replace, remove or move parts of an honest document."""
    value = json.loads(documents()[name])
    for _ in range(draw(st.integers(1, 3))):
        places = list(paths(value))
        if not places:
            break
        place = draw(st.sampled_from(places))
        if isinstance(place[-1], str) and draw(st.booleans()):
            value = removed(value, place)
        elif draw(st.booleans()):
            value = replaced(value, place, draw(ANYTHING))
        else:
            value = replaced(value, place, draw(st.sampled_from([json.loads(documents()[name]), value, [value] * 2])))
    return json.dumps(value).encode("ascii")


@st.composite
def bent_spelling(draw: st.DrawFn, name: str) -> bytes:
    """Change, cut, repeat or insert bytes of an honest document."""
    raw = bytearray(documents()[name])
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(raw)))
        change = draw(st.sampled_from(["flip", "cut", "insert", "repeat"]))
        if change == "flip" and at < len(raw):
            raw[at] ^= draw(st.integers(1, 255))
        elif change == "cut":
            del raw[at : at + draw(st.integers(1, 40))]
        elif change == "insert":
            raw[at:at] = draw(TOKENS | st.binary(max_size=8))
        else:
            raw[at:at] = raw[at : at + draw(st.integers(1, 40))]
    return bytes(raw)


def has_structure(name: str) -> bool:
    """Say whether a target's honest document is JSON."""
    return documents()[name][:1] == b"{"


def test_every_target_has_an_honest_document_that_it_takes() -> None:
    """Fuzzing starts from what is accepted: but for the refusals that are the point, no honest document is refused."""
    assert TARGETS.keys() == documents().keys()
    refused = {"envelope", "error answer", "trust store"}
    for name, (target, promised) in TARGETS.items():
        if name in refused:
            with pytest.raises(promised):
                target(documents()[name])
        else:
            target(documents()[name])


@pytest.mark.parametrize("name", TARGETS)
def test_arbitrary_bytes_are_refused_in_our_own_words(name: str) -> None:
    """Bytes without any sense never crash a parser."""
    drive(name, st.binary(max_size=200))


@pytest.mark.parametrize("name", TARGETS)
def test_a_bent_spelling_is_refused_in_our_own_words(name: str) -> None:
    """Honest bytes with a few of them changed never crash a parser."""
    drive(name, bent_spelling(name))


@pytest.mark.parametrize("name", [name for name in TARGETS if has_structure(name)])
def test_a_bent_structure_is_refused_in_our_own_words(name: str) -> None:
    """Honest documents with a few of their parts changed never crash a parser."""
    drive(name, bent_structure(name))


def drive(name: str, source: st.SearchStrategy[bytes]) -> None:
    """Feed a target from a source, as often as the profile says."""

    @BOUNDED
    @given(source)
    def feeding(raw: bytes) -> None:
        feed(name, raw)

    run: Callable[[], None] = feeding
    run()


DATES = ("Mon, 01 Jan 2020 00:00:00 +999999999999999999999999", "Mon, 99999999999999999999999 Jan 2020 00:00:00 GMT")


@pytest.mark.parametrize("date", DATES)
def test_a_date_that_is_none_is_not_compared(date: str) -> None:
    """A service can't stop doctor by the time that it tells."""
    assert doctor._clock(date).good is None  # noqa: SLF001 - the header reaches it as it is; a service with it takes a socket


@given(st.text(max_size=64))
def test_any_text_may_stand_in_a_date(text: str) -> None:
    """Whatever the header holds, doctor has one of its findings for it."""
    assert doctor._clock(text).step == "clock"  # noqa: SLF001
