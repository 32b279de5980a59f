"""The machine API over HTTP: one method per endpoint, bounded bytes in, one family of network errors.

What this file does not do: parse or believe a success body. It returns bytes; ``core`` decides what they mean.

Rules:
1. The API key goes to the configured origin and nowhere else: every redirect is refused; proxies and ``.netrc`` are not
   consulted.
2. Bodies are asked for and read uncompressed, streamed, and cut off at the endpoint's cap; a call has one total deadline.
   (httpx's own timeout is per read: a slow drip ran four times past it; 194 KB of gzip became 200 MB.)
3. Only idempotent reads are tried again, three times at most, with full jitter, within the deadline.
4. The service's error text is never forwarded: only a code of the contract, a permission name, the status.
5. Ids are checked against the id grammar before they enter a path.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from typing import Final, NoReturn

import anyio
import httpx

from r4_mcp.errors import (
    AbsentError,
    DeadlineExceededError,
    PermissionDeniedError,
    RateLimitedError,
    RedirectRefusedError,
    RequestRejectedError,
    ResponseTooLargeError,
    ServiceError,
    SignerRefusedError,
    UnauthorizedError,
    UnreachableError,
    VersionConflictError,
)
from r4_mcp.machine import contract
from r4_mcp.machine.contract import API_KEY_HEADER, API_PREFIX, HOSTNAME_HEADER, Endpoint
from r4_mcp.secret import Secret

Query = Mapping[str, str]
Body = Mapping[str, object]

KNOWN_CODES: Final = frozenset(
    {
        "unauthorized",
        "missing_api_key",
        "invalid_api_key",
        "agent_scope_required",
        "checkpoint_signer_required",
        "permission_denied",
        "vault_not_found",
        "vault_item_not_found",
        "project_not_found",
        "encryption_key_not_found",
        "vault_creation_failed",
        "vault_item_creation_failed",
        "checkpoint_version_conflict",
        "key_rotation_incomplete",
        "key_already_rotated",
        "encryption_key_required",
    }
)
_ID: Final = re.compile(r"[0-9a-f]{24}", re.ASCII)
_PERMISSIONS: Final = frozenset(permission.value for permission in contract.Permission)
_SECONDS: Final = re.compile(r"[0-9]{1,6}", re.ASCII)
_MAX_ERROR_BODY: Final = 16 * contract.KIB
_TRIES: Final = 3
_RETRY_STATUS: Final = frozenset({408, 429, 502, 503, 504})
_BACKOFF_SECONDS: Final = 0.25


class MachineClient:
    """The machine API of one service, as one agent.

    Args:
        http: The transport; wired where the process is wired, with redirects, proxies and its own timeouts off.
        base_url: Origin (and path prefix) of the service, without the API prefix.
        api_key: ``{accessKey}.{secret}``.
    """

    def __init__(self, http: httpx.AsyncClient, base_url: str, api_key: Secret[str]) -> None:
        self._http = http
        self._base = base_url.rstrip("/") + API_PREFIX
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

    async def _call(
        self,
        endpoint: Endpoint,
        ids: Mapping[str, str] | None = None,
        *,
        query: Query | None = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Make one call within its deadline, trying again where rule 3 allows.

        Raises:
            NetworkError: The bytes did not arrive, or not within their bounds.
            ServiceError: The service refused.
        """
        path = endpoint.path.format(**{name: _id(value) for name, value in (ids or {}).items()})
        sent = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            # reveal: seen by the configured origin, whose header this is.
            API_KEY_HEADER: self._api_key.reveal(),
            **(headers or {}),
        }
        request = self._http.build_request(endpoint.method, self._base + path, params=query, json=body, headers=sent)
        tries = _TRIES if endpoint.is_read else 1
        try:
            with anyio.fail_after(endpoint.seconds):
                for attempt in range(1, tries + 1):
                    try:
                        return await self._once(endpoint, request)
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

    async def _once(self, endpoint: Endpoint, request: httpx.Request) -> bytes:
        try:
            response = await self._http.send(request, stream=True, follow_redirects=False)
        except httpx.InvalidURL:
            raise RedirectRefusedError(f"{endpoint.method} {endpoint.path} was answered with an unreadable address") from None
        except httpx.TransportError as error:
            # from None: httpx errors hold the request, and with it the API key header.
            raise UnreachableError(f"{endpoint.method} {endpoint.path}: {_transport_problem(error)}") from None
        self.service_date = response.headers.get("date", "")[:64] or None
        try:
            if response.is_redirect or 300 <= response.status_code < 400:  # noqa: PLR2004 - the 3xx class of RFC 9110
                raise RedirectRefusedError(f"{endpoint.method} {endpoint.path} was answered with a redirect")
            cap = endpoint.max_response if response.is_success else _MAX_ERROR_BODY
            received = await _read_capped(endpoint, response, cap)
        except httpx.TransportError as error:
            raise UnreachableError(f"{endpoint.method} {endpoint.path}: {_transport_problem(error)}") from None
        finally:
            await response.aclose()
        if not response.is_success:
            _refuse(endpoint, response, received)
        return received


