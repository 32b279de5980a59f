"""Where masked streams go: kept to a cap, or passed on."""

from __future__ import annotations

from typing import Final

import pytest

from r4_mcp.sinks.capture import Capture, Forward

from .values import PLAIN, masker

ZERO: Final = "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}r4://v/i/0\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize("cap", range(60))
def test_a_cap_leaves_a_beginning_of_the_masked_text(cap: int, size: int) -> None:
    """Wherever the value stands to it, and however the stream was cut into chunks; half a character is not shown."""
    text = f"before {PLAIN} behind é {PLAIN}".encode()
    kept = Capture(masker(PLAIN), cap)
    for at in range(0, len(text), size):
        kept.feed(text[at : at + size])
    kept.end(is_cut=False)
    whole = f"before {ZERO} behind é {ZERO}".encode()
    assert kept.text == whole[:cap].decode("utf-8", "ignore")
    assert kept.is_cut == (len(whole) > cap)
    assert kept.octets == len(text)


def test_a_stream_that_was_cut_off_ends_before_what_may_be_a_value() -> None:
    """In a text, and for who watches."""
    seen: list[bytes] = []
    kept, forward = Capture(masker(PLAIN)), Forward(masker(PLAIN), seen.append)
    for output in (kept, forward):
        output.feed(f"see {PLAIN[:-1]}".encode())
        output.end(is_cut=True)
    assert (kept.text, kept.is_cut, seen) == ("see ", True, [b"see "])


def test_the_end_of_a_whole_stream_is_passed_on() -> None:
    """What only began like a value is none."""
    seen: list[bytes] = []
    forward = Forward(masker(PLAIN), seen.append)
    forward.feed(b"pla")
    assert seen == []
    forward.end(is_cut=False)
    assert seen == [b"pla"]


def test_bytes_that_are_no_text_are_replaced() -> None:
    """One character for each of them."""
    kept = Capture(masker(PLAIN))
    kept.feed(b"a\xffb")
    kept.end(is_cut=False)
    assert kept.text == "a\N{REPLACEMENT CHARACTER}b"
