"""Everything that one configured agent does with its vaults, bundled for the gate.

What this file does not do: anything. It is wired in ``cli``.
"""

from __future__ import annotations

from dataclasses import dataclass

from r4_mcp.core.wire import ProjectId
from r4_mcp.vault.locator import Locator
from r4_mcp.vault.reader import VaultReader
from r4_mcp.vault.registration import Registration
from r4_mcp.vault.runtime_key import RuntimeKey
from r4_mcp.vault.writer import VaultWriter


@dataclass(frozen=True, slots=True)
class VaultRuntime:
    """One agent at one service; ``service`` is its address, or a word for the embedded one."""

    service: str
    project_id: ProjectId | None
    key: RuntimeKey
    registration: Registration
    reader: VaultReader
    locator: Locator
    writer: VaultWriter
