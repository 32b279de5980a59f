"""The machine API as data: paths, permissions, byte caps, deadlines (contract §1, §2).

What this file does not do: talk. ``client`` uses it to call, the emulator to serve.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DEFAULT_BASE_URL: Final = "https://r4.dev"
API_PREFIX: Final = "/api/v1/machine"
API_KEY_HEADER: Final = "X-API-Key"
HOSTNAME_HEADER: Final = "X-R4-Agent-Hostname"

KIB: Final = 1024
MIB: Final = 1024 * KIB

MAX_NAME: Final = 255
"""Characters of a vault's, item's or field's name (vaults: documented; the others: ours)."""

MAX_WEBSITES: Final = 20
MAX_FIELDS: Final = 100
MAX_QUERY: Final = 255
"""Characters of a search query (ours)."""

SEARCH_LIMIT: Final = 50
MAX_SEARCH_LIMIT: Final = 200
MAX_SYNC_PAGE: Final = 4_000_000
"""Bytes of a sync page; one vault that is larger is a page alone."""

MAX_FEEDBACK: Final = 8_000
"""Characters of each feedback text."""

CONNECT_SECONDS: Final = 5.0
PAGE_SIZE: Final = 100
MAX_PAGES: Final = 200


class Level(StrEnum):
    """Access to a vault, each including the ones before it."""

    READ = "READ"
    WRITE = "WRITE"
    ADMIN = "ADMIN"


LEVEL_ORDER: Final = {Level.READ: 0, Level.WRITE: 1, Level.ADMIN: 2}


class Permission(StrEnum):
    """The machine permissions that guard the endpoints of this product."""

    AGENT = "machine.agent.all"
    WRAPPED_KEY = "machine.wrapped_key.all"
    VAULT_READ = "machine.vault.read"
    SECRET_READ = "machine.vault.secret.read"  # noqa: S105 - the name of a permission
    VAULT_WRITE = "machine.vault.write"
    PROJECT_READ = "machine.project.read"
    FEEDBACK_WRITE = "machine.feedback.write"
    SEARCH = "machine.search.all"


_PERMISSION_NAME: Final = re.compile(
    r"machine\.(?:all|(?:agent|attachment|billing|feedback|monitoring|permissions|procurement|project|search|vault|webhook"
    r"|wrapped_key)(?:\.secret)?\.(?:all|read|write))",
    re.ASCII,
)


def is_permission_name(text: str) -> bool:
    """Say whether a text is the name of a permission of contract §1, also of one that guards no endpoint of this product.

    The words are a closed list: what a service names is shown to a model, and free words could be instructions.
    """
    return _PERMISSION_NAME.fullmatch(text) is not None


