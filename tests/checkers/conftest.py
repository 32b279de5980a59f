"""What the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest

from .running import User, new_user
from .skipping import pytest_runtest_call

__all__ = ["pytest_runtest_call", "user"]


@pytest.fixture
def user(tmp_path: Path) -> User:
    """Make somebody who runs a checker."""
    return new_user(tmp_path)
