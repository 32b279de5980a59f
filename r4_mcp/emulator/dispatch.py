"""One request, from API key to reply: the same steps for every endpoint (contract §1, §2).

What this file does not do: HTTP framing (``app``) or what an endpoint is for (``routes_*``).

Rules, in this order:
1. The API key proves an agent: 401.
2. The agent's permissions cover one of the endpoint's: 403 ``permission_denied`` with ``requiredPermission``.
3. The vault in the path, or of the item in a path that names no vault, is shared with the agent: 404, as if it did not exist.
4. The agent's level on it reaches the endpoint's: 403 ``permission_denied``, naming the level.
5. The body is strict JSON: 400.
All of it and the handler run in one transaction; a refusal rolls it back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from r4_mcp.core.encoding import Json, parse_json
from r4_mcp.core.wire import VaultId
from r4_mcp.emulator.accounts import Agent, authenticate
from r4_mcp.emulator.item_rows import vault_of_item
from r4_mcp.emulator.refusal import RefusalError, Reply, item_not_found, vault_not_found
from r4_mcp.emulator.store import Store
from r4_mcp.emulator.vault_rows import VaultRow, find_vault, level_of
from r4_mcp.errors import MalformedError, VerificationError
from r4_mcp.machine.contract import LEVEL_ORDER, Endpoint, Level


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request as it came."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    api_keys: tuple[str, ...]
    hostname: str | None
    body: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """A request that passed rules 1 to 5."""

    db: sqlite3.Connection
    agent: Agent
    path: Mapping[str, str]
    query: Mapping[str, str]
    hostname: str | None
    body: Json
    visible: VaultRow | None

    @property
    def vault(self) -> VaultRow:
        """The vault of rule 3.

        Raises:
            RefusalError: The path has none.
        """
        if self.visible is None:
            raise vault_not_found()
        return self.visible


Handler: TypeAlias = Callable[[Call], Reply]


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint with what serves it.

    Attributes:
        endpoint: Its row of the contract.
        handler: What it does.
        bad_request: The code of a 400.
        max_body: Bytes of request body accepted.
    """

    endpoint: Endpoint
    handler: Handler
    bad_request: str = "invalid_request"
    max_body: int = 0


@dataclass(frozen=True, slots=True)
class RawReply:
    """An answer that is bytes already; only a faulty service gives one (``faults``)."""

    status: int
    headers: Mapping[str, str]
    chunks: Callable[[], AsyncIterator[bytes]]


Answering: TypeAlias = Callable[[Store, Route, Incoming], Reply | RawReply]


def answer(store: Store, route: Route, incoming: Incoming) -> Reply:
    """Answer one request by the rules above. Blocks; never raises a refusal."""
    parsed = _parse(incoming.body) if route.max_body else None
    transaction = store.read if route.endpoint.is_read else store.write
    try:
        with transaction() as db:
            agent = authenticate(db, incoming.api_keys)
            _require_permission(agent, route.endpoint)
            vault = _require_level(db, agent, route.endpoint, incoming.path)
            if isinstance(parsed, MalformedError):
                raise parsed
            return route.handler(Call(db, agent, incoming.path, incoming.query, incoming.hostname, parsed, vault))
    except RefusalError as refusal:
        return refusal.reply()
    except VerificationError as error:
        # Core's messages are its own words, ids, sizes and versions.
        return RefusalError(400, route.bad_request, error.message).reply()


def _parse(body: bytes) -> Json | MalformedError:
    # Parsed before the transaction, so that a large body is not read under the write lock; refused after rules 1 to 4.
    try:
        return parse_json(body, what="body")
    except MalformedError as error:
        return error


def _require_permission(agent: Agent, endpoint: Endpoint) -> None:
    if endpoint.permissions and not any(agent.may(permission) for permission in endpoint.permissions):
        needed = endpoint.permissions[0].value
        raise RefusalError(403, "permission_denied", f"this API key lacks the permission {needed}", permission=needed)


def _require_level(db: sqlite3.Connection, agent: Agent, endpoint: Endpoint, path: Mapping[str, str]) -> VaultRow | None:
    if "vault_id" in path:
        return _at_level(db, agent, path["vault_id"], endpoint.level, vault_not_found())
    if endpoint.item_level is None:
        return None
    # An item of a vault that is not shared does not exist either.
    vault_id = vault_of_item(db, path["item_id"])
    if vault_id is None:
        raise item_not_found()
    return _at_level(db, agent, vault_id, endpoint.item_level, item_not_found())


def _at_level(db: sqlite3.Connection, agent: Agent, vault_id: str, needed: Level | None, absent: RefusalError) -> VaultRow:
    held = level_of(db, agent.id, VaultId(vault_id))
    vault = find_vault(db, vault_id)
    if held is None or vault is None:
        raise absent
    if needed is not None and LEVEL_ORDER[held] < LEVEL_ORDER[needed]:
        raise RefusalError(
            403, "permission_denied", f"this needs {needed.value} access to the vault, and the agent has {held.value}"
        )
    return vault
