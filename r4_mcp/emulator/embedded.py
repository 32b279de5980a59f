"""The embedded vault of ``serve --local``: made at first use, found again afterwards.

What this file does not do: serve, or register the agent's key; the runtime does that itself over the API.

Rules:
1. First use makes the folder, the store, one agent and ``agent.json``; the file appears last and whole, so its agent exists.
2. Of two processes at first use exactly one publishes ``agent.json``; the other removes its agent and takes the winner's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.applications import Starlette

from r4_mcp.emulator.accounts import add_agent, drop_agent
from r4_mcp.emulator.agent_file import FILE_NAME, AgentFile, read_agent_file, require_agent_of, write_agent_file
from r4_mcp.emulator.app import create_app
from r4_mcp.emulator.fresh import DEFAULT_BITS, generate_private_key
from r4_mcp.emulator.store import Store
from r4_mcp.errors import AlreadyExistsError
from r4_mcp.machine.contract import Permission
from r4_mcp.secret import KnownSecrets

PERMISSIONS: Final = tuple(permission.value for permission in Permission)
AGENT_NAME: Final = "Local agent"


@dataclass(frozen=True, slots=True)
class Embedded:
    """An embedded vault, ready to be served or called in process."""

    store: Store
    app: Starlette
    config_path: Path


def open_embedded(directory: Path, known: KnownSecrets, *, bits: int = DEFAULT_BITS) -> Embedded:
    """Open the embedded vault of a folder, making it at first use.

    Args:
        directory: Its folder.
        known: Where the agent's secrets are made known.
        bits: Size of a new RSA key.

    Raises:
        FileAccessError: Folder, store or ``agent.json`` is unusable, open to others, or they do not belong together.
    """
    store = Store.open(directory)
    config_path = directory / FILE_NAME
    if not config_path.exists():
        _first_use(store, config_path, known, bits)
    require_agent_of(store, read_agent_file(config_path, known), config_path)
    return Embedded(store, create_app(store), config_path)


def _first_use(store: Store, config_path: Path, known: KnownSecrets, bits: int) -> None:
    private_key = known.private_key_pem(generate_private_key(bits))
    with store.write() as db:
        credentials = add_agent(db, AGENT_NAME, PERMISSIONS, known)
    try:
        write_agent_file(config_path, AgentFile(credentials, private_key))
    except AlreadyExistsError:
        with store.write() as db:
            drop_agent(db, credentials.agent_id)
