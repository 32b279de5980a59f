"""A process of its own that works on one trust store: started by the tests, ``python -m tests.vault.trust_processes COMMAND …``.

Commands: ``bump STORE NUMBER COUNT`` raises the summary version of the vault ``NUMBER`` and of the shared vault ``COUNT`` times
each, through ``swap`` with a retry, as the reader does. ``hold FILE`` takes the lock, says so on standard output, and waits to be
killed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import anyio

from r4_mcp.core.trust import PinnedVersion, VaultTrust
from r4_mcp.core.wire import VaultId
from r4_mcp.vault.locked_file import LockedFile
from r4_mcp.vault.trust_store import MAX_SIZE, TrustStore

OWNER: Final = ("http://localhost", "rk_tests")
SHARED: Final = VaultId("ffffffffffffffffffffffff")
HOLDING: Final = "holding"
_HOLD_SECONDS: Final = 60.0


def open_store(path: Path) -> TrustStore:
    """Open the store that the tests and their processes share."""
    return TrustStore(path, path.parent / "initialised", OWNER, time.time)


def vault_of(number: int) -> VaultId:
    """Return the vault of one process alone."""
    return VaultId(f"{number:024x}")


async def bump(store: TrustStore, vault_id: VaultId) -> None:
    """Raise a vault's summary version by one, whoever else does so meanwhile."""
    while True:
        before = await store.load(vault_id)
        version = 1 if before.summary is None else before.summary.version + 1
        if await store.swap(vault_id, before, at_version(before, version)):
            return


def at_version(state: VaultTrust, version: int) -> VaultTrust:
    """Return a state with another summary version."""
    return replace(state, summary=PinnedVersion(version, f"{version:064x}"))


async def _bump_both(path: Path, number: int, count: int) -> None:
    store = open_store(path)
    for _ in range(count):
        await bump(store, vault_of(number))
        await bump(store, SHARED)


def main(arguments: Sequence[str]) -> None:
    """Run one command."""
    command, path, *rest = arguments
    if command == "bump":
        anyio.run(_bump_both, Path(path), int(rest[0]), int(rest[1]))
        return
    with LockedFile(Path(path), MAX_SIZE).locked():
        sys.stdout.write(HOLDING + "\n")
        sys.stdout.flush()
        time.sleep(_HOLD_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1:])
