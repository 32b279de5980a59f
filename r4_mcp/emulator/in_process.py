"""The way to an emulator in this process: the requests that a socket would carry, given to its application.

What this file does not do: stream. A request and its answer are whole in memory, as an embedded vault's are small.
"""

from __future__ import annotations

from collections.abc import AsyncIterable

import httpcore
from starlette.applications import Starlette
from starlette.types import Message, Scope


class InProcess(httpcore.AsyncConnectionInterface):
    """A connection whose other end is an application in this process.

    Args:
        app: The emulator's application. What it fails with is raised here.
    """

    def __init__(self, app: Starlette) -> None:
        self._app = app

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Answer one request."""
        path, _, query = request.url.target.partition(b"?")
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method.decode("ascii"),
            "scheme": request.url.scheme.decode("ascii"),
            "path": path.decode("ascii"),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers],
        }
        stream = request.stream
        body = b"".join([chunk async for chunk in stream]) if isinstance(stream, AsyncIterable) else b""
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        start, *parts = sent
        content = b"".join(part.get("body", b"") for part in parts)
        return httpcore.Response(start["status"], headers=list(start.get("headers", ())), content=content)
