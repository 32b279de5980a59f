"""The masker: every spelling, at every cut, and nothing else touched."""

from __future__ import annotations

import base64
import os
from itertools import combinations
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from r4_mcp.errors import NotMaskableError
from r4_mcp.sinks.masking import MAX_PIECE, MIN_LINE, Masker, is_maskable, mark
from r4_mcp.sinks.spellings import MAX_WHOLE, MIN_SUBSTRING
from r4_mcp.sinks.stream_spellings import stream_spellings

from .values import ENCODERS, OTHER, PLAIN, REFERENCE, VALUE, cut, masked, masker, secret

EXAMPLES: Final = int(os.environ.get("R4_MASK_EXAMPLES", "300"))
"""Examples over the three laws of this file together."""

ZERO, ONE, TWO = (mark(f"r4://v/i/{number}").encode() for number in range(3))

PLAIN_SPELLINGS: Final = {"raw", "reversed", "JSON", "percent-encoded", "HTML", "hex", "base64", "JSON in JSON"}
"""Of those that very long values are looked for in."""

law = settings(max_examples=EXAMPLES // 3, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def oracle(values: list[str], text: bytes) -> bytes:
    """Mask as rule 1 says it, byte by byte and without a thought for speed."""
    owners: dict[bytes, int] = {}
    for number, value in enumerate(values):
        for needle in stream_spellings(value):
            owners.setdefault(needle, number)
    out, run, covered = bytearray(), set[int](), 0
    for at in range(len(text)):
        here = max((needle for needle in owners if text.startswith(needle, at)), key=len, default=b"")
        if here:
            if at > covered:
                run.clear()
            if owners[here] not in run:
                run.add(owners[here])
                out += mark(f"r4://v/i/{owners[here]}").encode()
            covered = max(covered, at + len(here))
        if at >= covered:
            out.append(text[at])
            run.clear()
            covered = at + 1
    return bytes(out)


@law
@given(
    st.lists(st.text("ab", min_size=MIN_SUBSTRING, max_size=20), min_size=1, max_size=3),
    st.lists(st.one_of(st.text("ab ", max_size=8), st.integers(0, 8)), max_size=12),
    st.lists(st.integers(0, 400), max_size=20),
)
def test_whatever_lies_inside_a_value_is_covered(values: list[str], parts: list[str | int], places: list[int]) -> None:
    """Values that overlap themselves and each other, cut anywhere, come out as the plain rule says."""
    text = "".join(part if isinstance(part, str) else values[part % len(values)] for part in parts).encode()
    assert masked(masker(*values), cut(text, places)) == oracle(values, text)


@law
@given(
    st.text(min_size=MIN_SUBSTRING, max_size=40).filter(lambda value: len(value.strip()) >= MIN_SUBSTRING),
    st.sampled_from(sorted(ENCODERS)),
    st.tuples(st.binary(max_size=6), st.binary(max_size=6)),
    st.lists(st.integers(0, 2000), max_size=30),
)
def test_no_spelling_of_any_value_comes_through(
    value: str, spelling: str, around: tuple[bytes, bytes], places: list[int]
) -> None:
    """Any value, in any spelling, between any neighbours, cut anywhere."""
    written = ENCODERS[spelling](value).encode()
    text = around[0] + written + around[1] + written
    out = masked(masker(value), cut(text, places))
    assert written not in out.replace(ZERO, b"")
    assert ZERO in out
    assert out == masked(masker(value), [text])


@law
@given(st.text(min_size=MIN_SUBSTRING, max_size=40), st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=20))
def test_what_holds_no_value_passes_as_it_is(value: str, text: bytes, places: list[int]) -> None:
    """Nothing is lost, added or reordered beside a value."""
    known = value.strip().rjust(MIN_SUBSTRING, "x")
    if not any(needle in text for needle in stream_spellings(known)):
        assert masked(masker(known), cut(text, places)) == text


@pytest.mark.parametrize("spelling", ENCODERS)
@pytest.mark.parametrize("around", ["{}", "before {} behind", "x{}x"])
@pytest.mark.parametrize("value", [VALUE, PLAIN])
def test_every_spelling_is_masked_at_every_cut(spelling: str, around: str, value: str) -> None:
    """One cut at each place gives what no cut gives."""
    text = around.format(ENCODERS[spelling](value)).encode()
    by = Masker({REFERENCE: secret(value)})
    whole = masked(by, [text])
    assert whole.count(mark(REFERENCE).encode()) == 1
    assert len(whole) <= len(around) + len(mark(REFERENCE).encode()) + 2
    assert all(masked(by, cut(text, [place])) == whole for place in range(len(text)))
    assert masked(by, cut(text, range(len(text)))) == whole


