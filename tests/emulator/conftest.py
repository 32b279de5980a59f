"""Keys made once, and a fresh world for each test: a store, its operator, its app."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.applications import Starlette

from r4_mcp.core.keys import PrivateKey, load_private_key
from r4_mcp.core.wire import FieldType, ItemType, VaultId
from r4_mcp.emulator.app import create_app
from r4_mcp.emulator.drafts import FieldDraft, ItemDraft
from r4_mcp.emulator.embedded import PERMISSIONS
from r4_mcp.emulator.fresh import generate_private_key
from r4_mcp.emulator.operator import Operator
from r4_mcp.emulator.store import Store
from r4_mcp.machine.contract import Level
from r4_mcp.secret import KnownSecrets, SecretKind

from .client import AgentClient

BITS = 2048


@dataclass(frozen=True)
class Keys:
    """Key pairs of the whole test session."""

    operator: PrivateKey
    agents: tuple[PrivateKey, ...]


@dataclass(frozen=True)
class World:
    """One store with its operator and app."""

    store: Store
    app: Starlette
    operator: Operator
    known: KnownSecrets
    keys: Keys

    def agent(self, number: int = 0, permissions: Iterable[str] = PERMISSIONS) -> AgentClient:
        """Create an agent that has not registered its key."""
        credentials = self.operator.create_agent(f"Agent {number}", permissions)
        return AgentClient(self.app, credentials, self.keys.agents[number], self.known)

    async def registered(self, number: int = 0) -> AgentClient:
        """Create an agent and register its key."""
        agent = self.agent(number)
        assert (await agent.register()).status_code == 201
        return agent

    async def granted(self, vault_id: VaultId, level: Level, number: int = 0) -> AgentClient:
        """Create an agent, register its key, share a vault with it."""
        agent = await self.registered(number)
        self.operator.grant(agent.credentials.agent_id, vault_id, level)
        return agent

    def vault(self, name: str = "Production", items: int = 1) -> VaultId:
        """Create a vault with some items of two fields."""
        vault_id = self.operator.create_vault(name)
        drafts = [
            ItemDraft(
                f"Item {number}",
                ItemType.API_KEY,
                ["https://api.example.com"],
                [
                    FieldDraft("Token", FieldType.SECRET, self.known.text(f"demo-token-{number}", SecretKind.FIELD)),
                    FieldDraft("Attachment", FieldType.FILE, None),
                ],
            )
            for number in range(items)
        ]
        if drafts:
            self.operator.create_items(vault_id, drafts)
        return vault_id

    def dump(self) -> str:
        """Return every row of the store as text."""
        with self.store.read() as db:
            return "\n".join(db.iterdump())


@pytest.fixture(scope="session")
def keys() -> Keys:
    """Make the session's key pairs."""
    made = [load_private_key(generate_private_key(BITS)) for _ in range(4)]
    return Keys(made[0], tuple(made[1:]))


@pytest.fixture
def known() -> KnownSecrets:
    """Make a process's known secrets."""
    return KnownSecrets()


@pytest.fixture
def world(tmp_path: Path, keys: Keys, known: KnownSecrets) -> World:
    """Make a store with its operator and app."""
    store = Store.open(tmp_path / "vault")
    operator = Operator.create(store, keys.operator, known)
    return World(store, create_app(store), operator, known, keys)