async def _read_capped(endpoint: Endpoint, response: httpx.Response, cap: int) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise ResponseTooLargeError(f"{endpoint.method} {endpoint.path} was answered compressed although identity was asked for")
    received = bytearray()
    async for chunk in response.aiter_raw():
        received += chunk
        if len(received) > cap:
            if not response.is_success:
                return b""  # An oversized error page says nothing that its status does not.
            raise ResponseTooLargeError(f"{endpoint.method} {endpoint.path} answered with more than {cap} bytes")
    return bytes(received)


def _refuse(endpoint: Endpoint, response: httpx.Response, body: bytes) -> NoReturn:
    status = response.status_code
    service_code, named = _error_members(body)
    where = f"{endpoint.method} {endpoint.path}"
    if status == 401:  # noqa: PLR2004 - HTTP status codes are their own names
        raise UnauthorizedError("the service did not accept the API key", status=status, service_code=service_code)
    if status == 403:  # noqa: PLR2004
        if service_code == "checkpoint_signer_required":
            raise SignerRefusedError(f"{where}: signed with a key that is not current", status=status, service_code=service_code)
        needed = " or ".join(endpoint.permissions)
        permission = named or needed or None
        reach = endpoint.level or endpoint.item_level
        level = f" with {reach.value} access to the vault" if reach else ""
        message = f"{where} needs the permission {permission}{level}" if permission else f"{where} is not allowed for this agent"
        raise PermissionDeniedError(message, status=status, service_code=service_code, permission=permission)
    if status == 404:  # noqa: PLR2004
        raise AbsentError(f"{where}: nothing of that id is visible to this agent", status=status, service_code=service_code)
    if status == 409 and service_code == "checkpoint_version_conflict":  # noqa: PLR2004
        raise VersionConflictError(f"{where}: someone else wrote first", status=status, service_code=service_code)
    if status == 429:  # noqa: PLR2004
        # Clamped: a service that asks for an hour gets the call's deadline instead.
        asked = response.headers.get("retry-after", "")
        seconds = min(float(asked), endpoint.seconds) if _SECONDS.fullmatch(asked) else 0.0
        raise RateLimitedError(f"{where}: too many requests", status=status, service_code=service_code, retry_after=seconds)
    suffix = f" ({service_code})" if service_code else ""
    raise RequestRejectedError(f"{where} was refused with status {status}{suffix}", status=status, service_code=service_code)


def _error_members(body: bytes) -> tuple[str | None, str | None]:
    # Rule 4: only words of our own lists are taken from an error body, so its parsing may be lax.
    try:
        parsed: object = json.loads(body)
    except (ValueError, RecursionError):
        return None, None
    error = parsed.get("error") if isinstance(parsed, dict) else None
    if not isinstance(error, dict):
        return None, None
    code, permission = error.get("code"), error.get("requiredPermission")
    known = code if isinstance(code, str) and code in KNOWN_CODES else None
    named = permission if isinstance(permission, str) and permission in _PERMISSIONS else None
    return known, named


def _is_passing(error: UnreachableError | ServiceError) -> bool:
    return isinstance(error, UnreachableError) or error.status in _RETRY_STATUS


def _transport_problem(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.ConnectError):
        return "no connection to the service"
    if isinstance(error, httpx.TimeoutException):
        return "the service did not answer in time"
    return "the connection broke"


def _id(value: str) -> str:
    if not _ID.fullmatch(value):
        message = "an id has 24 lowercase hex characters"
        raise ValueError(message)
    return value
