"""The machine API over HTTP: one method per endpoint, bounded bytes in, one family of network errors.

What this file does not do: parse or believe a success body. It returns bytes; ``core`` decides what they mean.

Rules:
1. The API key goes to the configured origin and nowhere else: every redirect is refused, no cookie is kept, and what
   ``pool`` says holds.
2. Bodies are asked for and read uncompressed, streamed, and cut off at the endpoint's cap; a call has one total deadline.
   (A library's timeout is per read: a slow drip ran four times past it; 194 KB of gzip became 200 MB.)
3. Only idempotent reads are tried again, three times at most, with full jitter, within the deadline.
4. The service's error text is never forwarded; what a refusal means is ``refusals``'.
5. Ids are checked against the id grammar before they enter a path. The path of a raw request is its caller's to check.
6. An answer of another kind than JSON to a raw request is refused by its header, before its body is read.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode, urlsplit

import anyio

from r4_mcp import __version__
from r4_mcp.errors import (
    DeadlineExceededError,
    RateLimitedError,
    RedirectRefusedError,
    ResponseTooLargeError,
    ServiceError,
    UnreachableError,
    UnsupportedContentError,
)
from r4_mcp.machine import contract
from r4_mcp.machine.connections import Answer, Connections, Request
from r4_mcp.machine.contract import API_KEY_HEADER, API_PREFIX, HOSTNAME_HEADER, Endpoint
from r4_mcp.machine.refusals import refusal
from r4_mcp.secret import Secret

Query = Mapping[str, str]
Body = Mapping[str, object]

_ID: Final = re.compile(r"[0-9a-f]{24}", re.ASCII)
_JSON_TYPE: Final = re.compile(r"application/(?:[a-z0-9.+_-]{1,64}\+)?json", re.ASCII | re.IGNORECASE)
_MAX_ERROR_BODY: Final = 16 * contract.KIB
_TRIES: Final = 3
_RETRY_STATUS: Final = frozenset({408, 429, 502, 503, 504})
_BACKOFF_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class Received:
    """A success: its status, and its body as it came."""

    status: int
    body: bytes


class MachineClient:
    """The machine API of one service, as one agent.

    Args:
        connections: What carries requests: a ``pool``, or an emulator in process.
        base_url: Origin (and path prefix) of the service, without the API prefix.
        api_key: ``{accessKey}.{secret}``.
    """

    def __init__(self, connections: Connections, base_url: str, api_key: Secret[str]) -> None:
        self._connections = connections
        self._base = base_url.rstrip("/") + API_PREFIX
        self._headers = {
            "Host": urlsplit(base_url).netloc,
            "User-Agent": f"r4-mcp/{__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
        self._api_key = api_key
        self.base_url = base_url
        self.service_date: str | None = None
        """The ``Date`` of the last answer, unverified; for a person's look at the clock."""

    async def me(self) -> bytes:
        """GET /me."""
        return await self._call(contract.ME)

    async def register_key(self, body: Body, hostname: str) -> bytes:
        """POST /vault/public-key, with the host's name for the operator's eyes."""
        return await self._call(contract.REGISTER_KEY, body=body, headers={HOSTNAME_HEADER: hostname})

    async def list_vaults(self, project_id: str | None = None, page: int = 1) -> bytes:
        """GET /vault, one page of it where the service pages."""
        query = {} if page == 1 else {"page": str(page), "limit": str(contract.PAGE_SIZE)}
        if project_id is not None:
            query["projectId"] = _id(project_id)
        return await self._call(contract.LIST_VAULTS, query=query)

    async def create_vault(self, body: Body) -> bytes:
        """POST /vault."""
        return await self._call(contract.CREATE_VAULT, body=body)

    async def archive_vault(self, vault_id: str) -> None:
        """DELETE /vault/:vaultId."""
        await self._call(contract.ARCHIVE_VAULT, {"vault_id": vault_id})

    async def wrapped_key(self, vault_id: str) -> bytes:
        """GET /vault/:vaultId/wrapped-key."""
        return await self._call(contract.GET_WRAPPED_KEY, {"vault_id": vault_id})

    async def put_wrapped_key(self, vault_id: str, body: Body) -> None:
        """POST /vault/:vaultId/wrapped-key."""
        await self._call(contract.PUT_WRAPPED_KEY, {"vault_id": vault_id}, body=body)

    async def directory(self, vault_id: str, since_tree_size: int | None = None) -> bytes:
        """GET /vault/:vaultId/public-keys, with a consistency proof from ``since_tree_size`` leaves."""
        query = {} if since_tree_size is None else {"sinceTreeSize": str(since_tree_size)}
        return await self._call(contract.GET_DIRECTORY, {"vault_id": vault_id}, query=query)

    async def items(self, vault_id: str) -> bytes:
        """GET /vault/:vaultId/items."""
        return await self._call(contract.LIST_ITEMS, {"vault_id": vault_id})

    async def item(self, vault_id: str, item_id: str) -> bytes:
        """GET /vault/:vaultId/items/:itemId."""
        return await self._call(contract.GET_ITEM, {"vault_id": vault_id, "item_id": item_id})

    async def field(self, vault_id: str, field_id: str) -> bytes:
        """GET /vault/:vaultId/fields/:fieldId."""
        return await self._call(contract.GET_FIELD, {"vault_id": vault_id, "field_id": field_id})

    async def environment_fields(self, vault_id: str) -> bytes:
        """GET /vault/:vaultId/environment-fields."""
        return await self._call(contract.GET_ENVIRONMENT, {"vault_id": vault_id})

    async def sync(self, since: str | None = None) -> bytes:
        """GET /vault/sync, one page: everything, or what changed since a cursor."""
        return await self._call(contract.SYNC, query={} if since is None else {"since": since})

    async def search(self, query: str, limit: int = contract.SEARCH_LIMIT) -> bytes:
        """POST /search: hints only, to be looked up in verified checkpoints."""
        return await self._call(contract.SEARCH, body={"query": query, "limit": limit})

    async def create_item(self, vault_id: str, body: Body) -> bytes:
        """POST /vault/:vaultId/items."""
        return await self._call(contract.CREATE_ITEM, {"vault_id": vault_id}, body=body)

    async def update_item(self, item_id: str, body: Body) -> bytes:
        """PATCH /vault-item/:itemId/update."""
        return await self._call(contract.UPDATE_ITEM, {"item_id": item_id}, body=body)

    async def archive_item(self, vault_id: str, item_id: str, body: Body) -> None:
        """DELETE /vault/:vaultId/items/:itemId."""
        await self._call(contract.ARCHIVE_ITEM, {"vault_id": vault_id, "item_id": item_id}, body=body)

    async def projects(self) -> bytes:
        """GET /project."""
        return await self._call(contract.LIST_PROJECTS)

    async def project(self, project_id: str) -> bytes:
        """GET /project/:id."""
        return await self._call(contract.GET_PROJECT, {"project_id": project_id})

    async def feedback(self, body: Body) -> bytes:
        """POST /feedback."""
        return await self._call(contract.FEEDBACK, body=body)

    async def raw(self, method: str, path: str, query: Query, body: Body | None) -> Received:
        """Make a request that the contract does not describe; a GET may be tried again, nothing else is.

        Args:
            method: An HTTP method.
            path: Under the base; the caller has checked it (rule 5).
            query: Parameters, encoded here.
            body: A JSON object, or None for no body.

        Raises:
            UnsupportedContentError: Rule 6.
            NetworkError: The bytes did not arrive, or not within their bounds.
            ServiceError: The service refused.
        """
        endpoint = contract.raw_endpoint(method, path)
        return await self._send(endpoint, path, query=query, body=body, headers={}, json_only=True)

    async def _call(
        self,
        endpoint: Endpoint,
        ids: Mapping[str, str] | None = None,
        *,
        query: Query | None = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Call an endpoint of the contract.

        Raises:
            NetworkError: The bytes did not arrive, or not within their bounds.
            ServiceError: The service refused.
        """
        path = endpoint.path.format(**{name: _id(value) for name, value in (ids or {}).items()})
        return (await self._send(endpoint, path, query=query, body=body, headers=headers or {})).body

    async def _send(
        self,
        endpoint: Endpoint,
        path: str,
        *,
        query: Query | None,
        body: Body | None,
        headers: Mapping[str, str],
        json_only: bool = False,
    ) -> Received:
        """Make one call within its deadline, trying again where rule 3 allows."""
        url = self._base + path + (f"?{urlencode(query)}" if query else "")
        content = None if body is None else json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        # reveal: seen by the configured origin, whose header this is.
        sent = {**self._headers, API_KEY_HEADER: self._api_key.reveal(), **headers}
        if content is not None:
            sent |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
        request = Request(endpoint.method, url, sent, content)
        tries = _TRIES if endpoint.is_read else 1
        try:
            with anyio.fail_after(endpoint.seconds):
                for attempt in range(1, tries + 1):
                    try:
                        return await self._once(endpoint, request, json_only=json_only)
                    except (UnreachableError, ServiceError) as error:
                        if attempt == tries or not _is_passing(error):
                            raise
                        asked = error.retry_after if isinstance(error, RateLimitedError) else 0.0
                    # Full jitter, doubled each time, so that clients that failed together don't return together.
                    await anyio.sleep(asked + random.uniform(0, _BACKOFF_SECONDS * 2**attempt))  # noqa: S311 - not a secret
        except TimeoutError:
            raise DeadlineExceededError(
                f"{endpoint.method} {endpoint.path} was not answered within {endpoint.seconds:g} seconds"
            ) from None
        raise AssertionError  # unreachable: the loop returns or raises

    async def _once(self, endpoint: Endpoint, request: Request, *, json_only: bool) -> Received:
        try:
            async with self._connections.send(request) as answer:
                self.service_date = answer.headers.get("date", "")[:64] or None
                if 300 <= answer.status < 400:  # noqa: PLR2004 - the 3xx class of RFC 9110
                    raise RedirectRefusedError(f"{endpoint.method} {endpoint.path} was answered with a redirect")
                is_success = 200 <= answer.status < 300  # noqa: PLR2004 - the 2xx class
                if json_only and is_success and not _is_json(answer.headers):
                    raise UnsupportedContentError(f"{endpoint.method} {endpoint.path} was answered with content that is not JSON")
                received = await _read_capped(endpoint, answer, is_success=is_success)
        except UnreachableError as error:
            raise UnreachableError(f"{endpoint.method} {endpoint.path}: {error.message}") from None
        if not is_success:
            raise refusal(endpoint, answer.status, answer.headers, received)
        return Received(answer.status, received)


def _is_json(headers: Mapping[str, str]) -> bool:
    # Without a type there may be no body either; if there is one, whoever parses it will tell.
    given = headers.get("content-type", "")
    return not given or _JSON_TYPE.fullmatch(given.partition(";")[0].strip()) is not None


async def _read_capped(endpoint: Endpoint, answer: Answer, *, is_success: bool) -> bytes:
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise ResponseTooLargeError(f"{endpoint.method} {endpoint.path} was answered compressed although identity was asked for")
    cap = endpoint.max_response if is_success else _MAX_ERROR_BODY
    received = bytearray()
    async for chunk in answer.chunks:
        received += chunk
        if len(received) > cap:
            if not is_success:
                return b""  # An oversized error page says nothing that its status does not.
            raise ResponseTooLargeError(f"{endpoint.method} {endpoint.path} answered with more than {cap} bytes")
    return bytes(received)


def _is_passing(error: UnreachableError | ServiceError) -> bool:
    return isinstance(error, UnreachableError) or error.status in _RETRY_STATUS


def _id(value: str) -> str:
    if not _ID.fullmatch(value):
        message = "an id has 24 lowercase hex characters"
        raise ValueError(message)
    return value
