"""A client that can't be fetched here is skipped, and says why."""

from __future__ import annotations

from tests.checkers.skipping import pytest_runtest_call

__all__ = ["pytest_runtest_call"]
