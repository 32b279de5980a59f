"""The README says what the code says, and its first screen is a session that was played."""

from __future__ import annotations

import re

import pytest

from r4_mcp.config import SETTINGS
from r4_mcp.tools import ALL_TOOLS

from .documents import README, kept, readme, session, tables
from .session import played
from .test_manifests import HOW


@pytest.mark.parametrize("name", tables())
def test_a_table_is_the_codes(name: str) -> None:
    """Every tool with its arguments and its description; every setting with its meaning."""
    assert kept(name) == tables()[name], HOW


def test_every_tool_and_every_setting_has_its_row() -> None:
    """In the order of the code; no row is left of what is gone."""
    first = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)
    assert first.findall(kept("tools")) == [tool.name for tool in ALL_TOOLS]
    assert first.findall(kept("settings")) == list(SETTINGS)


def test_no_other_variable_is_named_in_the_readme() -> None:
    """But for those of the tests: the text speaks of settings that are read."""
    named = set(re.findall(r"\bR4_[A-Z_]+\b", README.read_text()))
    assert {name for name in named - set(SETTINGS) if not name.startswith(("R4_SOAK_", "R4_FUZZ_", "R4_CHECKERS_"))} == set()


@pytest.mark.stdio
def test_the_session_on_the_first_screen_is_what_the_demo_prints() -> None:
    """Played anew: a real emulator, a real server, a real client."""
    part = session(played())
    assert readme(part) == README.read_text(), HOW
    assert "read_secret" in part["session"]
    assert '"code":' in part["session"]