@pytest.mark.parametrize("before", range(6))
@pytest.mark.parametrize("behind", range(4))
@pytest.mark.parametrize("urlsafe", [False, True])
def test_base64_is_masked_at_every_alignment(before: int, behind: int, *, urlsafe: bool) -> None:
    """At most the characters that the neighbours share stay (rule 6)."""
    raw = b"\xfb" * before + VALUE.encode() + b"\xff" * behind
    encoded = (base64.urlsafe_b64encode if urlsafe else base64.b64encode)(raw)
    out = masked(masker(VALUE), [encoded])
    left = out.replace(ZERO, b"")
    assert ZERO in out
    assert len(left.rstrip(b"=")) <= (before + behind) * 8 // 6 + 2


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "latin-1", "cp1252"])
def test_other_character_sets_are_masked_as_bytes(codec: str) -> None:
    """A program that writes no UTF-8."""
    assert masked(masker(VALUE), [b"<", VALUE.encode(codec), b">"]) == b"<" + ZERO + b">"


def test_a_value_that_begins_another_leaves_no_rest() -> None:
    """The longer one counts where it stands, the shorter one elsewhere."""
    assert masked(masker("abcdefgh", "abcdefghijkl"), [b"abcdefghijkl abcdefghij"]) == ONE + b" " + ZERO + b"ij"


def test_the_first_reference_names_a_value_that_stands_twice() -> None:
    """Two fields with one value."""
    by = Masker({REFERENCE: secret(PLAIN), OTHER: secret(PLAIN)})
    assert by.text(PLAIN) == mark(REFERENCE)


def test_overlapping_values_are_covered_together() -> None:
    """No byte of the second stays because the first ended inside it; each is named once."""
    by = masker("one-two-three", "three-four-five", "five-six-seven")
    assert masked(by, [b"(one-two-three-four-five-six-seven)"]) == b"(" + ZERO + ONE + TWO + b")"
    assert masked(by, [b"one-two-three" * 3]) == ZERO


def test_a_held_back_beginning_that_turns_out_to_be_nothing_is_released() -> None:
    """What only begins like a value comes out unchanged, and not before it is decided."""
    stream = masker(PLAIN).stream()
    assert stream.feed(b"see " + PLAIN[:-1].encode()) == b"see "
    assert stream.feed(b"?") == PLAIN[:-1].encode() + b"?"
    assert stream.feed(b"plain") == b""
    assert stream.finish() == b"plain"


def test_a_prompt_is_not_held_back() -> None:
    """What can't begin a value leaves at once, so that a person sees a question before the answer."""
    assert masker(VALUE, PLAIN).stream().feed(b"Continue? [y/N] ") == b"Continue? [y/N] "


@pytest.mark.parametrize("value", ["", "short", "1234567", "   1234567   ", "\n\n\n\n\n\n\n\n"])
def test_a_short_value_is_refused(value: str) -> None:
    """Under eight characters, not counting white space at the ends, a value stands in everything."""
    assert not is_maskable(secret(value))
    with pytest.raises(NotMaskableError) as caught:
        Masker({REFERENCE: secret(PLAIN), OTHER: secret(value)})
    assert not value.strip() or value.strip() not in str(caught.value)


def test_white_space_that_others_strip_makes_no_difference() -> None:
    """A value pasted with its newline, printed without."""
    assert masked(masker(f" {PLAIN}\n"), [f"[{PLAIN}]".encode()]) == b"[" + ZERO + b"]"


def test_lines_of_a_longer_value_are_masked_alone() -> None:
    """A key that is printed line by line, indented, or with the line ends of another system."""
    lines = [letter * 3 + "0123456789-key-material-" + letter * (MIN_LINE - 20) for letter in "abc"]
    by = masker("\n".join(lines))
    assert masked(by, ["\n".join(f"  {line}" for line in lines).encode()]) == b"  " + b"\n  ".join([ZERO] * 3)
    assert masked(by, ["\r\n".join(lines).encode()]) == ZERO


@pytest.mark.parametrize("length", [MAX_PIECE - 1, MAX_PIECE, MAX_PIECE + 1, 9 * MAX_PIECE + 5])
def test_a_long_value_is_masked_whole(length: int) -> None:
    """In one mark, in each kind of spelling, though it is looked for in pieces."""
    value = "".join(f"{number:x}é/" for number in range(length))[:length]
    by = masker(value)
    for spelling, encode in ENCODERS.items():
        text = encode(value).encode()
        if length > MAX_WHOLE and spelling not in PLAIN_SPELLINGS:
            continue
        out = masked(by, cut(text, range(0, len(text), 777)))
        assert out.startswith(ZERO), spelling
        # Rule 6 for the last piece.
        assert len(out.removeprefix(ZERO).rstrip(b"=")) <= (1 if "base" in spelling else 0), spelling


def test_every_pair_of_spellings_can_stand_side_by_side() -> None:
    """A match that ends where the next begins hides nothing of it."""
    by = masker(VALUE)
    for first, second in combinations(ENCODERS.values(), 2):
        out = masked(by, [f"{first(VALUE)}|{second(VALUE)}".encode()])
        assert out == ZERO + b"|" + ZERO


def test_no_value_means_no_change() -> None:
    """A request without a secret."""
    assert masked(Masker({}), [b"as ", b"it is"]) == b"as it is"


def test_a_masker_does_not_show_what_it_knows() -> None:
    """Neither it nor its streams, in a traceback's repr."""
    by = masker(PLAIN)
    assert PLAIN not in repr(by) + repr(by.stream()) + str(by)
