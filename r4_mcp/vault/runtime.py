"""Everything that one configured agent does with its vaults, bundled for the gate.

What this file does not do: anything. It is wired in ``cli``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from r4_mcp.core.wire import ProjectId
from r4_mcp.machine.client import Body, Query, Received
from r4_mcp.vault.exports import Exports
from r4_mcp.vault.index import VaultIndex
from r4_mcp.vault.locator import Locator
from r4_mcp.vault.opener import VaultOpener
from r4_mcp.vault.reader import VaultReader
from r4_mcp.vault.recovery import Recovery
from r4_mcp.vault.registration import Registration
from r4_mcp.vault.rotation import Rotation
from r4_mcp.vault.runtime_key import RuntimeKey
from r4_mcp.vault.search import VaultSearch
from r4_mcp.vault.trust_store import TrustStore
from r4_mcp.vault.writer import VaultWriter


@dataclass(frozen=True, slots=True)
class VaultRuntime:
    """One agent at one service.

    Attributes:
        service: Its address, or a word for the embedded one.
        owner: The address and the access key: what names this agent's state on disk.
        exports: Which fields the service says are marked for export.
        service_date: The time that the service told with its last answer, unverified.
        raw: Makes one raw request: method, checked path, query and body. What comes back is proven by nothing.
    """

    service: str
    owner: tuple[str, str]
    project_id: ProjectId | None
    key: RuntimeKey
    registration: Registration
    store: TrustStore
    reader: VaultReader
    opener: VaultOpener
    index: VaultIndex
    search: VaultSearch
    locator: Locator
    writer: VaultWriter
    rotation: Rotation
    recovery: Recovery
    exports: Exports
    service_date: Callable[[], str | None]
    raw: Callable[[str, str, Query, Body | None], Awaitable[Received]]
