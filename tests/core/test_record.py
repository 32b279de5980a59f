"""Ids are told from names."""

from __future__ import annotations

import pytest

from r4_mcp.core.record import is_id


@pytest.mark.parametrize("text", ["0" * 24, "0123456789abcdef01234567"])
def test_ids_are_told_from_names(text: str) -> None:
    """24 lowercase hex characters are an id; one character more, less or other is a name."""
    assert is_id(text)
    assert not any(is_id(other) for other in (text + "0", text[1:], text.replace("0", "G"), text + "\n", " " + text))
