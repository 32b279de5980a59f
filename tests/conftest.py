"""Keys and a seed made once, one loopback server, and a fresh world for each test."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from r4_mcp.core.keys import PrivateKey, load_private_key
from r4_mcp.emulator.fresh import generate_private_key
from r4_mcp.emulator.seed import seed
from r4_mcp.emulator.store import Store
from r4_mcp.secret import KnownSecrets

from .doors import BITS, World, open_world
from .switchboard import Switchboard, switchboard


@pytest.fixture(scope="session")
def spare_keys() -> tuple[PrivateKey, ...]:
    """Make key pairs that nobody has registered."""
    return tuple(load_private_key(generate_private_key(BITS)) for _ in range(2))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seed one folder; worlds are copies of it."""
    folder = tmp_path_factory.mktemp("template") / "r4"
    seed(Store.open(folder), folder, KnownSecrets(), bits=BITS)
    return folder


@pytest.fixture(scope="session")
def board() -> Iterator[Switchboard]:
    """Run the session's loopback server."""
    with switchboard() as running:
        yield running


@pytest.fixture
def world(tmp_path: Path, template: Path, board: Switchboard, spare_keys: tuple[PrivateKey, ...]) -> World:
    """Open a world that the test may change."""
    return open_world(template, tmp_path, board, spare_keys)


@pytest.fixture(scope="module")
def calm(
    tmp_path_factory: pytest.TempPathFactory, template: Path, board: Switchboard, spare_keys: tuple[PrivateKey, ...]
) -> World:
    """Open a world that the tests of a module only read."""
    return open_world(template, tmp_path_factory.mktemp("calm"), board, spare_keys)


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Let the commands under test be stopped with Ctrl-C: a job in a script's background ignores it, and so do its children."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
