"""Keys made once for the whole session, and a process's known secrets."""

from __future__ import annotations

import pytest

from r4_mcp.secret import KnownSecrets

from .builders import Parties, make_parties
from .met import Met, meet


@pytest.fixture(scope="session")
def parties() -> Parties:
    """Make everybody's key pairs."""
    return make_parties()


@pytest.fixture
def known() -> KnownSecrets:
    """Make a process's known secrets."""
    return KnownSecrets()


@pytest.fixture(scope="session")
def met(parties: Parties) -> Met:
    """Meet a vault and read its first item."""
    return meet(parties)
