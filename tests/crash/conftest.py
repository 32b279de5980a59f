"""The small world of the crash tests, made once; each test gets it as it was in the beginning."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from r4_mcp.core.keys import load_private_key
from r4_mcp.emulator.fresh import generate_private_key
from tests.doors import BITS
from tests.switchboard import Switchboard

from .small_world import SmallWorld, make_small_world, read_everything

COLD = "cold"
"""The agent's key is registered, and nothing was ever read."""

WARM = "warm"
"""Everything was read once."""

_KEYS = 7


@pytest.fixture(scope="session")
def session_world(tmp_path_factory: pytest.TempPathFactory, board: Switchboard) -> SmallWorld:
    """Make the service, its agent and its states."""
    pairs = tuple(load_private_key(generate_private_key(BITS)) for _ in range(_KEYS))
    world = make_small_world(tmp_path_factory.mktemp("small"), board, pairs)
    world.keep(COLD)

    async def read() -> None:
        async with world.runtime() as rooms:
            await rooms.registration.ensure()
            assert await read_everything(rooms.reader) == world.values

    anyio.run(read)
    world.keep(WARM)
    return world


@pytest.fixture
def small(session_world: SmallWorld, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallWorld]:
    """Give the warm small world, with the slow parts of foreign libraries fed from what was made before.

    Two foreign functions are replaced, for speed alone. Generating an RSA-3072 key takes hundreds of milliseconds, so the
    library's generator draws from key pairs that were made with the session. Parsing a private key takes 100 ms, since its primes
    are tested, so the same bytes are parsed once.
    """

    def draw(public_exponent: int, key_size: int) -> rsa.RSAPrivateKey:
        assert (public_exponent, key_size) == (65537, 3072)
        return session_world.draw().rsa

    monkeypatch.setattr(rsa, "generate_private_key", draw)
    monkeypatch.setattr("r4_mcp.core.keys.load_pem_private_key", functools.cache(load_pem_private_key))
    session_world.put_back(WARM)
    yield session_world
    session_world.put_back(WARM)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Give a home of another machine or agent."""
    home = tmp_path / "elsewhere"
    home.mkdir(mode=0o700)
    return home


@pytest.fixture(params=[False, pytest.param(True, marks=pytest.mark.slow)], ids=["every change", "every call"])
def every_call(request: pytest.FixtureRequest) -> bool:
    """Say whether to die at calls, too, that leave nothing new behind."""
    every: bool = request.param
    return every
