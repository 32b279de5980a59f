"""The wire: JSON-RPC as bytes, spoken by hand to a server object, in both protocol eras.

What this file does not do: judge answers, or look for canaries in what it keeps.

Rules:
1. Every message passes as the bytes of one line, in each direction, as over stdio; all are kept until they are taken.
2. The era is decided by how the conversation is opened. In the modern one each request carries its envelope.
3. Whoever sits before the client gives one answer to every question of the server, or can't be asked.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.message import SessionMessage

ERAS: Final = ("modern", "handshake")
SECONDS: Final = 60.0
_MANY: Final = 10_000
_INFO: Final = {"name": "wire", "version": "0"}
_STEPS: Final = "steps"

Item = SessionMessage | Exception
Message = dict[str, Any]


class Person(StrEnum):
    """What the person before the client does when asked."""

    AGREES = "agrees"
    DECLINES = "declines"
    ABSENT = "absent"


@dataclass
class Wire:
    """One conversation.

    Attributes:
        said: Lines from the client, not yet taken.
        heard: Lines from the server, not yet taken.
        escaped: Exceptions that left the server's own handlers.
        settled: Set when the server has done with the latest request, answered or not.
        opening: What the server said of itself when the conversation was opened.
        latest: Number of the latest request.
    """

    era: str
    person: Person
    _out: MemoryObjectSendStream[Item]
    _in: MemoryObjectReceiveStream[SessionMessage]
    said: list[bytes] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)
    escaped: list[BaseException] = field(default_factory=list)
    settled: anyio.Event = field(default_factory=anyio.Event)
    opening: Message = field(default_factory=dict)
    latest: int = 0

    async def say(self, message: Mapping[str, object]) -> None:
        """Send one message (rule 1)."""
        line = json.dumps(message, ensure_ascii=False).encode()
        self.said.append(line)
        try:
            item: Item = SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
        except ValueError as error:
            # As the stdio transport does with a line that is no message.
            item = error
        await self._out.send(item)

    async def request(self, method: str, params: Mapping[str, object]) -> Message:
        """Send a request and return the answer to it; questions of the server are answered meanwhile (rule 3)."""
        number = await self.begin(method, params)
        return await self.answer(number)

    async def begin(self, method: str, params: Mapping[str, object]) -> int:
        """Send a request; returns its number."""
        self.latest += 1
        self.settled = anyio.Event()
        given = params.get("_meta", {})
        assert isinstance(given, dict)
        envelope = self._envelope() if self.era == "modern" else {}
        meta = {**envelope, "progressToken": f"{_STEPS}-{self.latest}", **given}
        await self.say({"jsonrpc": "2.0", "id": self.latest, "method": method, "params": {**params, "_meta": meta}})
        return self.latest

    async def answer(self, number: int) -> Message:
        """Wait for the answer with a number."""
        with anyio.fail_after(SECONDS):
            while True:
                message = await self._hear()
                if "method" in message and "id" in message:
                    await self.say({"jsonrpc": "2.0", "id": message["id"], "result": self._reply()})
                elif message.get("id") == number:
                    return message

    async def call(self, tool: str, arguments: object) -> Message:
        """Call a tool; where the server asks by an unfinished result, the person's answer is sent with the same call again."""
        params: dict[str, object] = {"name": tool, "arguments": arguments}
        message = await self.request("tools/call", params)
        while (result := message.get("result", {})).get("resultType") == "input_required":
            answers = dict.fromkeys(result["inputRequests"], self._reply())
            again = {**params, "inputResponses": answers, "requestState": result["requestState"]}
            message = await self.request("tools/call", again)
        return message

    async def cancel(self, number: int) -> None:
        """Take a request back, and wait until the server has done with it; there may be no answer."""
        await self.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number}})
        with anyio.fail_after(SECONDS):
            await self.settled.wait()

    def taken(self) -> tuple[list[bytes], list[bytes]]:
        """Take the lines of both directions since the last time, and what lies ready to be heard."""
        while self._in.statistics().current_buffer_used:
            self._keep(self._in.receive_nowait())
        said, heard = self.said, self.heard
        self.said, self.heard = [], []
        return said, heard

    async def open(self) -> None:
        """Open the conversation (rule 2)."""
        if self.era == "modern":
            self.opening = (await self.request("server/discover", {}))["result"]
            return
        params = {"protocolVersion": "2025-11-25", "capabilities": self._capabilities(), "clientInfo": _INFO}
        self.opening = (await self.request("initialize", params))["result"]
        await self.say({"jsonrpc": "2.0", "method": "notifications/initialized"})

    async def _hear(self) -> Message:
        return self._keep(await self._in.receive())

    def _keep(self, item: SessionMessage) -> Message:
        line = item.message.model_dump_json(by_alias=True, exclude_unset=True).encode()
        self.heard.append(line)
        message: Message = json.loads(line)
        return message

    def _reply(self) -> dict[str, object]:
        return {"action": "accept", "content": {"approve": True}} if self.person is Person.AGREES else {"action": "decline"}

    def _capabilities(self) -> dict[str, object]:
        return {} if self.person is Person.ABSENT else {"elicitation": {"form": {}}}

    def _envelope(self) -> dict[str, object]:
        prefix = "io.modelcontextprotocol/"
        return {
            f"{prefix}protocolVersion": "2026-07-28",
            f"{prefix}clientInfo": _INFO,
            f"{prefix}clientCapabilities": self._capabilities(),
        }


@asynccontextmanager
async def wired(server: Server[dict[str, Any]], era: str, person: Person = Person.AGREES) -> AsyncIterator[Wire]:
    """Run a server and open a conversation with it."""
    to_server, incoming = anyio.create_memory_object_stream[Item](_MANY)
    outgoing, from_server = anyio.create_memory_object_stream[SessionMessage](_MANY)
    wire = Wire(era, person, to_server, from_server)

    async def watch(ctx: ServerRequestContext[dict[str, Any]], call_next: CallNext) -> HandlerResult:
        settled = wire.settled
        try:
            return await call_next(ctx)
        except BaseException as error:
            wire.escaped.append(error)
            raise
        finally:
            if ctx.request_id is not None:
                settled.set()

    server.middleware.insert(0, watch)
    with to_server, incoming, outgoing, from_server:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.run, incoming, outgoing, server.create_initialization_options())
            await wire.open()
            yield wire
            tasks.cancel_scope.cancel()
