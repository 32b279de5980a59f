"""The plants that the tests of this folder share."""

from __future__ import annotations

import pytest

from .vaults import Planted, plant


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Plant the canaries."""
    return plant(tmp_path_factory.mktemp("canary") / "planted")
