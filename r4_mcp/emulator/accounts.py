"""Agents: who they are, what they may do, how they prove it.

What this file does not do: know vaults. Levels on a vault are in ``vault_rows``.

Rules:
1. The API secret is 256 random bits, so a fast salted hash (HMAC-SHA256 under a random salt) is enough: there is nothing to
   guess, and a slow hash would only slow down every request. Only salt and hash are stored.
2. An unknown access key and a wrong secret get one answer, after the same work, compared in constant time.
"""

from __future__ import annotations

import hmac
import os
import secrets
import sqlite3
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from r4_mcp.emulator.fresh import new_id, timestamp
from r4_mcp.emulator.refusal import RefusalError
from r4_mcp.machine.contract import covers
from r4_mcp.secret import KnownSecrets, Secret, SecretKind

_SALT_SIZE: Final = 16
_SECRET_SIZE: Final = 32
_ACCESS_KEY_LENGTH: Final = 12
_ALPHABET: Final = string.ascii_lowercase + string.digits
_NO_ONE: Final = (b"\0" * _SALT_SIZE, b"\0" * 32)


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent of the embedded vault."""

    id: str
    name: str
    permissions: frozenset[str]

    def may(self, permission: str) -> bool:
        """Say whether the agent's permissions cover one, itself or through a group (contract §1)."""
        return covers(self.permissions, permission)


@dataclass(frozen=True, slots=True)
class AgentCredentials:
    """What an agent is given when it is created; the secret is shown this once."""

    agent_id: str
    access_key: str
    access_secret: Secret[str]


def add_agent(db: sqlite3.Connection, name: str, permissions: Iterable[str], known: KnownSecrets) -> AgentCredentials:
    """Create an agent and its API key."""
    agent_id = new_id()
    access_key = "rk_" + "".join(secrets.choice(_ALPHABET) for _ in range(_ACCESS_KEY_LENGTH))
    access_secret = known.text(secrets.token_urlsafe(_SECRET_SIZE), SecretKind.API_KEY)
    salt = os.urandom(_SALT_SIZE)
    # reveal: hashed, and only the hash is stored (rule 1).
    row = (agent_id, name, access_key, salt, _hash(salt, access_secret.reveal()), timestamp())
    db.execute(
        "INSERT INTO agents (id, name, access_key, secret_salt, secret_hash, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        row,
    )
    for permission in permissions:
        add_permission(db, agent_id, permission)
    return AgentCredentials(agent_id, access_key, access_secret)


def add_permission(db: sqlite3.Connection, agent_id: str, permission: str) -> None:
    """Give an agent a permission; nothing happens if it has it."""
    db.execute("INSERT OR IGNORE INTO agent_permissions (agent_id, permission) VALUES (?, ?)", (agent_id, permission))


def drop_permission(db: sqlite3.Connection, agent_id: str, permission: str) -> None:
    """Take a permission away."""
    db.execute("DELETE FROM agent_permissions WHERE agent_id = ? AND permission = ?", (agent_id, permission))


def drop_agent(db: sqlite3.Connection, agent_id: str) -> None:
    """Remove an agent that never did anything."""
    db.execute("DELETE FROM agents WHERE id = ?", (agent_id,))


def find_agent(db: sqlite3.Connection, agent_id: str) -> Agent | None:
    """Return an agent by id."""
    row = db.execute("SELECT id, name FROM agents WHERE id = ?", (agent_id,)).fetchone()
    if row is None:
        return None
    held = db.execute("SELECT permission FROM agent_permissions WHERE agent_id = ?", (agent_id,))
    return Agent(row["id"], row["name"], frozenset(entry["permission"] for entry in held))


def authenticate(db: sqlite3.Connection, headers: Sequence[str]) -> Agent:
    """Return the agent that an API key proves.

    Args:
        db: The store.
        headers: Every value of the API key header.

    Raises:
        RefusalError: 401, missing or invalid.
    """
    if not headers:
        raise RefusalError(401, "missing_api_key", "the API key header is missing")
    invalid = RefusalError(401, "invalid_api_key", "the API key is not valid")
    access_key, _, secret = headers[0].partition(".")
    if len(headers) > 1 or not access_key or not secret:
        raise invalid
    row = db.execute("SELECT id, secret_salt, secret_hash FROM agents WHERE access_key = ?", (access_key,)).fetchone()
    salt, stored = _NO_ONE if row is None else (row["secret_salt"], row["secret_hash"])
    if not hmac.compare_digest(_hash(salt, secret), stored) or row is None:
        raise invalid
    agent = find_agent(db, row["id"])
    if agent is None:
        raise invalid
    return agent


def _hash(salt: bytes, secret: str) -> bytes:
    return hmac.digest(salt, secret.encode("utf-8", "surrogatepass"), "sha256")
