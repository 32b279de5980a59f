"""The doors that users use: an MCP client in memory, and a real subprocess, each over a world of its own.

What this file does not do: replace a part of ours. Worlds are real emulators over real HTTP on loopback.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import anyio
import mcp
import mcp_types as types
from mcp.client.context import ClientRequestContext
from mcp.client.session import ElicitationFnT
from mcp.client.stdio import StdioServerParameters, stdio_client

from r4_mcp.cli.wiring import Service, open_service
from r4_mcp.config import read_settings
from r4_mcp.core.keys import PrivateKey
from r4_mcp.core.wire import FieldId, FieldType, ItemType, VaultId
from r4_mcp.emulator.app import create_app
from r4_mcp.emulator.drafts import CreatedItem, FieldDraft
from r4_mcp.emulator.embedded import PERMISSIONS, open_embedded
from r4_mcp.emulator.seed import Seeded, seed
from r4_mcp.emulator.store import Store
from r4_mcp.secret import KnownSecrets, SecretKind
from r4_mcp.server.app import build_server

from .switchboard import Switchboard, Tap, loopback_socket

Era = Literal["auto", "legacy"]
ERAS: Final[tuple[Era, ...]] = ("auto", "legacy")
"""``auto`` speaks 2026-07-28 where the server does; ``legacy`` speaks the handshake era."""

POLICY: Final = '[defaults.reveal]\nCONFIDENTIAL = "allow"\nCUI = "allow"\n[budget]\nper_connection = 1000\nper_hour = 1000\n'
"""The policy of every world, unless a test writes another."""

BITS: Final = 2048
CALL_SECONDS: Final = 30.0

Steps = list[tuple[float, float | None]]
"""Progress as a client was told of it: how much, of how much."""


def yes() -> types.ElicitResult | types.ErrorData:
    """Return what a client sends when the person agreed."""
    return types.ElicitResult(action="accept", content={"approve": True})


@dataclass
class Person:
    """Whoever sits before a client: gives one answer to everything, and notes what was asked."""

    reply: types.ElicitResult | types.ErrorData = field(default_factory=yes)
    asked: list[types.ElicitRequestParams] = field(default_factory=list)

    async def __call__(
        self,
        context: ClientRequestContext,  # noqa: ARG002 - the form of the SDK
        params: types.ElicitRequestParams,
    ) -> types.ElicitResult | types.ErrorData:
        """Answer one question."""
        self.asked.append(params)
        return self.reply


@dataclass
class World:
    """A seeded emulator of one test: its store, its operator, its address, its recording."""

    store: Store
    seeded: Seeded
    known: KnownSecrets
    base_url: str
    tap: Tap
    home: Path
    board: Switchboard
    spare_keys: tuple[PrivateKey, ...]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the seed's agent."""
        return {"R4_CONFIG": str(self.seeded.config_path), "R4_BASE_URL": self.base_url, "R4_HOME": str(self.home)}

    def plaintexts(self) -> dict[FieldId, str]:
        """Return every current plaintext."""
        return {field_id: value.reveal() for field_id, value in self.seeded.values().items()}

    def dump(self) -> str:
        """Return every row of the store as text."""
        with self.store.read() as db:
            return "\n".join(db.iterdump())

    def vault_id(self, name: str) -> VaultId:
        """Return a seeded vault's id."""
        return self.seeded.vaults[name]

    def add_item(self, vault: str, name: str, *fields: tuple[str, FieldType, str]) -> CreatedItem:
        """Let the operator create an item."""
        drafts = [FieldDraft(label, kind, self.known.text(value, SecretKind.FIELD)) for label, kind, value in fields]
        return self.seeded.operator.create_item(self.seeded.vaults[vault], name, ItemType.CUSTOM, [], drafts)

    def new_agent(self, permissions: tuple[str, ...] = PERMISSIONS, key: int = 0) -> tuple[str, dict[str, str]]:
        """Create an agent that has registered nothing; returns its id and its environment."""
        credentials = self.seeded.operator.create_agent(f"Agent {key}", permissions)
        path = self.home / f"agent-{credentials.agent_id}.json"
        members = {
            "agentId": credentials.agent_id,
            "accessKey": credentials.access_key,
            "accessSecret": credentials.access_secret.reveal(),
            "privateKey": private_pem(self.spare_keys[key]),
        }
        write_private(path, json.dumps(members))
        return credentials.agent_id, {"R4_CONFIG": str(path), "R4_BASE_URL": self.base_url, "R4_HOME": str(self.home)}

    def agent_members(self) -> dict[str, str]:
        """Return the members of the seed's ``agent.json``."""
        members: dict[str, str] = json.loads(self.seeded.config_path.read_text())
        return members


def private_pem(key: PrivateKey) -> str:
    """Return a key as PKCS#8 PEM."""
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415 - only the tests write keys

    return key.rsa.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()).decode("ascii")


def write_private(path: Path, text: str, mode: int = 0o600) -> Path:
    """Write a file with exactly this mode."""
    path.write_text(text)
    path.chmod(mode)
    return path


