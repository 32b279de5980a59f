"""What must hold after every death, once a new process has started.

What this file does not do: break anything.

Rules:
1. Before the restart: the key file is whole, the journal and the trust store parse, and nothing remembered went back.
2. After it: nothing is unsettled, the key that the service considers active is in the key file, and every value is what it was.
3. What stays behind is private, and is a lock, a kept key, or one of the leftovers that are counted by name.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from r4_mcp.core.trust import VaultTrust
from r4_mcp.core.wire import VaultId
from r4_mcp.vault.journal import EntryKind
from r4_mcp.vault.runtime import VaultRuntime

from .small_world import SmallWorld, files_below, read_everything

_PRIVATE_KEY: Final = "PRIVATE KEY-----"
_AGENTS_JSON: Final = frozenset({"agentId", "accessKey", "accessSecret", "privateKey"})

Remembered = Mapping[VaultId, VaultTrust]


def remembered(rooms: VaultRuntime) -> Remembered:
    """Return what the trust store remembers."""
    return {vault_id: entry.trust for vault_id, entry in rooms.store.section().vaults.items()}


async def remembered_on_disk(world: SmallWorld) -> Remembered:
    """Return what a new process would remember."""
    async with world.runtime() as rooms:
        return remembered(rooms)


def require_not_behind(before: Remembered, now: Remembered) -> None:
    """Assert that no pin went back or away."""
    assert set(before) <= set(now)
    for vault_id, old in before.items():
        new = now[vault_id]
        assert set(old.signers) <= set(new.signers)
        for older, newer in ((old.summary, new.summary), (old.dek, new.dek)):
            assert older is None or (newer is not None and newer.version >= older.version)
        assert old.head is None or (new.head is not None and new.head.size >= old.head.size)


async def require_whole(world: SmallWorld, before: Remembered, changed: Mapping[str, str] | None = None) -> dict[str, str]:
    """Assert rules 1 and 2 across a restart.

    Args:
        world: Where.
        before: What was remembered before the operation.
        changed: Values that may have taken the place of what they were.

    Returns:
        Everything that can be read after the restart.
    """
    # Rule 1: the key is a whole one; what else was in its file is there.
    world.key_on_disk()
    assert set(json.loads(world.key_file.read_text())) == _AGENTS_JSON
    rotations = [entry for entry in world.journal() if entry.kind is EntryKind.ROTATE_KEY]
    assert len(rotations) <= 1, "two unresolved rotations"
    require_not_behind(before, await remembered_on_disk(world))
    async with world.runtime() as rooms:
        # Rule 2, as the gate does before each call.
        await rooms.recovery.settle(writes=True, needs_key=True)
        assert rooms.rotation.unresolved is None, rooms.rotation.unresolved
        assert not rooms.rotation.is_begun()
        found = await read_everything(rooms.reader)
        require_not_behind(before, remembered(rooms))
    assert world.journal() == ()
    active = world.active_fingerprint()
    assert active == world.key_on_disk().public.fingerprint, "the active key is not the one in the key file"
    lost = {name for name, value in world.values.items() if found.get(name) not in {value, (changed or {}).get(name)}}
    assert not lost, f"lost: {lost}"
    return found


def leftovers(world: SmallWorld) -> Counter[str]:
    """Count what holds a private key beside the key file, by kind; asserts that every file is private (rule 3)."""
    counted: Counter[str] = Counter()
    for path in files_below(world.keys, world.home):
        assert path.stat().st_mode & 0o077 == 0, f"{path.name} is open to others"
        if path == world.key_file or path.name.endswith(".lock"):
            continue
        if path.name.startswith("."):
            counted["temporary file with a key" if _holds_key(path) else "temporary file without a key"] += 1
        elif path.parent == world.keys:
            counted[_kind_of_key_file(path)] += 1
        else:
            assert not _holds_key(path), f"{path.name} holds a private key"
    return counted


def _holds_key(path: Path) -> bool:
    return _PRIVATE_KEY in path.read_text(encoding="utf-8", errors="replace")


def _kind_of_key_file(path: Path) -> str:
    for mark, kind in ((".retired-", "retired key"), (".refused-", "refused key"), (".next-", "staged key")):
        if mark in path.name:
            return kind
    raise AssertionError(f"{path.name} is not expected")