def covers(granted: Iterable[str], permission: str) -> bool:
    """Say whether granted permissions cover one: equal, or a group ``x.all`` for everything under ``x.``."""
    return any(
        held == permission or (held.endswith(".all") and permission.startswith(held.removesuffix("all"))) for held in granted
    )


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row of contract §2.

    Attributes:
        method: HTTP method.
        path: Path under the base; ``{vault_id}``, ``{item_id}`` and the like are ids.
        permissions: Any one of these is enough; empty needs none.
        level: Access needed on the vault in the path; None where the path has no vault.
        item_level: Access needed on the vault of the item in the path, where the path names no vault.
        max_response: Bytes of response body accepted.
        seconds: Total deadline of the call.
        safe: Whether it changes nothing, whatever its method, and may be tried again.
    """

    method: str
    path: str
    permissions: tuple[Permission, ...] = ()
    level: Level | None = None
    item_level: Level | None = None
    max_response: int = 256 * KIB
    seconds: float = 20.0
    safe: bool = False

    @property
    def is_read(self) -> bool:
        """Whether a call changes nothing."""
        return self.safe or self.method == "GET"


ME: Final = Endpoint("GET", "/me")
# A rotation's batch has one entry for each vault, and the service checks a signature of each.
REGISTER_KEY: Final = Endpoint("POST", "/vault/public-key", (Permission.AGENT, Permission.WRAPPED_KEY), seconds=120.0)
LIST_VAULTS: Final = Endpoint("GET", "/vault", (Permission.VAULT_READ,), max_response=4 * MIB)
GET_VAULT: Final = Endpoint("GET", "/vault/{vault_id}", (Permission.VAULT_READ,), Level.READ)
CREATE_VAULT: Final = Endpoint("POST", "/vault", (Permission.VAULT_WRITE,))
ARCHIVE_VAULT: Final = Endpoint("DELETE", "/vault/{vault_id}", (Permission.VAULT_WRITE,), Level.ADMIN)
GET_WRAPPED_KEY: Final = Endpoint("GET", "/vault/{vault_id}/wrapped-key", (Permission.SECRET_READ,), Level.READ)
PUT_WRAPPED_KEY: Final = Endpoint("POST", "/vault/{vault_id}/wrapped-key", (Permission.VAULT_WRITE,), Level.ADMIN)
GET_DIRECTORY: Final = Endpoint(
    "GET", "/vault/{vault_id}/public-keys", (Permission.VAULT_READ,), Level.READ, max_response=4 * MIB
)
LIST_ITEMS: Final = Endpoint("GET", "/vault/{vault_id}/items", (Permission.VAULT_READ,), Level.READ, max_response=16 * MIB)
GET_ITEM: Final = Endpoint(
    "GET", "/vault/{vault_id}/items/{item_id}", (Permission.SECRET_READ,), Level.READ, max_response=48 * MIB
)
GET_FIELD: Final = Endpoint(
    "GET", "/vault/{vault_id}/fields/{field_id}", (Permission.SECRET_READ,), Level.READ, max_response=2 * MIB
)
GET_ENVIRONMENT: Final = Endpoint(
    "GET", "/vault/{vault_id}/environment-fields", (Permission.SECRET_READ,), Level.READ, max_response=48 * MIB
)
CREATE_ITEM: Final = Endpoint("POST", "/vault/{vault_id}/items", (Permission.VAULT_WRITE,), Level.WRITE)
UPDATE_ITEM: Final = Endpoint("PATCH", "/vault-item/{item_id}/update", (Permission.VAULT_WRITE,), item_level=Level.WRITE)
ARCHIVE_ITEM: Final = Endpoint("DELETE", "/vault/{vault_id}/items/{item_id}", (Permission.VAULT_WRITE,), Level.WRITE)
# A vault that is larger than a page is one alone, so the cap is that of the largest answer about a vault.
SYNC: Final = Endpoint("GET", "/vault/sync", (Permission.VAULT_READ,), max_response=48 * MIB, seconds=60.0)
SEARCH: Final = Endpoint("POST", "/search", (Permission.SEARCH,), safe=True)
LIST_PROJECTS: Final = Endpoint("GET", "/project", (Permission.PROJECT_READ,), max_response=4 * MIB)
GET_PROJECT: Final = Endpoint("GET", "/project/{project_id}", (Permission.PROJECT_READ,), max_response=4 * MIB)
FEEDBACK: Final = Endpoint("POST", "/feedback", (Permission.FEEDBACK_WRITE,))

ALL_ENDPOINTS: Final = (
    ME,
    REGISTER_KEY,
    LIST_VAULTS,
    GET_VAULT,
    CREATE_VAULT,
    ARCHIVE_VAULT,
    GET_WRAPPED_KEY,
    PUT_WRAPPED_KEY,
    GET_DIRECTORY,
    LIST_ITEMS,
    GET_ITEM,
    GET_FIELD,
    GET_ENVIRONMENT,
    CREATE_ITEM,
    UPDATE_ITEM,
    ARCHIVE_ITEM,
    SYNC,
    SEARCH,
    LIST_PROJECTS,
    GET_PROJECT,
    FEEDBACK,
)

_ALIASES: Final = frozenset({"vaults"})
"""Further first segments that the service may take for one of ours (contract §1)."""


def _spelling(segment: str) -> str:
    # A service may route without regard to case, separators or number; what differs by these alone is taken for the same.
    return re.sub(r"[^a-z0-9]", "", segment.lower()).removesuffix("s")


_SEGMENTS: Final = tuple(endpoint.path.strip("/").split("/") for endpoint in ALL_ENDPOINTS)
_ROOTS: Final = frozenset(_spelling(root) for root in (*(segments[0] for segments in _SEGMENTS), *_ALIASES))
_KEYS: Final = frozenset(_spelling(part) for segments in _SEGMENTS for part in segments if "key" in part and "{" not in part)


def is_served(segments: Sequence[str]) -> bool:
    """Say whether a path belongs to what the endpoints above serve, so that no raw request takes it.

    That is everything under the first segment of an endpoint, and every path in which a segment names key material.

    Args:
        segments: The path's, without slashes; at least one.
    """
    return _spelling(segments[0]) in _ROOTS or any(_spelling(segment) in _KEYS for segment in segments)


def raw_endpoint(method: str, path: str) -> Endpoint:
    """Return the row of a request that the contract does not describe: caps and deadline of the others, no known permission."""
    return Endpoint(method, path)
