"""Ids are told from names."""

from __future__ import annotations

import pytest

from r4_mcp.core.record import is_id, open_record
from r4_mcp.errors import MalformedError


@pytest.mark.parametrize("text", ["0" * 24, "0123456789abcdef01234567"])
def test_ids_are_told_from_names(text: str) -> None:
    """24 lowercase hex characters are an id; one character more, less or other is a name."""
    assert is_id(text)
    assert not any(is_id(other) for other in (text + "0", text[1:], text.replace("0", "G"), text + "\n", " " + text))


@pytest.mark.parametrize("entries", [["0" * 24, "a name"], ["0" * 24, "0" * 24], ["0" * 23]])
def test_a_list_of_ids_holds_distinct_ids_alone(entries: list[str]) -> None:
    """A name among them, a repeat, or a short one is refused."""
    with pytest.raises(MalformedError, match="distinct ids"):
        open_record({"ids": [*entries]}, "thing").identifiers("ids")
