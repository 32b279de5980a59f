"""Small hostile services on loopback, byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from r4_mcp.machine.client import MachineClient
from r4_mcp.machine.pool import open_pool
from r4_mcp.secret import KnownSecrets, SecretKind

API_KEY: Final = "rk_test00000000.not-a-real-secret-000"


@dataclass
class Service:
    """A running service: its address, the raw heads of its requests, and how much it got rid of."""

    base_url: str = ""
    requests: list[str] = field(default_factory=list)
    sent: int = 0


Answer = Callable[[Service, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[Service]:
    """Serve one answer to every connection's first request, then close it."""
    service = Service()
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            service.requests.append(head)
            await answer(service, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    service.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield service
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def reply(status: int, body: bytes = b"", headers: str = "") -> Answer:
    """Answer with one whole response."""

    async def answer(service: Service, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\nconnection: close\r\n{headers}\r\n"
        writer.write(head.encode() + body)
        service.sent += len(body)
        await writer.drain()

    return answer


def endless(chunk: bytes, status: int = 200, pause: float = 0) -> Answer:
    """Answer with a body that does not end."""

    async def answer(service: Service, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} X\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        while True:
            writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            await writer.drain()
            service.sent += len(chunk)
            await asyncio.sleep(pause)

    return answer


async def reset(service: Service, writer: asyncio.StreamWriter) -> None:
    """Break the connection in the middle of a body."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{")
    await writer.drain()
    service.sent += 1
    writer.transport.abort()


@asynccontextmanager
async def client(base_url: str) -> AsyncIterator[MachineClient]:
    """Open a client as the process wires it."""
    async with open_pool(base_url) as connections:
        yield MachineClient(connections, base_url, KnownSecrets().text(API_KEY, SecretKind.API_KEY))
