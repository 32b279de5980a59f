"""``agent.json``: what an agent needs to act, in one private file.

What this file does not do: make keys or agents. It writes and reads the four members, whole.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from r4_mcp.core.encoding import parse_json
from r4_mcp.core.keys import PrivateKey, load_private_key
from r4_mcp.core.record import exact
from r4_mcp.emulator.accounts import AgentCredentials, authenticate
from r4_mcp.emulator.private_files import publish, read_private
from r4_mcp.emulator.refusal import RefusalError
from r4_mcp.emulator.store import Store
from r4_mcp.errors import FileAccessError, MalformedError
from r4_mcp.secret import KnownSecrets, Secret, SecretKind

FILE_NAME: Final = "agent.json"
_KEYS: Final = frozenset({"agentId", "accessKey", "accessSecret", "privateKey"})


@dataclass(frozen=True, slots=True)
class AgentFile:
    """The contents of ``agent.json``."""

    credentials: AgentCredentials
    private_key: Secret[bytes]

    def key(self) -> PrivateKey:
        """Load the private key."""
        # reveal: seen by the key loader only.
        return load_private_key(self.private_key.reveal())


def write_agent_file(path: Path, agent: AgentFile) -> None:
    """Publish the file.

    Raises:
        AlreadyExistsError: There is one; it is left as it is.
        FileAccessError: It can't be written.
    """
    credentials = agent.credentials
    # reveal: both are written to the owner's private file, which is what it is for.
    members = {
        "agentId": credentials.agent_id,
        "accessKey": credentials.access_key,
        "accessSecret": credentials.access_secret.reveal(),
        "privateKey": agent.private_key.reveal().decode("ascii"),
    }
    publish(path, json.dumps(members, indent=2).encode("ascii") + b"\n")


def read_agent_file(path: Path, known: KnownSecrets) -> AgentFile:
    """Read the file.

    Raises:
        FileAccessError: Missing, open to others, or not of its form.
    """
    try:
        record = exact(parse_json(read_private(path), what=FILE_NAME), FILE_NAME, _KEYS)
        credentials = AgentCredentials(
            agent_id=record.identifier("agentId"),
            access_key=record.text("accessKey"),
            access_secret=known.text(record.text("accessSecret"), SecretKind.API_KEY),
        )
        return AgentFile(credentials, known.private_key_pem(record.text("privateKey").encode("utf-8")))
    except MalformedError as error:
        raise FileAccessError(f"{path} is damaged: {error.message}") from None


def require_agent_of(store: Store, agent: AgentFile, path: Path) -> None:
    """Check that a file's API key is one of this store.

    Raises:
        FileAccessError: It is not: file and store were not made together.
    """
    credentials = agent.credentials
    # reveal: seen by the hash only.
    api_key = f"{credentials.access_key}.{credentials.access_secret.reveal()}"
    try:
        with store.read() as db:
            found = authenticate(db, [api_key])
    except RefusalError:
        found = None
    if found is None or found.id != credentials.agent_id:
        raise FileAccessError(f"{path} does not belong to the embedded vault beside it")
