"""Where a lie is told: one world, one liar, processes that come and go on one trust store, and what must never be seen.

What this file does not do: know which lie is refused how; the tables do.
"""

from __future__ import annotations

import io
import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from r4_mcp.cli.wiring import Service, open_service
from r4_mcp.config import read_settings
from r4_mcp.core.wire import FieldType
from r4_mcp.emulator.app import create_app
from r4_mcp.emulator.drafts import CreatedItem
from r4_mcp.emulator.faults_account import ORDER
from r4_mcp.emulator.faults_keys import CHOSEN
from r4_mcp.emulator.faults_liar import Fault, Liar
from r4_mcp.secret import KnownSecrets
from r4_mcp.server.dispatch import Outcome
from tests.doors import World
from tests.switchboard import Exchange

VAULT = "Engineering"
ITEM = "Canary"
SYNC = "GET /vault/sync"


class Reach(IntEnum):
    """How far into the service a request goes; nothing beyond a refused answer may be asked."""

    ACCOUNT = 0
    LISTS = 1
    VAULT = 2
    ITEM = 3
    KEY = 4
    WRITE = 5


def reach_of(exchange: Exchange) -> Reach:
    """Say how far a request goes."""
    line = exchange.line
    if "/me" in line or line == "POST /vault/public-key":
        return Reach.ACCOUNT
    if exchange.method != "GET":
        return Reach.WRITE
    if line in {"GET /vault", SYNC, "GET /project"}:
        return Reach.LISTS
    if line.endswith(("/items", "/public-keys")):
        return Reach.VAULT
    return Reach.KEY if line.endswith("/wrapped-key") else Reach.ITEM


@dataclass
class Stage:
    """One test's world and liar."""

    world: World
    liar: Liar
    item: CreatedItem
    password: str
    token: str
    posted: str
    log: io.StringIO = field(default_factory=io.StringIO)

    @classmethod
    def set_up(cls, world: World) -> Stage:
        """Put a canary into the world's vault, and a liar before its store."""
        liar = Liar(world.store, world.seeded.config_path.parent, world.known, keys=world.spare_keys)
        world.tap.app = create_app(world.store, liar.answer)
        password, token, posted = (f"canary-{secrets.token_hex(16)}" for _ in range(3))
        fields = (
            ("Username", FieldType.TEXT, "canary"),
            ("Password", FieldType.PASSWORD, password),
            ("Token", FieldType.SECRET, token),
        )
        return cls(world, liar, world.add_item(VAULT, ITEM, *fields), password, token, posted)

    @property
    def vault_id(self) -> str:
        """The vault of the canary."""
        return self.world.seeded.vaults[VAULT]

    @property
    def by_name(self) -> str:
        """The canary's reference, by names."""
        return f"r4://{VAULT}/{ITEM}/Password"

    @property
    def by_id(self) -> str:
        """The canary's reference, by ids."""
        return f"r4://{self.vault_id}/{self.item.item_id}/{self.item.field_ids[1]}"

    @asynccontextmanager
    async def process(self, **environment: str) -> AsyncIterator[Service]:
        """Wire a new process, as the command line does, on the one trust store."""
        known = KnownSecrets()
        # Each call asks: what was true a moment ago must not hide a lie that is told now.
        settings = read_settings({**self.world.environment, "R4_INDEX_SECONDS": "0", **environment}, known)
        async with open_service(settings, known) as service:
            yield service

    def forget_registration(self) -> None:
        """Let the home forget that its key is registered, so that the next process asks again."""
        for path in (self.world.home / "registered").glob("*.json"):
            path.unlink()

    async def contact(self, service: Service) -> None:
        """Let a process see everything, and read the canary in every way."""
        for line in (await succeed(service, "list_vaults"))["vaults"]:
            assert line["verified"], line
        await self.read_honestly(service)

    async def read_honestly(self, service: Service) -> None:
        """Read the canary in every way."""
        for reference in (self.by_name, self.by_id):
            assert (await succeed(service, "read_secret", reference=reference))["value"] == self.password

    async def lead_up_to(self, fault: Fault, service: Service) -> None:
        """Play everything before the lie: what was arranged, the first contact, what changed, what was announced."""
        if fault.prepare is not None:
            fault.prepare(self.liar)
        self.liar.record()
        await self.contact(service)
        if fault.change is not None:
            fault.change(self.liar)
            await self.contact(service)
        if fault.prelude is not None:
            self.liar.tell(fault.prelude)
            await self.contact(service)
            assert self.liar.told
        self.liar.tell(fault.lie)

    @contextmanager
    def everything_logged(self) -> Iterator[None]:
        """Keep every record of every logger, unfiltered: stricter than the command line's own set-up."""
        self.log = io.StringIO()
        handler = logging.StreamHandler(self.log)
        handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
        root = logging.getLogger()
        level, others = root.level, root.handlers[:]
        root.handlers[:] = [handler]
        root.setLevel(logging.DEBUG)
        try:
            yield
        finally:
            root.handlers[:] = others
            root.setLevel(level)

    def trust(self) -> bytes | None:
        """Return the trust store's bytes."""
        path = self.world.home / "trust-store.json"
        return path.read_bytes() if path.exists() else None

    def secrets(self) -> tuple[str, ...]:
        """What must not be seen anywhere but in the explicit, honest read."""
        return (self.password, self.token, self.posted, CHOSEN)

    def assert_unseen(self, outcome: Outcome) -> None:
        """No canary in a result, and no text that a service would like to speak through us."""
        for text in (*self.secrets(), ORDER, self.world.agent_members()["accessSecret"]):
            assert text not in outcome.text

    def assert_unwritten(self, *streams: str) -> None:
        """No canary in a log record, on a stream, in a file of this agent's home, or sent."""
        files = [path.read_bytes() for path in self.world.home.rglob("*") if path.is_file()]
        sent = [exchange.body for exchange in self.world.tap.exchanges]
        for secret in (*self.secrets(), self.world.agent_members()["accessSecret"]):
            assert all(secret not in text for text in (self.log.getvalue(), *streams))
            assert all(secret.encode() not in content for content in (*files, *sent))

    def assert_went_no_further(self, reach: Reach, times: int) -> None:
        """No request beyond the refused answer, and the same one not more often than it may be asked again."""
        asked = self.world.tap.exchanges
        beyond = [exchange.line for exchange in asked if reach_of(exchange) > reach]
        assert not beyond, beyond
        most = Counter(f"{exchange.line}?{exchange.query}" for exchange in asked if exchange.line != SYNC).most_common(1)
        assert not most or most[0][1] <= times, most
        # Without a memory, a look by name syncs for the list and for the vault, twice where something is refused.
        syncs = [exchange for exchange in asked if exchange.line == SYNC]
        assert len(syncs) <= 3 * times, len(syncs)


async def call(service: Service, tool: str, arguments: Mapping[str, object]) -> Outcome:
    """Call a tool."""
    return await service.dispatch.call(tool, arguments)


async def succeed(service: Service, tool: str, **arguments: object) -> dict[str, Any]:
    """Call a tool that must succeed."""
    outcome = await call(service, tool, arguments)
    assert not outcome.is_error, outcome.text
    return outcome.payload
