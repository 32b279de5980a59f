"""Services on loopback, honest and hostile, byte by byte; and how the tests send them a request with secrets in it."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, TypedDict, Unpack

from r4_mcp.sinks.answer import Answer, Text
from r4_mcp.sinks.destination import cover, parse
from r4_mcp.sinks.http import HttpSink
from r4_mcp.sinks.request import BasicAuth, BearerAuth, FormBody, GivenPairs, JsonBody, TextBody, compose
from r4_mcp.sinks.use import Use

from .values import REFERENCE, secret

SLOT: Final = f"{{{{{REFERENCE}}}}}"
"""The placeholder of ``REFERENCE``."""

_LENGTH: Final = re.compile(rb"\r\ncontent-length: ([0-9]+)\r\n")


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came."""

    head: str
    body: bytes

    @property
    def line(self) -> str:
        """The request line."""
        return self.head.split("\r\n", 1)[0]

    @property
    def headers(self) -> dict[str, str]:
        """The headers, by their names in small letters."""
        pairs = (line.split(": ", 1) for line in self.head.split("\r\n")[1:] if line)
        return {name.lower(): value for name, value in pairs}


@dataclass
class Service:
    """A running service: its address and what it was sent."""

    port: int
    received: list[Received] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        """Its http address."""
        return f"http://127.0.0.1:{self.port}"


Reply = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(reply: Reply, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[Service]:
    """Serve one reply to every connection, then close it."""
    tasks: set[asyncio.Task[None]] = set()
    service = Service(0)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head.lower())
            body = await reader.readexactly(int(length[1])) if length else b""
            service.received.append(Received(head.decode("latin-1"), body))
            await reply(service.received[-1], writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(handle, host, 0, ssl=tls)
    service.port = server.sockets[0].getsockname()[1]
    try:
        yield service
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def whole(body: bytes = b"", *headers: str, status: int = 200) -> Reply:
    """Answer with one whole response."""

    async def reply(_: Received, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", "connection: close", *headers]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return reply


def dripping(body: bytes, size: int, *headers: str) -> Reply:
    """Answer in chunks of a few bytes, each in a packet of its own."""

    async def reply(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join(["HTTP/1.1 200 X", "transfer-encoding: chunked", *headers]).encode() + b"\r\n\r\n")
        for at in range(0, len(body), size):
            part = body[at : at + size]
            writer.write(b"%x\r\n%s\r\n" % (len(part), part))
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")

    return reply


class Parts(TypedDict, total=False):
    """The parts of a request, as ``compose`` takes them."""

    headers: GivenPairs
    query: GivenPairs
    auth: BasicAuth | BearerAuth
    body: JsonBody | FormBody | TextBody


async def send(
    url: str,
    values: Mapping[str, str] | None = None,
    *,
    method: str = "GET",
    sink: HttpSink | None = None,
    one_time: bool = False,
    **parts: Unpack[Parts],
) -> Answer:
    """Send a request whose values are covered by its own address."""
    destination = parse(url, loopback_http=True)
    request = compose(method, destination, **parts)
    covered = cover(destination, REFERENCE, [f"{destination.scheme}://{destination.authority}"])
    uses = {reference: Use(secret(value), covered, one_time) for reference, value in (values or {}).items()}
    return await (sink or HttpSink()).send(request, uses)


def text_of(answer: Answer) -> str:
    """Return the text of an answer that has one."""
    assert isinstance(answer.body, Text)
    return answer.body.text


def as_json(answer: Answer) -> object:
    """Return the JSON of an answer."""
    return json.loads(text_of(answer))
