"""The plants that the tests of this folder share, and the rule that whole sweeps are played only when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from .vaults import Planted, plant

SWEEP = "sweep"


def pytest_collection_modifyitems(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """Skip whole sweeps, visibly, unless ``-m sweep`` asks for them."""
    if SWEEP in config.option.markexpr:
        return
    for item in items:
        if item.get_closest_marker(SWEEP) is not None:
            item.add_marker(pytest.mark.skip(reason="takes long; pytest -m sweep plays it, or python -m tests.canary"))


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Plant the canaries."""
    return plant(tmp_path_factory.mktemp("canary") / "planted")