def open_world(template: Path, directory: Path, board: Switchboard, spare_keys: tuple[PrivateKey, ...]) -> World:
    """Copy the session's seed into a world of its own and plug it in."""
    shutil.copytree(template, directory / "r4")
    (directory / "r4").chmod(0o700)
    home = directory / "home"
    home.mkdir(mode=0o700)
    # By default CONFIDENTIAL values ask a person; most tests are about something else. Those of the policy write their own.
    write_private(home / "policy.toml", POLICY)
    known = KnownSecrets()
    store = Store.open(directory / "r4")
    seeded = seed(store, directory / "r4", known, bits=BITS)
    base_url, tap = board.plug(create_app(store))
    return World(store, seeded, known, base_url, tap, home, board, spare_keys)


@dataclass
class Door:
    """One client's calls: each result is checked for its form, and kept raw."""

    client: mcp.Client
    raw: list[str] = field(default_factory=list)

    async def result(self, tool: str, arguments: Mapping[str, object], steps: Steps | None = None) -> types.CallToolResult:
        """Call a tool; the result has exactly one text block. With ``steps``, progress is asked for and noted there."""

        async def note(progress: float, total: float | None, message: str | None) -> None:
            assert message is None
            if steps is not None:
                steps.append((progress, total))

        with anyio.fail_after(CALL_SECONDS):
            result = await self.client.call_tool(tool, dict(arguments), progress_callback=None if steps is None else note)
        assert isinstance(result, types.CallToolResult)
        self.raw.append(result.model_dump_json(by_alias=True))
        assert [block.type for block in result.content] == ["text"]
        return result

    async def ok(self, tool: str, /, **arguments: object) -> dict[str, Any]:
        """Call a tool that must succeed: its text is the compact JSON of its structured content."""
        result = await self.result(tool, arguments)
        assert not result.is_error, text_of(result)
        payload = result.structured_content
        assert isinstance(payload, dict)
        assert text_of(result) == compact(payload)
        return payload

    async def refused(self, tool: str, code: str, /, **arguments: object) -> dict[str, Any]:
        """Call a tool that must refuse with this code: one text, compact JSON, a message and a next step."""
        result = await self.result(tool, arguments)
        text = text_of(result)
        assert result.is_error, f"{tool} was not refused: {text}"
        payload: dict[str, Any] = json.loads(text)
        assert payload["code"] == code, text
        assert text == compact(payload)
        assert set(payload) - {"candidates"} == {"code", "message", "next_step"}
        assert payload["message"]
        assert payload["next_step"]
        assert result.structured_content == payload
        return payload


def text_of(result: types.CallToolResult) -> str:
    """Return the one text of a result."""
    block = result.content[0]
    assert isinstance(block, types.TextContent)
    return block.text


def compact(payload: object) -> str:
    """Return compact JSON, as the server writes it."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))


@dataclass
class Inside:
    """An in-memory server with the rooms behind it."""

    door: Door
    service: Service
    known: KnownSecrets


@asynccontextmanager
async def inside(
    environment: Mapping[str, str], era: Era = "auto", answer: ElicitationFnT | None = None
) -> AsyncIterator[Inside]:
    """Open a client on a server object in this process, wired as the command line wires it.

    With ``answer``, the client says that it can ask a person, and this plays them.
    """
    known = KnownSecrets()
    async with (
        open_service(read_settings(environment, known), known) as service,
        mcp.Client(build_server(service.dispatch, service.asking), mode=era, elicitation_callback=answer) as client,
    ):
        yield Inside(Door(client), service, known)


@asynccontextmanager
async def in_memory(
    environment: Mapping[str, str], era: Era = "auto", answer: ElicitationFnT | None = None
) -> AsyncIterator[Door]:
    """Open a client on a server object in this process; ``answer`` as for ``inside``."""
    async with inside(environment, era, answer) as opened:
        yield opened.door


def stdio(environment: Mapping[str, str], *arguments: str) -> StdioServerParameters:
    """Return how to start the real server as a subprocess."""
    return StdioServerParameters(command=sys.executable, args=["-m", "r4_mcp", "serve", *arguments], env=dict(environment))


@asynccontextmanager
async def subprocess(
    environment: Mapping[str, str], *arguments: str, stderr: Path, era: Era = "auto", answer: ElicitationFnT | None = None
) -> AsyncIterator[Door]:
    """Start the real server as a subprocess and open a client on it; its stderr goes to a file. ``answer`` as for ``inside``."""
    with stderr.open("a") as log:
        transport = stdio_client(stdio(environment, *arguments), errlog=log)
        async with mcp.Client(transport, mode=era, elicitation_callback=answer) as client:
            yield Door(client)


def local_environment(world: World) -> dict[str, str]:
    """Make the embedded vault of a world's home with a small key; returns the environment that ``serve --local`` needs."""
    open_embedded(world.home / "local", world.known, bits=BITS)
    return {"R4_HOME": str(world.home)}


def loopback_nowhere() -> str:
    """Return a loopback address where nothing listens."""
    listener, address = loopback_socket()
    listener.close()
    return address
