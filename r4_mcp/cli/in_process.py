"""The way to an emulator in this process: the requests that a socket would carry, given to its application.

What this file does not do: stream. A request and its answer are whole in memory, as an embedded vault's are small.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.types import Message, Scope

from r4_mcp.machine.connections import Answer, Request


class InProcess:
    """Connections whose other end is an application in this process.

    Args:
        app: The emulator's application. What it fails with is raised here.
    """

    def __init__(self, app: Starlette) -> None:
        self._app = app

    @asynccontextmanager
    async def send(self, request: Request) -> AsyncIterator[Answer]:
        """Answer one request."""
        url = urlsplit(request.url)
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.path.encode("ascii"),
            "query_string": url.query.encode("ascii"),
            "root_path": "",
            "headers": [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in request.headers.items()],
        }
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": request.content or b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        start, *parts = sent
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in start.get("headers", ())}
        yield Answer(start["status"], headers, _once(b"".join(part.get("body", b"") for part in parts)))


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
