"""A profile whose key is encrypted, and a keyring that keeps its entries in a file."""

from __future__ import annotations

from collections.abc import Iterator

import keyring
import pytest

from r4_mcp.core.keys import load_private_key
from tests.doors import World

from .file_keyring import FileKeyring
from .profiles import encrypted, write_profile


@pytest.fixture
def locked(world: World) -> dict[str, str]:
    """Make the seed's agent a profile whose key is encrypted; returns its environment."""
    members = world.agent_members()
    key = load_private_key(members["privateKey"].encode())
    api_key = f"{members['accessKey']}.{members['accessSecret']}"
    write_profile(world.home, "locked", api_key, encrypted(key), baseUrl=world.base_url)
    return {"R4_HOME": str(world.home), "R4_PROFILE": "locked"}


@pytest.fixture
def keyring_here() -> Iterator[None]:
    """Let the library of this process use the backend in a file."""
    before = keyring.get_keyring()
    keyring.set_keyring(FileKeyring())  # type: ignore[no-untyped-call]  # the library's own constructor has no types
    yield
    keyring.set_keyring(before)
