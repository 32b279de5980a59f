"""Keys made once for the whole session, and a process's known secrets."""

from __future__ import annotations

import pytest
from hypothesis import settings

from r4_mcp.secret import KnownSecrets

from .builders import Parties, make_parties
from .met import Met, meet

# A slow machine is no failed law: how long one example takes is not what these properties are about.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


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
