"""A small service with one agent, put back to an earlier state in milliseconds.

What this file does not do: break anything, or judge.

Rules:
1. One address for the whole session: what is kept on disk names its service by address, so a copy of a home stays valid.
2. A state is three folders: the service's file, the agent's key, the agent's home. It is put back while nothing is on its way.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from r4_mcp.cli.wiring import open_service
from r4_mcp.config import read_settings
from r4_mcp.core.keys import PrivateKey, load_private_key
from r4_mcp.core.wire import FieldType, ItemType, VaultId
from r4_mcp.emulator.accounts import AgentCredentials
from r4_mcp.emulator.app import create_app
from r4_mcp.emulator.drafts import FieldDraft
from r4_mcp.emulator.embedded import PERMISSIONS
from r4_mcp.emulator.operator import Operator
from r4_mcp.emulator.registration import KeyRequest, register
from r4_mcp.emulator.signing_keys import active_key
from r4_mcp.emulator.store import FILE_NAME, Store
from r4_mcp.machine.contract import Level
from r4_mcp.secret import KnownSecrets, SecretKind
from r4_mcp.vault.journal import Entry, Journal
from r4_mcp.vault.opener import VaultOpener
from r4_mcp.vault.proven import LocatedField
from r4_mcp.vault.reader import VaultReader
from r4_mcp.vault.runtime import VaultRuntime
from tests.doors import private_pem, write_private
from tests.switchboard import Switchboard, Tap

VAULTS: Final = ("One", "Two")
_QUIET_SECONDS: Final = 20.0


class Awaited:
    """Counts what the service is working on, so that its file is not changed under it (rule 2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._running = 0
        self._lock = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        with self._lock:
            self._running += 1
        try:
            await self._app(scope, receive, send)
        finally:
            with self._lock:
                self._running -= 1

    def settle(self) -> None:
        """Wait until nothing is being worked on; a request whose sender died may still be."""
        deadline = time.monotonic() + _QUIET_SECONDS
        while self._running:
            assert time.monotonic() < deadline, "the service does not come to rest"
            time.sleep(0.001)


@dataclass(frozen=True)
class Agent:
    """An agent: its id, and the environment of its processes."""

    id: str
    environment: dict[str, str]


@dataclass
class SmallWorld:
    """The service, its operator, one agent with two vaults, and the states that it can be put back to.

    Attributes:
        folder: Holds ``service``, ``keys`` and ``home``, and ``states``.
        values: The plaintexts that the vaults hold, by vault and field.
        spare_keys: Key pairs that nobody has registered; the rotations draw theirs from here.
    """

    folder: Path
    store: Store
    operator: Operator
    agent_id: str
    base_url: str
    tap: Tap
    service: Awaited
    spare_keys: tuple[PrivateKey, ...]
    known: KnownSecrets
    values: Mapping[str, str]
    drawn: int = field(default=0)

    @property
    def home(self) -> Path:
        """The agent's ``R4_HOME``."""
        return self.folder / "home"

    @property
    def keys(self) -> Path:
        """The folder of the agent's runtime JSON."""
        return self.folder / "keys"

    @property
    def key_file(self) -> Path:
        """The agent's runtime JSON."""
        return self.keys / "agent.json"

    @property
    def environment(self) -> dict[str, str]:
        """The agent's environment."""
        return {"R4_CONFIG": str(self.key_file), "R4_BASE_URL": self.base_url, "R4_HOME": str(self.home)}

    def keep(self, state: str) -> None:
        """Keep the present state under a name."""
        self.service.settle()
        for part in ("service", "keys", "home"):
            shutil.copytree(self.folder / part, self.folder / "states" / state / part)

    def drop(self, state: str) -> None:
        """Forget a state."""
        shutil.rmtree(self.folder / "states" / state)

    def put_back(self, state: str) -> None:
        """Put an earlier state back, and draw keys from the start again."""
        self.tap.intercept = None
        self.service.settle()
        for part in ("service", "keys", "home"):
            shutil.rmtree(self.folder / part)
            shutil.copytree(self.folder / "states" / state / part, self.folder / part)
        self.tap.exchanges.clear()
        self.drawn = 0

    def put_back_service(self, state: str) -> None:
        """Put an earlier state of the service alone back, as a restored backup does."""
        self.service.settle()
        shutil.rmtree(self.folder / "service")
        shutil.copytree(self.folder / "states" / state / "service", self.folder / "service")

    def draw(self) -> PrivateKey:
        """Return a key pair that nobody has registered since the state was put back."""
        self.drawn += 1
        return self.spare_keys[self.drawn - 1]

    def vault_id(self, name: str = VAULTS[0]) -> VaultId:
        """Return a vault's id."""
        return self.operator.vaults()[name]

    def active_fingerprint(self) -> str | None:
        """Return the key that the service considers active for the agent."""
        with self.store.read() as db:
            key = active_key(db, self.agent_id)
        return None if key is None else key.public.fingerprint

    def key_on_disk(self) -> PrivateKey:
        """Return the key in the agent's file."""
        members: dict[str, str] = json.loads(self.key_file.read_text())
        return load_private_key(members["privateKey"].encode())

    def kept_keys(self) -> dict[str, PrivateKey]:
        """Return every key beside the agent's file, by file name."""
        return {path.name: load_private_key(path.read_bytes()) for path in sorted(self.keys.glob("*.pem"))}

    def journal(self) -> tuple[Entry, ...]:
        """Return the unsettled entries of the agent's journal."""
        access_key: str = json.loads(self.key_file.read_text())["accessKey"]
        return Journal(self.home / "journal", (self.base_url, access_key)).prepared()

    def new_agent(self, home: Path, key: PrivateKey) -> Agent:
        """Make an agent, with its file and everything else in a home of its own, and register its key."""
        credentials = self.operator.create_agent("Another agent", PERMISSIONS)
        with self.store.write() as db:
            register(db, credentials.agent_id, KeyRequest(key.public))
        path = write_agent(home / "agent.json", credentials, key)
        return Agent(credentials.agent_id, {"R4_CONFIG": str(path), "R4_HOME": str(home)})

    @asynccontextmanager
    async def runtime(self, environment: Mapping[str, str] | None = None) -> AsyncIterator[VaultRuntime]:
        """Open the rooms of one process."""
        known = KnownSecrets()
        async with open_service(read_settings({**self.environment, **(environment or {})}, known), known) as service:
            assert service.runtime is not None
            yield service.runtime


def make_small_world(folder: Path, board: Switchboard, keys: tuple[PrivateKey, ...]) -> SmallWorld:
    """Make the service and its agent, with two vaults of one item each; the first keys are the operator's and the agent's."""
    for part in ("keys", "home", "states"):
        (folder / part).mkdir(mode=0o700, parents=True)
    known = KnownSecrets()
    store = Store.open(folder / "service")
    operator = Operator.create(store, keys[0], known)
    credentials = operator.create_agent("Small agent", PERMISSIONS)
    with store.write() as db:
        register(db, credentials.agent_id, KeyRequest(keys[1].public))
    values: dict[str, str] = {}
    for name in VAULTS:
        vault_id = operator.create_vault(name)
        values[f"{name}/Item/Token"] = f"what the vault {name} holds"
        token = FieldDraft("Token", FieldType.SECRET, known.text(values[f"{name}/Item/Token"], SecretKind.FIELD))
        operator.create_item(vault_id, "Item", ItemType.CUSTOM, [], [token])
        operator.grant(credentials.agent_id, vault_id, Level.ADMIN)
    write_agent(folder / "keys" / "agent.json", credentials, keys[1])
    assert (folder / "service" / FILE_NAME).is_file()
    service = Awaited(create_app(store))
    base_url, tap = board.plug(service)
    return SmallWorld(folder, store, operator, credentials.agent_id, base_url, tap, service, keys[2:], known, values)


def write_agent(path: Path, credentials: AgentCredentials, key: PrivateKey) -> Path:
    """Write an agent's runtime JSON."""
    members = {
        "agentId": credentials.agent_id,
        "accessKey": credentials.access_key,
        # reveal: goes to the agent's private file, which is what it is for.
        "accessSecret": credentials.access_secret.reveal(),
        "privateKey": private_pem(key),
    }
    return write_private(path, json.dumps(members))


async def read_everything(reader: VaultReader) -> dict[str, str]:
    """Open every field that the agent can see; keys are ``vault/item/field``, an item that is there twice is numbered."""
    found: dict[str, str] = {}
    opener = VaultOpener(reader, KnownSecrets())
    for listed in await reader.list_vaults():
        vault = await reader.vault(listed.id)
        for line in vault.summary.checkpoint.items:
            opened = await reader.item(listed.id, line.id)
            for proven in opened.fields:
                value = await opener.open_field(LocatedField(opened.vault, proven))
                _put(found, f"{vault.summary.checkpoint.name}/{line.name}/{proven.line.name}", value.reveal())
        if not vault.summary.checkpoint.items:
            await reader.dek(vault)
            _put(found, f"{vault.summary.checkpoint.name}/", "")
    return found


def _put(found: dict[str, str], name: str, value: str) -> None:
    number = sum(1 for known in found if known.partition(" #")[0] == name)
    found[f"{name} #{number + 1}" if number else name] = value


def files_below(*folders: Path) -> Iterator[Path]:
    """Return every file below some folders."""
    for folder in folders:
        yield from sorted(path for path in folder.rglob("*") if path.is_file())
