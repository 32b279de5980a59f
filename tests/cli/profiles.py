"""Profiles for tests: written by hand, or made by the program for an agent of a world."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from r4_mcp.core.keys import PrivateKey
from r4_mcp.emulator.embedded import PERMISSIONS
from tests.doors import World, private_pem, write_private

from .running import Ended

PASSPHRASE: Final = "canary-zebra-passphrase"  # noqa: S105 - of keys that the tests make
WRONG: Final = "canary-zebra-wrong"
FINE: Final = "Everything that was checked works."

HELLO: Final = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "0"}},
}
READ: Final = {
    "jsonrpc": "2.0",
    "id": 2,
    "method": "tools/call",
    "params": {"name": "read_secret", "arguments": {"reference": "r4://Engineering/Sentry"}},
}


@dataclass(frozen=True)
class Credentials:
    """What R4 shows of an agent when it is created."""

    agent_id: str
    access_key: str
    access_secret: str

    @property
    def api_key(self) -> str:
        """The API key as a person copies it."""
        return f"{self.access_key}.{self.access_secret}"


def new_agent(world: World, permissions: tuple[str, ...] = PERMISSIONS) -> Credentials:
    """Let the operator create an agent, which has registered nothing."""
    made = world.seeded.operator.create_agent("Set up by hand", permissions)
    return Credentials(made.agent_id, made.access_key, made.access_secret.reveal())


def runtime_json(world: World, agent: Credentials, key: PrivateKey | None = None, mode: int = 0o600) -> Path:
    """Write the runtime JSON that R4 exports once."""
    members = {"agentId": agent.agent_id, "accessKey": agent.access_key, "accessSecret": agent.access_secret}
    if key is not None:
        members["privateKey"] = private_pem(key)
    return write_private(world.home.parent / "agent.json", json.dumps(members), mode)


def write_profile(home: Path, name: str, api_key: str, pem: str | None = None, **members: object) -> Path:
    """Write a profile's folder, with further members of credentials.json."""
    profiles = home / "profiles"
    profiles.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = profiles / name
    folder.mkdir(mode=0o700)
    access_key, _, access_secret = api_key.partition(".")
    write_private(folder / "credentials.json", json.dumps({"accessKey": access_key, "accessSecret": access_secret, **members}))
    if pem is not None:
        write_private(folder / "private-key.pem", pem)
    return folder


def write_config(home: Path, **members: object) -> Path:
    """Write ``config.json``."""
    return write_private(home / "config.json", json.dumps(members))


def files_below(folder: Path) -> dict[str, int]:
    """Return every file and folder below one, with its mode."""
    return {path.relative_to(folder).as_posix(): path.lstat().st_mode & 0o777 for path in sorted(folder.rglob("*"))}


def encrypted(key: PrivateKey, passphrase: str = PASSPHRASE) -> str:
    """Return a key as an encrypted PEM."""
    scheme = BestAvailableEncryption(passphrase.encode())
    return key.rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, scheme).decode()


@contextmanager
def descriptor(content: bytes) -> Iterator[int]:
    """Open a descriptor that gives these bytes and ends; the program closes it."""
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    try:
        yield reading
    finally:
        if is_open(reading):
            os.close(reading)


def is_open(number: int) -> bool:
    """Say whether a descriptor is open in this process."""
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def key_path(world: World, name: str) -> str:
    """Return where a profile's key is."""
    return str(world.home / "profiles" / name / "private-key.pem")


def shows_nothing(ended: Ended, *secrets: str) -> None:
    """Check that neither stdout nor stderr holds a secret, a line of a key, or a traceback."""
    said = ended.out + ended.err
    for secret in secrets:
        lines = [line for line in secret.splitlines() if len(line) > 7 and not line.startswith("-----")]
        assert not any(line in said for line in lines), said
    assert "Traceback" not in said
    assert "PRIVATE KEY" not in said
