"""A state and what happened since: whatever dies or fails, what was answered is there, and nothing else counts."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from threading import Lock

import pytest

from r4_mcp.errors import FileAccessError, MalformedError
from r4_mcp.vault.event_file import MAX_EVENTS, EventFile, Form

MAX_SIZE = 16 * 1024


def parse(raw: bytes) -> list[int]:
    """Read a list of numbers."""
    numbers = json.loads(raw) if raw.startswith(b"[") else None
    if not isinstance(numbers, list):
        raise MalformedError("no list")
    return numbers


def fold(numbers: list[int], event: bytes) -> None:
    """Add a number."""
    if not event.isdigit():
        raise MalformedError("no number")
    numbers.append(int(event))


def dump(numbers: list[int]) -> bytes:
    """Write a list of numbers."""
    return json.dumps(numbers).encode("ascii")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a file in a folder that does not exist yet."""
    return tmp_path / "state" / "numbers.json"


def opened(path: Path) -> EventFile[list[int]]:
    """Open the file as a new process does."""
    return EventFile(path, MAX_SIZE, Form(list, parse, dump, fold))


def add(file: EventFile[list[int]], *numbers: int) -> None:
    """Add numbers as the file's owner does: under the lock, after a look."""
    with file.locked():
        file.read()
        file.append([str(number).encode("ascii") for number in numbers])


def read(file: EventFile[list[int]]) -> list[int]:
    """Read under the lock."""
    with file.locked():
        return list(file.read())


def test_no_file_is_the_empty_state(path: Path) -> None:
    """To read makes no file."""
    assert opened(path).look() == read(opened(path)) == []
    assert not path.exists()


def test_what_happened_is_read_back_by_everybody(path: Path) -> None:
    """The first event makes a state, the others are added to it; two processes that take turns miss nothing of each other."""
    one, other = opened(path), opened(path)
    add(one, 1)
    assert path.read_bytes() == b"[1]\n"
    add(other, 2, 3)
    add(one, 4)
    assert path.read_bytes() == b"[1]\n2\n3\n4\n"
    assert read(one) == read(other) == read(opened(path)) == one.look() == [1, 2, 3, 4]


def test_events_are_folded_before_they_become_many(path: Path) -> None:
    """The file stays small however much happens; the next process, and one that remembers the long file, read the same."""
    one, other = opened(path), opened(path)
    for number in range(3 * MAX_EVENTS):
        add(one, number)
        if number % 100 == 0:
            assert read(other) == list(range(number + 1))
        assert path.read_bytes().count(b"\n") <= MAX_EVENTS + 1
    assert read(other) == read(opened(path)) == list(range(3 * MAX_EVENTS))


def test_what_a_dead_writer_left_counts_for_nothing(path: Path) -> None:
    """Cut after any byte of the last event: it was never answered. The next event takes its place, also for who saw it whole."""
    one = opened(path)
    add(one, 1)
    add(one, 2)
    add(one, 345)
    whole = path.read_bytes()
    for length in range(len(whole) - len(b"345\n"), len(whole)):
        path.write_bytes(whole[:length])
        assert read(opened(path)) == opened(path).look() == [1, 2]
        assert path.read_bytes() == whole[:length]
        add(opened(path), 6)
        assert path.read_bytes() == b"[1]\n2\n6\n"
        assert read(one) == [1, 2, 6]


@pytest.mark.parametrize("damage", [b"", b"[1]", b"{}\n", b"[1]\n2\nx\n", b"[1]\n\n2\n", b"[1]\n2\n\0\0\n", b"\n[1]\n"])
def test_damage_is_an_error_and_stays(path: Path, damage: bytes) -> None:
    """Also where the file was good before, and once it is good again it is read as it is."""
    one = opened(path)
    add(one, 1)
    add(one, 2)
    path.write_bytes(damage)
    for file in (one, opened(path)):
        with pytest.raises(MalformedError):
            read(file)
        with pytest.raises(MalformedError):
            file.look()
    assert path.read_bytes() == damage
    path.write_bytes(b"[7]\n8\n")
    assert read(one) == [7, 8]


@pytest.mark.parametrize("events", [1, MAX_EVENTS + 1], ids=["appended", "folded"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_what_fails_did_not_happen(path: Path, monkeypatch: pytest.MonkeyPatch, events: int, code: int) -> None:
    """A disk that refuses leaves the file and what is remembered as they were; the next one is added."""
    one = opened(path)
    add(one, 1)
    add(one, 2)
    before = path.read_bytes()

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", refuse)
        with pytest.raises(FileAccessError, match=os.strerror(code)):
            add(one, *range(events))
    assert path.read_bytes() == before
    add(one, 3)
    assert read(one) == read(opened(path)) == [1, 2, 3]


def test_a_file_that_vanished_begins_anew(path: Path) -> None:
    """Whoever may remove it may do so while a process remembers it."""
    one = opened(path)
    add(one, 1)
    add(one, 2)
    path.unlink()
    assert read(one) == []
    add(one, 3)
    assert read(opened(path)) == [3]


def test_one_that_others_can_read_is_not_added_to(path: Path) -> None:
    """The mode is looked at again where the file is opened for writing."""
    one = opened(path)
    add(one, 1)
    add(one, 2)
    with one.locked():
        one.read()
        path.chmod(0o644)
        with pytest.raises(FileAccessError, match="open to other users"):
            one.append([b"3"])
    assert path.read_bytes() == b"[1]\n2\n"


def test_an_event_costs_one_sync(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the file alone: neither a new file nor its folder is synced."""
    one = opened(path)
    add(one, 1)
    synced, lock, real = [], Lock(), os.fsync

    def count(descriptor: int) -> None:
        with lock:
            synced.append(os.path.sameopenfile(descriptor, probe))
        real(descriptor)

    probe = os.open(path, os.O_RDONLY)
    try:
        monkeypatch.setattr("os.fsync", count)
        add(one, 2, 3, 4)
    finally:
        os.close(probe)
    assert synced == [True]
