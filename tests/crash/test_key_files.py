"""An unfinished rotation whose key files were lost, damaged or exchanged: the old key goes on, a person is told which file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from r4_mcp.errors import NotFoundError, R4Error, RotationUnresolvedError
from r4_mcp.server.explain import explain
from tests.doors import private_pem, write_private

from .invariants import require_whole
from .losses import ROTATE, interrupt, quietly
from .small_world import SmallWorld, read_everything


def staged_file(world: SmallWorld) -> Path:
    """Return the one staged key's file."""
    (path,) = world.keys.glob("*.next-*.pem")
    return path


def remove(_: SmallWorld, path: Path) -> None:
    """Lose the staged key."""
    path.unlink()


def damage(_: SmallWorld, path: Path) -> None:
    """Damage the staged key."""
    path.write_bytes(path.read_bytes()[:-200])


def empty(_: SmallWorld, path: Path) -> None:
    """Leave nothing of the staged key."""
    path.write_bytes(b"")


def exchange(world: SmallWorld, path: Path) -> None:
    """Put another key where the staged one was."""
    write_private(path, private_pem(world.spare_keys[-1]))


def open_up(_: SmallWorld, path: Path) -> None:
    """Let others read the staged key."""
    path.chmod(0o644)


SPOILED: Final[dict[str, tuple[Callable[[SmallWorld, Path], None], str]]] = {
    "is missing": (remove, "rotation_unresolved"),
    "is damaged": (damage, "private_key_unusable"),
    "is empty": (empty, "private_key_unusable"),
    "is another key": (exchange, "rotation_unresolved"),
    "is open to others": (open_up, "file_access"),
}
spoiled = pytest.mark.parametrize(("spoil", "code"), SPOILED.values(), ids=SPOILED.keys())


@spoiled
@pytest.mark.parametrize("acted", [True, False], ids=["the service acted", "the request never arrived"])
async def test_a_staged_key_that_can_not_be_used_stops_the_rotation_and_nothing_else(
    small: SmallWorld, spoil: Callable[[SmallWorld, Path], None], code: str, *, acted: bool
) -> None:
    """Refused with its stable code; no second key is made, nothing is sent; with the file put back it is finished."""
    await interrupt(small, acted=acted)
    path = staged_file(small)
    kept = path.read_bytes()
    spoil(small, path)
    async with small.runtime() as rooms:
        await rooms.recovery.settle(writes=True, needs_key=True)
        assert isinstance(rooms.rotation.unresolved, R4Error)
        assert explain(rooms.rotation.unresolved).code == code
        with pytest.raises(R4Error) as caught:
            await rooms.rotation.rotate(quietly)
        assert explain(caught.value).code == code
        if not acted:
            # The old key is the active one, so reading goes on.
            assert await read_everything(rooms.reader) == small.values
    assert small.drawn == 1
    assert ROTATE not in small.tap.lines()
    assert len(small.journal()) == 1
    write_private(path, kept.decode())
    await require_whole(small, {})
    assert small.active_fingerprint() == small.spare_keys[0].public.fingerprint


@pytest.mark.parametrize("spoil", [remove, exchange])
async def test_what_a_person_is_told_names_the_file(small: SmallWorld, spoil: Callable[[SmallWorld, Path], None]) -> None:
    """The path of the staged key, and where it is lost, the way out; never a part of a key."""
    await interrupt(small, acted=False)
    path = staged_file(small)
    spoil(small, path)
    async with small.runtime() as rooms:
        with pytest.raises(RotationUnresolvedError) as caught:
            await rooms.rotation.rotate(quietly)
    told = explain(caught.value)
    assert str(path) in told.message
    assert told.next_step
    assert "PRIVATE" not in f"{told}"
    if spoil is remove:
        assert "r4-mcp rotate-key --abandon" in told.next_step


@spoiled
async def test_a_rotation_that_the_service_never_accepted_can_be_abandoned(
    small: SmallWorld, spoil: Callable[[SmallWorld, Path], None], code: str
) -> None:
    """For a person, whatever is wrong with the staged key: it is set aside, the old key stays, a new rotation goes through."""
    assert code
    await interrupt(small, acted=False)
    path = staged_file(small)
    spoil(small, path)
    left = path.read_bytes() if path.exists() else None
    before = small.active_fingerprint()
    async with small.runtime() as rooms:
        assert await rooms.rotation.abandon() == await rooms.registration.ensure(fresh=True)
        with pytest.raises(NotFoundError):
            await rooms.rotation.abandon()
    assert small.journal() == ()
    # It was sent, so its only copy does not hang on the service's word.
    assert [kept.read_bytes() for kept in small.keys.glob("*.pem")] == ([] if left is None else [left])
    for kept in small.keys.glob("*.refused-*.pem"):
        kept.unlink()
    assert small.active_fingerprint() == before
    await require_whole(small, {})
    async with small.runtime() as rooms:
        await rooms.rotation.rotate(quietly)
    await require_whole(small, {})
    assert small.drawn == 2


@pytest.mark.parametrize("lost", [True, False], ids=["the new key is lost", "the new key is there"])
async def test_a_rotation_that_the_service_accepted_can_not_be_abandoned(small: SmallWorld, *, lost: bool) -> None:
    """That would throw the active key away: the journal and the file stay, and with the file it is finished."""
    await interrupt(small, acted=True)
    path = staged_file(small)
    kept = path.read_text()
    if lost:
        path.unlink()
    async with small.runtime() as rooms:
        with pytest.raises(RotationUnresolvedError) as caught:
            await rooms.rotation.abandon()
    assert "accepted the new key" in caught.value.message
    assert len(small.journal()) == 1
    assert path.exists() is not lost
    write_private(path, kept)
    await require_whole(small, {})


@pytest.mark.parametrize("acted", [True, False], ids=["the service acted", "the request never arrived"])
async def test_a_third_key_in_the_key_file_is_not_replaced(small: SmallWorld, *, acted: bool) -> None:
    """A person put another key there meanwhile: nothing is switched over it, and the answer names the file."""
    await interrupt(small, acted=acted)
    before = small.key_file.read_text()
    third = {**json.loads(before), "privateKey": private_pem(small.spare_keys[-1])}
    write_private(small.key_file, json.dumps(third))
    async with small.runtime() as rooms:
        with pytest.raises(RotationUnresolvedError) as caught:
            await rooms.recovery.settle(writes=True, needs_key=True)
        assert f"{small.key_file} holds neither" in caught.value.message
    assert json.loads(small.key_file.read_text()) == third
    assert ROTATE not in small.tap.lines()
    assert staged_file(small).exists()
    write_private(small.key_file, before)
    await require_whole(small, {})


@pytest.mark.parametrize("content", [b"", b"{}", b'{"schema":1}', b"\x00" * 40], ids=["empty", "no entry", "cut off", "zeros"])
async def test_a_damaged_journal_is_not_taken_for_none(small: SmallWorld, content: bytes) -> None:
    """No second rotation is begun over it, the staged key stays, and the answer says so."""
    await interrupt(small, acted=True)
    (entry,) = (small.home / "journal").glob("*/rotate-key-*.json")
    kept = entry.read_bytes()
    entry.write_bytes(content)
    async with small.runtime() as rooms:
        with pytest.raises(R4Error) as caught:
            await rooms.rotation.rotate(quietly)
        assert caught.value.code == "file_access"
        assert str(entry) in caught.value.message
    assert small.drawn == 1
    assert staged_file(small).exists()
    entry.write_bytes(kept)
    await require_whole(small, {})
