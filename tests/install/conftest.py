"""A home folder of one test."""

from __future__ import annotations

from pathlib import Path

import pytest

from .hosts import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Make an empty home folder."""
    path = tmp_path / "home of ada"
    path.mkdir()
    return Home(path)
