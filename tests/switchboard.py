"""One loopback server for the whole session; each world is a path prefix of it, and every request is recorded.

What this file does not do: fake an answer on its own. A world's ``intercept`` may, where a test plays a hostile service.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from r4_mcp.machine.contract import API_PREFIX

START_SECONDS: Final = 20.0


@dataclass
class Exchange:
    """One request as it came, and the status that it was answered with."""

    method: str
    path: str
    query: str
    api_key: str | None
    body: bytes
    status: int = 0

    @property
    def line(self) -> str:
        """Method and path under the base, as in ``GET /vault``."""
        return f"{self.method} {self.path.removeprefix(API_PREFIX)}"


Intercept = Callable[[Exchange], Awaitable[Response | None]]


@dataclass
class Tap:
    """The recording of one world, and what may answer instead of its app."""

    app: ASGIApp
    exchanges: list[Exchange] = field(default_factory=list)
    intercept: Intercept | None = None

    def lines(self) -> list[str]:
        """Return the requests since the last ``clear``, as lines."""
        return [exchange.line for exchange in self.exchanges]

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Record a request, then let the intercept or the app answer it."""
        request = Request(scope, receive)
        body = await request.body()
        exchange = Exchange(request.method, scope["path"], request.url.query, request.headers.get("X-API-Key"), body)
        self.exchanges.append(exchange)

        async def replay() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
            await send(message)

        answer = None if self.intercept is None else await self.intercept(exchange)
        await (answer or self.app)(scope, replay, note)


class Switchboard:
    """An ASGI app that hands ``/<name>/…`` to the world of that name."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._taps: dict[str, Tap] = {}

    def plug(self, app: ASGIApp) -> tuple[str, Tap]:
        """Add a world; returns its address and its recording."""
        name, tap = f"w{len(self._taps)}", Tap(app)
        self._taps[name] = tap
        return f"{self.base_url}/{name}", tap

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        assert scope["type"] == "http"
        name, _, rest = scope["path"].removeprefix("/").partition("/")
        inner = {**scope, "path": "/" + rest, "raw_path": ("/" + rest).encode()}
        await self._taps[name].serve(inner, receive, send)


class _Server(uvicorn.Server):
    """A server that tells its owner when it accepts connections."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@contextmanager
def serving(app: ASGIApp, listener: socket.socket) -> Iterator[None]:
    """Serve an ASGI app in a thread on a bound socket."""
    config = uvicorn.Config(
        app, log_level="error", access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=1, server_header=False
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        assert server.ready.wait(START_SECONDS), "the loopback server did not start"
        yield
    finally:
        server.should_exit = True
        thread.join(START_SECONDS)
        listener.close()


def loopback_socket() -> tuple[socket.socket, str]:
    """Bind a free port of the loopback interface; returns the socket and its address."""
    # Named as TCP, so that asyncio switches Nagle's algorithm off: else each answer waits some 40 ms for an acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def switchboard() -> Iterator[Switchboard]:
    """Run a switchboard on loopback."""
    listener, base_url = loopback_socket()
    board = Switchboard(base_url)
    with serving(board, listener):
        yield board
