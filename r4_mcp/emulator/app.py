"""The machine API over HTTP: routes, body caps, JSON in and out.

What this file does not do: decide anything about a request; ``dispatch`` does, in a worker thread.

Rules:
1. Every answer is JSON or empty, unknown paths and methods too.
2. A body is read up to its endpoint's cap: 413 beyond it.
3. ``vaults`` is a read-only alias of ``vault``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route as HttpRoute
from starlette.types import Receive, Scope, Send

from r4_mcp.core.encoding import compact_json
from r4_mcp.emulator import routes_account, routes_items, routes_sync, routes_vaults
from r4_mcp.emulator.dispatch import Answering, Incoming, RawReply, Route, answer
from r4_mcp.emulator.refusal import RefusalError, Reply
from r4_mcp.emulator.store import Store
from r4_mcp.machine.contract import API_KEY_HEADER, API_PREFIX, HOSTNAME_HEADER

# The first path that fits is taken, and ``/vault/{vault_id}`` fits ``/vault/sync``.
ROUTES: Final = (*routes_account.ROUTES, *routes_sync.ROUTES, *routes_vaults.ROUTES, *routes_items.ROUTES)


def create_app(store: Store, answering: Answering = answer) -> Starlette:
    """Return the machine API over a store. The app holds nothing else, so several may serve one store.

    Args:
        store: The embedded vault.
        answering: What answers each request; a faulty service has another one (``faults``).
    """
    routes = [
        HttpRoute(API_PREFIX + path, _endpoint(store, route, answering), methods=[route.endpoint.method])
        for route in ROUTES
        for path in _paths(route)
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _http_error, Exception: _broken})
    # A redirect would hide a wrong path; the client refuses redirects anyway.
    app.router.redirect_slashes = False
    return app


def _paths(route: Route) -> list[str]:
    path = route.endpoint.path
    first, *rest = path.strip("/").split("/")
    if route.endpoint.method == "GET" and first == "vault":
        return [path, "/" + "/".join(["vaults", *rest])]
    return [path]


def _endpoint(store: Store, route: Route, answering: Answering) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        try:
            body = await _read_body(request, route.max_body)
        except RefusalError as refusal:
            return _response(refusal.reply())
        except ClientDisconnect:
            return Response(status_code=400)
        incoming = Incoming(
            path=request.path_params,
            query=request.query_params,
            api_keys=tuple(request.headers.getlist(API_KEY_HEADER)),
            hostname=request.headers.get(HOSTNAME_HEADER),
            body=body,
        )
        reply = await run_in_threadpool(answering, store, route, incoming)
        return _RawResponse(reply) if isinstance(reply, RawReply) else _response(reply)

    return serve


async def _read_body(request: Request, cap: int) -> bytes:
    if not cap:
        return b""
    body = bytearray()
    async for chunk in request.stream():
        if len(body) + len(chunk) > cap:
            raise RefusalError(413, "payload_too_large", f"the body is larger than {cap} bytes")
        body += chunk
    return bytes(body)


def _response(reply: Reply, headers: Mapping[str, str] | None = None) -> Response:
    content = b"" if reply.body is None else compact_json(reply.body).encode("utf-8")
    response = Response(content, reply.status, headers, None if reply.body is None else "application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


class _RawResponse(Response):
    """Sends the bytes of a ``RawReply`` as they come."""

    def __init__(self, reply: RawReply) -> None:
        super().__init__(status_code=reply.status)
        self._reply = reply

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self._reply.headers.items()]
        await send({"type": "http.response.start", "status": self._reply.status, "headers": headers})
        async for chunk in self._reply.chunks():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    code, message = _HTTP_ERRORS.get(status, ("request_failed", "the request can't be served"))
    return _response(RefusalError(status, code, message).reply(), headers)


async def _broken(_: Request, __: Exception) -> Response:
    # The exception goes on to the server's log; the answer tells nothing of it.
    return _response(RefusalError(500, "internal_error", "the embedded vault failed").reply())


_HTTP_ERRORS: Final = {
    404: ("not_found", "there is no such path"),
    405: ("method_not_allowed", "this path does not take that method"),
}
