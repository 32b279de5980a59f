"""``r4-mcp demo``: the main job as a transcript that a stranger can watch.

What this file does not do: pretend. It starts the emulator as a process on loopback, starts ``r4-mcp serve`` as a real stdio
subprocess, drives it with the MCP client, and prints what a model would see. Every step is checked; one that does not hold
ends the demo with exit status 1.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import mcp
import mcp_types as types
from mcp.client.stdio import StdioServerParameters, stdio_client

from r4_mcp.cli.layout import COLUMNS, chopped, wrapped
from r4_mcp.emulator.agent_file import FILE_NAME
from r4_mcp.emulator.seed import seed
from r4_mcp.emulator.store import Store
from r4_mcp.secret import KnownSecrets
from r4_mcp.sinks.spellings import MIN_SUBSTRING, spellings

_START_SECONDS: Final = 60.0
_STEP_SECONDS: Final = 60.0
_INDENT: Final = "   "


class DemoError(Exception):
    """A step did not do what it says."""


class _Transcript:
    """Prints calls and what the model sees, and remembers the latter."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._step = 0

    def heading(self, text: str) -> None:
        self._step += 1
        sys.stdout.write("\n")
        _write(f"{self._step}. {text}", hanging=len(_INDENT))

    def call(self, name: str, arguments: Mapping[str, Any], text: str) -> None:
        told = json.dumps(arguments, ensure_ascii=False) if arguments else ""
        _write(f"{_INDENT}> {name}({told})", hanging=4)
        for line in chopped(text, COLUMNS - len(_INDENT) - 2):
            sys.stdout.write(f"{_INDENT}  {line}\n")

    def say(self, text: str) -> None:
        _write(_INDENT + text, hanging=0)


async def demo() -> int:
    """Run the demo; returns the exit status."""
    out = _Transcript()
    with tempfile.TemporaryDirectory(prefix="r4-mcp-demo-") as folder:
        home = Path(folder)
        try:
            await _play(out, home)
        except (DemoError, TimeoutError, mcp.MCPError) as error:
            sys.stdout.write(f"\nThe demo stopped: {type(error).__name__}: {error}\n")
            return 1
    sys.stdout.write("\n")
    _write(
        "Every step did what it says. To use your own vault from a client, make a profile with `r4-mcp init`, then run "
        "`r4-mcp install HOST`, or add this to the client's configuration:"
    )
    sys.stdout.write(f"\n{json.dumps(_snippet(), indent=2)}\n\n")
    _write('For the embedded vault, with no account, use "args": ["serve", "--local"].')
    return 0


async def _play(out: _Transcript, home: Path) -> None:
    out.heading("An operator fills an R4 emulator on this machine: vaults, items, and an agent with access.")
    known = KnownSecrets()
    seeded = await anyio.to_thread.run_sync(seed, Store.open(home / "r4"), home / "r4", known)
    # reveal: kept in this process, to prove that no listing holds one of them.
    plaintexts = [value.reveal() for value in seeded.values().values()]
    out.say(f"{len(seeded.vaults)} vaults, {len(plaintexts)} encrypted values; the service never sees one of them.")
    async with _emulator(home / "r4") as base_url:
        out.say(f"Emulator: {base_url}")
        out.heading("An MCP client starts `r4-mcp serve` over stdio and asks which tools there are.")
        server = StdioServerParameters(
            command=sys.executable,
            args=["-m", "r4_mcp", "serve"],
            env={"R4_CONFIG": str(home / "r4" / FILE_NAME), "R4_BASE_URL": base_url, "R4_HOME": str(home / "agent")},
        )
        problem: DemoError | None = None
        log = home / "server.log"
        with log.open("w") as errors, anyio.fail_after(_START_SECONDS + _STEP_SECONDS):
            async with mcp.Client(stdio_client(server, errlog=errors)) as client:
                try:
                    await _converse(_Session(client, out), plaintexts)
                except DemoError as error:
                    # Kept until the client has closed: its task group would wrap it.
                    problem = error
        if problem is not None:
            # What the server logs is no part of the transcript, unless it says what went wrong.
            sys.stderr.write(log.read_text())
            raise problem


class _Session:
    """One client's calls, each printed and checked."""

    def __init__(self, client: mcp.Client, out: _Transcript) -> None:
        self.client = client
        self.out = out

    async def ok(self, name: str, /, **arguments: object) -> dict[str, Any]:
        result = await self._call(name, arguments)
        if result.is_error or not isinstance(result.structured_content, dict):
            raise DemoError(f"{name} was refused")
        return result.structured_content

    async def refused(self, name: str, code: str, /, **arguments: object) -> dict[str, Any]:
        result = await self._call(name, arguments)
        payload: dict[str, Any] = json.loads(_text(result))
        if not result.is_error or payload["code"] != code:
            raise DemoError(f"{name} should have been refused with {code}")
        return payload

    async def _call(self, name: str, arguments: dict[str, object]) -> types.CallToolResult:
        result = await self.client.call_tool(name, arguments)
        text = _text(result)
        self.out.call(name, arguments, text)
        self.out.seen.append(text)
        return result


