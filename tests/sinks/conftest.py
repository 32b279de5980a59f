"""A root for files with secrets."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a root with a folder in it, in no repository."""
    (tmp_path / "root" / "deep").mkdir(parents=True)
    return tmp_path / "root"
