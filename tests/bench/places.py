"""Where it is measured: services of their own processes with a known number of items, and servers driven over raw pipes.

What this file does not do: measure.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from r4_mcp.core.wire import Classification, FieldType, ItemType, VaultId
from r4_mcp.emulator.drafts import FieldDraft, ItemDraft
from r4_mcp.emulator.seed import Seeded, seed
from r4_mcp.emulator.store import Store
from r4_mcp.machine.contract import MIB, Level
from r4_mcp.secret import KnownSecrets, SecretKind

BITS: Final = 2048
ITEMS_A_VAULT: Final = 50
PROTOCOL: Final = "2025-11-25"

Json = dict[str, Any]


@dataclass(frozen=True)
class Service:
    """An emulator in a process of its own."""

    base_url: str
    config: Path
    seeded: Seeded
    items: int

    def environment(self, home: Path) -> dict[str, str]:
        """Return the environment of its agent, with a home."""
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        policy = home / "policy.toml"
        policy.write_text("[budget]\nper_connection = 1000\nper_hour = 1000\n")
        policy.chmod(0o600)
        return {"R4_CONFIG": str(self.config), "R4_BASE_URL": self.base_url, "R4_HOME": str(home)}


def _fill(seeded: Seeded, known: KnownSecrets, vaults: int) -> None:
    for number in range(vaults):
        vault_id: VaultId = seeded.operator.create_vault(f"Vault {number:03}", Classification.INTERNAL)
        drafts = [
            ItemDraft(
                f"Service {number:03}-{item:02}",
                ItemType.LOGIN,
                [f"https://service-{number}-{item}.example"],
                [
                    FieldDraft("Username", FieldType.TEXT, known.text("bench", SecretKind.FIELD, armed=False)),
                    FieldDraft(
                        "Password", FieldType.PASSWORD, known.text(f"bench {number} {item}", SecretKind.FIELD, armed=False)
                    ),
                ],
            )
            for item in range(ITEMS_A_VAULT)
        ]
        seeded.operator.create_items(vault_id, drafts)
        seeded.operator.grant(seeded.credentials.agent_id, vault_id, Level.WRITE)


@contextmanager
def service(folder: Path, vaults: int) -> Iterator[Service]:
    """Fill and run an emulator with so many vaults beside those of its seed."""
    folder.mkdir(mode=0o700)
    known = KnownSecrets()
    seeded = seed(Store.open(folder), folder, known, bits=BITS)
    _fill(seeded, known, vaults)
    command = [sys.executable, "-m", "r4_mcp", "emulator", "--data", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            yield Service(told["baseUrl"], Path(told["agentConfig"]), seeded, vaults * ITEMS_A_VAULT)
        finally:
            process.terminate()


class Piped:
    """A server that is spoken to in raw lines, so that no client library is measured with it."""

    def __init__(self, process: Process) -> None:
        assert process.stdout is not None
        assert process.stdin is not None
        self.pid = process.pid
        self._lines = BufferedByteReceiveStream(process.stdout)
        self._stdin = process.stdin
        self._number = 0
        self._answers: dict[int, Json] = {}

    async def send(self, method: str, params: Json | None = None, *, notify: bool = False) -> int:
        """Send one message; returns its id."""
        self._number += 1
        message: Json = {"jsonrpc": "2.0", "method": method, "params": params or {}}
        if not notify:
            message["id"] = self._number
        await self._stdin.send(json.dumps(message).encode() + b"\n")
        return self._number

    async def answer(self, number: int) -> Json:
        """Wait for the answer to a message."""
        while number not in self._answers:
            message = json.loads(await self._lines.receive_until(b"\n", 64 * MIB))
            if "id" in message:
                self._answers[message["id"]] = message
        return self._answers.pop(number)

    async def begin(self) -> None:
        """Shake hands."""
        client = {"name": "bench", "version": "1"}
        await self.answer(await self.send("initialize", {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": client}))
        await self.send("notifications/initialized", notify=True)

    async def ask(self, tool: str, **arguments: object) -> int:
        """Send a call; returns its id."""
        return await self.send("tools/call", {"name": tool, "arguments": arguments})

    async def call(self, tool: str, **arguments: object) -> Json:
        """Call a tool that must succeed; returns its result."""
        answer = await self.answer(await self.ask(tool, **arguments))
        result: Json = answer["result"]
        if result.get("isError"):
            raise AssertionError(result["content"][0]["text"])
        return result


@asynccontextmanager
async def piped(*arguments: str, environment: dict[str, str] | None = None) -> AsyncIterator[Piped]:
    """Start a module of this interpreter as a server; nothing has been said yet."""
    command = [sys.executable, "-m", *arguments]
    async with await anyio.open_process(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield Piped(process)
        finally:
            process.kill()


def server(environment: dict[str, str], *arguments: str) -> Any:  # noqa: ANN401 - the context manager of ``piped``
    """Start the product."""
    return piped("r4_mcp", "serve", *arguments, environment=environment)


def echo() -> Any:  # noqa: ANN401 - the context manager of ``piped``
    """Start the floor."""
    return piped("tests.bench.echo")


def resident(pid: int) -> int:
    """Return the resident memory of a process, in bytes (Linux)."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024
