"""A disk that is full, or a folder that can't be made: nothing is sent that could not be finished, and nothing is lost.

Numbers of rules are those of ``r4_mcp/vault/rotation.py`` and ``key_file.py``.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Final

import pytest

from r4_mcp.errors import FileAccessError
from tests.vault.rooms import draft

from .invariants import leftovers, remembered_on_disk, require_whole
from .losses import ROTATE, quietly, rotate
from .small_world import SmallWorld, read_everything

PLACES: Final[dict[str, tuple[str, int, bool]]] = {
    # The names that are being written, how often there is room before, and whether the service has the new key by then.
    "before a key is made": (r"agent\.json", 0, False),
    "staging the new key": (r"agent\.json\.next-.*", 0, False),
    "the journal, prepared": (r"rotate-key-.*\.json", 0, False),
    "the journal, committed": (r"rotate-key-.*\.json", 1, True),
    "keeping the old key": (r"agent\.json\.retired-.*", 0, True),
    "switching the key file": (r"agent\.json", 1, True),
}


class Disk:
    """A disk that gets full for names of one form.

    Args:
        patch: Puts it between us and the operating system.
        call: Which call says that it is full.
        pattern: The names.
        allowed: How often it still has room.
    """

    def __init__(self, patch: pytest.MonkeyPatch, call: str, pattern: str, allowed: int) -> None:
        self._pattern = re.compile(pattern)
        self._allowed = allowed
        self.full = True
        self.refused = 0
        if call == "replace":
            real_replace = os.replace

            def replace(source: str | Path, target: str | Path) -> None:
                self._spend(Path(target).name)
                real_replace(source, target)

            patch.setattr(os, "replace", replace)
        else:
            real_open = os.open

            def crowded_open(path: str | Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
                if flags & os.O_EXCL:
                    # A temporary file: a dot, the name, a dot, twelve random characters.
                    self._spend(Path(path).name[1:-13])
                return real_open(path, flags, mode, dir_fd=dir_fd)

            patch.setattr(os, "open", crowded_open)

    def _spend(self, name: str) -> None:
        if not (self.full and self._pattern.fullmatch(name)):
            return
        if self._allowed:
            self._allowed -= 1
            return
        self.refused += 1
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["open", "replace"])
@pytest.mark.parametrize(("pattern", "room", "accepted"), PLACES.values(), ids=PLACES.keys())
async def test_a_full_disk_stops_a_rotation_where_it_can_go_on(
    small: SmallWorld, monkeypatch: pytest.MonkeyPatch, call: str, pattern: str, room: int, *, accepted: bool
) -> None:
    """Nothing was sent: nothing is left. The service has the new key: both are kept, and with room it is finished."""
    before = await remembered_on_disk(small)
    old = small.active_fingerprint()
    disk = Disk(monkeypatch, call, pattern, room)
    async with small.runtime() as rooms:
        with pytest.raises(FileAccessError) as caught:
            await rotate(rooms)
        assert "No space left on device" in caught.value.message
        assert disk.refused
        assert small.tap.lines().count(ROTATE) == int(accepted)
        if accepted:
            assert len(small.journal()) == 1
            await rooms.recovery.settle(writes=True, needs_key=True)
            assert isinstance(rooms.rotation.unresolved, FileAccessError)
        else:
            assert small.journal() == ()
            assert not leftovers(small)
            assert await read_everything(rooms.reader) == small.values
        disk.full = False
        # The same process goes on as soon as there is room.
        await rooms.recovery.settle(writes=True, needs_key=True)
        assert await read_everything(rooms.reader) == small.values
    await require_whole(small, before)
    assert small.active_fingerprint() == (small.spare_keys[0].public.fingerprint if accepted else old)


async def test_a_full_disk_under_the_journal_of_a_creation_sends_nothing(
    small: SmallWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 2 of the journal: what is not on disk is not sent."""
    Disk(monkeypatch, "replace", r"create-(item|vault)-.*\.json", allowed=0)
    async with small.runtime() as rooms:
        await rooms.registration.ensure()
        with pytest.raises(FileAccessError):
            await rooms.writer.create_item(small.vault_id(), draft("Nowhere"))
        with pytest.raises(FileAccessError):
            await rooms.writer.create_vault("Nowhere", None, None)
    assert {line.split(" ")[0] for line in small.tap.lines()} <= {"GET"}
    assert await require_whole(small, {}) == small.values


async def test_a_full_disk_under_the_trust_store_believes_nothing_new(small: SmallWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be remembered is not used; the store stays as it was."""
    before = await remembered_on_disk(small)
    small.operator.rotate_dek(small.vault_id())
    disk = Disk(monkeypatch, "replace", r"trust-store\.json", allowed=0)
    async with small.runtime() as rooms:
        with pytest.raises(FileAccessError):
            await rooms.reader.vault(small.vault_id())
    assert await remembered_on_disk(small) == before
    disk.full = False
    assert await require_whole(small, before) == small.values


@pytest.mark.parametrize("folder", ["journal", "initialised"])
async def test_a_file_where_a_folder_must_be_is_found_out_before_anything_is_sent(small: SmallWorld, folder: str) -> None:
    """The journal's folder, and the one of the trust store's markers."""
    kept = small.home / f"{folder}-aside"
    (small.home / folder).mkdir(mode=0o700, exist_ok=True)
    (small.home / folder).rename(kept)
    (small.home / folder).write_text("not a folder")
    small.operator.rotate_dek(small.vault_id())
    async with small.runtime() as rooms:
        with pytest.raises(FileAccessError):
            await rooms.rotation.rotate(quietly)
    assert ROTATE not in small.tap.lines()
    assert not [name for name in small.kept_keys() if ".next-" in name]
    (small.home / folder).unlink()
    kept.rename(small.home / folder)
    assert await require_whole(small, {}) == small.values


async def test_a_home_that_was_a_file_leaves_the_key_alone(small: SmallWorld, tmp_path: Path) -> None:
    """Nothing can be remembered or journaled, so nothing is rotated."""
    home = tmp_path / "home"
    home.write_text("not a folder")
    before = small.key_file.read_bytes()
    async with small.runtime({"R4_HOME": str(home)}) as rooms:
        with pytest.raises(FileAccessError) as caught:
            await rooms.rotation.rotate(quietly)
    assert str(home) in caught.value.message
    assert small.key_file.read_bytes() == before
    assert small.tap.lines() == []
