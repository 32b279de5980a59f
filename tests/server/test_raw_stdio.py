"""Bytes that no client of ours would send, on the real server's stdin: it stays up and repeats nothing of them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from tests.doors import CALL_SECONDS, World

pytestmark = pytest.mark.stdio

CANARY: Final = "canary-zebra-91"
META: Final = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "0"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
INITIALIZE: Final = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "raw", "version": "0"},
}


class Wire:
    """The two pipes of a running server; a handshake-era session."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.heard = ""

    async def say(self, line: str | bytes) -> None:
        """Send one line."""
        assert self._process.stdin is not None
        self._process.stdin.write((line if isinstance(line, bytes) else line.encode()) + b"\n")
        await self._process.stdin.drain()

    async def request(self, number: int, method: str, params: object) -> dict[str, Any]:
        """Send a request and wait for the answer with its number."""
        await self.say(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}))
        return await self.answer(number)

    async def answer(self, number: int) -> dict[str, Any]:
        """Wait for the answer with a number; keeps everything that is heard."""
        assert self._process.stdout is not None
        async with asyncio.timeout(CALL_SECONDS):
            while True:
                line = await self._process.stdout.readline()
                assert line, "the server has gone"
                self.heard += line.decode()
                message: dict[str, Any] = json.loads(line)
                if message.get("id") == number:
                    return message

    async def close(self) -> str:
        """Close stdin, wait for the end, and return stderr."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        _, errors = await asyncio.wait_for(self._process.communicate(), CALL_SECONDS)
        assert self._process.returncode == 0
        return errors.decode()


@asynccontextmanager
async def wired(world: World, *, modern: bool) -> AsyncIterator[Wire]:
    """Start the real server and open a session of one era."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "r4_mcp",
        "serve",
        env=world.environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    wire = Wire(process)
    try:
        if modern:
            assert "result" in await wire.request(0, "server/discover", {"_meta": META})
        else:
            assert "result" in await wire.request(0, "initialize", INITIALIZE)
            await wire.say('{"jsonrpc":"2.0","method":"notifications/initialized"}')
        yield wire
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


BAD_LINES: Final[dict[str, str | bytes]] = {
    "garbage": f"{CANARY} this is not JSON",
    "a JSON text": json.dumps(CANARY),
    "a JSON list": json.dumps([CANARY]),
    "an object that is no message": json.dumps({"password": CANARY}),
    "a request whose params are a text": json.dumps({"jsonrpc": "2.0", "id": 50, "method": "tools/call", "params": CANARY}),
    "bytes that are not UTF-8": b"\xff\xfe" + CANARY.encode(),
    "an empty line": "",
}


@pytest.mark.parametrize("modern", [True, False], ids=["modern", "legacy"])
async def test_bad_lines_are_survived_and_not_repeated(world: World, *, modern: bool) -> None:
    """After each of these lines the server answers the next request; stdout and stderr hold nothing of them."""
    extra: dict[str, object] = {"_meta": META} if modern else {}
    async with wired(world, modern=modern) as wire:
        for number, (what, line) in enumerate(BAD_LINES.items(), start=100):
            await wire.say(line)
            answer = await wire.request(number, "tools/call", {"name": "whoami", "arguments": {}, **extra})
            assert answer["result"]["isError"] is False, what
        errors = await wire.close()
    assert CANARY not in wire.heard
    assert CANARY not in errors


@pytest.mark.parametrize("modern", [True, False], ids=["modern", "legacy"])
async def test_arguments_that_are_no_object_are_refused_and_not_repeated(world: World, *, modern: bool) -> None:
    """A text, list or number as ``arguments`` gives an error, nothing of it is repeated, and the server stays up."""
    extra: dict[str, object] = {"_meta": META} if modern else {}
    async with wired(world, modern=modern) as wire:
        for number, bad in enumerate([CANARY, [CANARY], 919191], start=10):
            answer = await wire.request(number, "tools/call", {"name": "read_secret", "arguments": bad, **extra})
            assert "error" in answer or answer["result"]["isError"]
        answer = await wire.request(20, "tools/call", {"name": "whoami", "arguments": {}, **extra})
        assert answer["result"]["isError"] is False
        errors = await wire.close()
    assert CANARY not in wire.heard
    assert "919191" not in wire.heard
    assert CANARY not in errors
    assert "919191" not in errors