async def _converse(session: _Session, plaintexts: list[str]) -> None:
    out = session.out
    tools = (await session.client.list_tools()).tools
    out.say(", ".join(tool.name for tool in tools))

    out.heading("The agent asks who it is, and looks around. Listings hold names and references, never values.")
    _expect((await session.ok("whoami"))["key"] == "registered", "the agent's key is registered")
    vaults = (await session.ok("list_vaults"))["vaults"]
    _expect(all(vault["verified"] for vault in vaults), "every vault is verified")
    items = (await session.ok("list_items", vault="Engineering"))["items"]
    item = await session.ok("describe_item", reference=items[0]["reference"])
    _expect(not _leaked(plaintexts, out.seen), "the listings above hold none of the plaintexts, in any spelling")

    out.heading("It reads exactly one secret: decrypted on this machine, in the one tool that shows a value.")
    secret = next(field for field in item["fields"] if field["secret"])
    revealed = await session.ok("read_secret", reference=secret["reference"], reason="demo")
    _expect(revealed["value"] in plaintexts or revealed["type"] == "TOTP", "the value is the one that the operator sealed")

    out.heading("It stores a new credential that it never sees, in a vault of its own.")
    vault = await session.ok("create_vault", name="Agent Scratch", classification="INTERNAL")
    fields = [
        {"name": "user", "type": "TEXT", "value": "deploy-bot"},
        {"name": "password", "type": "PASSWORD", "generate": {"length": 40, "alphabet": "alphanumeric"}},
    ]
    created = await session.ok("create_item", vault=vault["reference"], name="Deploy Bot", type="LOGIN", fields=fields)
    again = await session.ok("read_secret", reference=created["reference"])
    _expect(again["value"] not in "".join(out.seen[:-1]), "the generated password was shown by this read and never before")

    out.heading("It tries what it must not: a name that fits nothing, a secret in a report, a value as an unknown argument.")
    await session.refused("read_secret", "not_found", reference="r4://Engineering/No%20Such%20Item/token")
    before = len(out.seen)
    result = await session.client.call_tool("report_gap", {"summary": "Rotation", "details": f"the key is {again['value']}"})
    out.call("report_gap", {"summary": "Rotation", "details": "the key is <the password read above>"}, _text(result))
    _expect(result.is_error and again["value"] not in _text(result), "the report was refused without an echo")
    await session.refused("list_vaults", "invalid_argument", unknown="not-repeated-in-the-error")
    _expect("not-repeated" not in "".join(out.seen[before:]), "the rejected value was not repeated")

    out.heading("It cleans up and reports a gap in R4 itself.")
    await session.ok("archive_item", reference=created["reference"])
    await session.ok("archive_vault", reference=vault["reference"])
    names = [vault["name"] for vault in (await session.ok("list_vaults"))["vaults"]]
    _expect("Agent Scratch" not in names, "the archived vault left the listing")
    await session.ok("report_gap", summary="Bulk rotation", details="Rotating many items needs one call per item.")


def _expect(holds: bool, claim: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not holds:
        raise DemoError(f"this does not hold: {claim}")
    _write(f"{_INDENT}checked: {claim}", hanging=2)


def _leaked(plaintexts: list[str], seen: list[str]) -> bool:
    texts = "\n".join(seen)
    return any(needle in texts for value in plaintexts if len(value) >= MIN_SUBSTRING for needle in spellings(value))


def _text(result: types.CallToolResult) -> str:
    block = result.content[0]
    if not isinstance(block, types.TextContent):
        raise DemoError("a result without text")
    return block.text


def _write(line: str, hanging: int = 0) -> None:
    sys.stdout.write("\n".join(wrapped(line, hanging)) + "\n")


@asynccontextmanager
async def _emulator(directory: Path) -> AsyncIterator[str]:
    command = [sys.executable, "-m", "r4_mcp", "emulator", "--data", str(directory), "--port", "0"]
    async with await anyio.open_process(command, stdin=None, stderr=None) as process:
        try:
            if process.stdout is None:
                raise DemoError("the emulator has no output")
            with anyio.fail_after(_START_SECONDS):
                line = b""
                while not line.endswith(b"\n"):
                    line += await process.stdout.receive()
            base_url: str = json.loads(line)["baseUrl"]
            yield base_url
        finally:
            process.terminate()


def _snippet() -> dict[str, Any]:
    return {
        "mcpServers": {
            "r4": {
                # Hosts don't have a virtual environment's PATH, so the command is told in full.
                "command": shutil.which("r4-mcp") or str(Path(sys.executable).with_name("r4-mcp")),
                "args": ["serve", "--profile", "default"],
            }
        }
    }
