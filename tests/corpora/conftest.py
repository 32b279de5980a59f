"""Counts are shown, so that nobody takes an empty corpus for a passed one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Tell = Callable[[str], None]


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    """Say a count where the person who runs the tests sees it."""

    def say(count: str) -> None:
        with capsys.disabled():
            print(f"\n  {count}", end=" ")  # noqa: T201 - this is what the fixture is for

    return say
