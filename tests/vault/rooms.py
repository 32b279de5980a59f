"""The vault room as a process wires it, for tests that go below the tools."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from r4_mcp.cli.wiring import open_service
from r4_mcp.config import read_settings
from r4_mcp.core.wire import FieldType, ItemType
from r4_mcp.secret import KnownSecrets, SecretKind
from r4_mcp.vault.item_creation import FieldDraft, ItemDraft
from r4_mcp.vault.runtime import VaultRuntime
from tests.doors import World


@asynccontextmanager
async def runtime(world: World, environment: dict[str, str] | None = None) -> AsyncIterator[VaultRuntime]:
    """Open the rooms of one process with a memory of its own."""
    known = KnownSecrets()
    async with open_service(read_settings(environment or world.environment, known), known) as service:
        assert service.runtime is not None
        yield service.runtime


def draft(name: str, value: str = "a value of the test") -> ItemDraft:
    """Return an item to create."""
    secret = KnownSecrets().text(value, SecretKind.FIELD)
    return ItemDraft(name, ItemType.CUSTOM, (), (FieldDraft("Token", FieldType.SECRET, secret),))
