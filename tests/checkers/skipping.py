"""A test whose environment can't be fetched here is skipped, and says why: a hook for the ``conftest.py`` of a folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .environments import UnfetchedError


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Run a test; turn what says that its environment is missing into a skip."""
    try:
        yield
    except UnfetchedError as error:
        pytest.skip(str(error))
