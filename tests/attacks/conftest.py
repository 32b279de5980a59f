"""A stage for each test, with every log record of the process kept."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from tests.doors import World

from .stage import Stage


@pytest.fixture
def everything_logged() -> Iterator[io.StringIO]:
    """Keep every record of every logger, unfiltered: stricter than the command line's own set-up."""
    kept = io.StringIO()
    handler = logging.StreamHandler(kept)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield kept
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.fixture
def stage(world: World, everything_logged: io.StringIO) -> Stage:
    """Set up a world with a canary and a liar."""
    return Stage.set_up(world, everything_logged)
