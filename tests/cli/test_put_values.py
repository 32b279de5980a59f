"""What ``put`` takes from stdin, byte by byte."""

from __future__ import annotations

import io
import sys

import pytest

from r4_mcp.cli.values import read_value
from r4_mcp.errors import InvalidArgumentError
from r4_mcp.secret import KnownSecrets


def stored_in_process(piped: bytes) -> str:
    """Return what ``put`` takes from a pipe with these bytes."""
    before = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(piped))
    try:
        return read_value(KnownSecrets()).reveal()  # its door is a process, which takes a second
    finally:
        sys.stdin = before


@pytest.mark.parametrize("piped", [b"\xff", b"ok\xc3", "\ud800".encode("utf-8", "surrogatepass")])
def test_bytes_that_are_not_text_are_refused(piped: bytes) -> None:
    """Not repaired, and not quoted."""
    with pytest.raises(InvalidArgumentError) as caught:
        stored_in_process(piped)
    assert caught.value.message == "the value on stdin is not UTF-8 text"
    assert caught.value.__context__ is None


@pytest.mark.parametrize("piped", [b"a\n\r", b"\n\na", b"a\r\n\r\n", b"a\tb"])
def test_one_line_break_at_most_is_taken_away(piped: bytes) -> None:
    """Everything before it is the value."""
    assert piped.decode().startswith(stored_in_process(piped))
    assert len(piped) - len(stored_in_process(piped)) <= 2
