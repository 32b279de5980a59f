"""One private file that several processes change: whole or not at all, locked, closed to others."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Self

import pytest

from r4_mcp.errors import BusyError, FileAccessError
from r4_mcp.vault import locked_file
from r4_mcp.vault.locked_file import LockedFile

OLD, NEW = b"old content\n", b"new content, a little longer\n"
MAX_SIZE = 1024


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a file in a folder that does not exist yet."""
    return tmp_path / "state" / "memory.json"


@pytest.fixture
def file(path: Path) -> LockedFile:
    """Make a file with old content."""
    made = LockedFile(path, MAX_SIZE)
    write(made, OLD)
    return made


def write(file: LockedFile, content: bytes) -> None:
    """Replace a file's content as its owner does: under the lock."""
    with file.locked():
        file.replace(content)


def names(path: Path) -> set[str]:
    """Return what stands in the file's folder."""
    return {entry.name for entry in path.parent.iterdir()}


class CrashError(BaseException):
    """The process died here. Not an Exception, so that nothing in between tidies up by accident."""


def failing(error: BaseException) -> Callable[..., None]:
    """Return a system call that fails."""

    def call(*_: object, **__: object) -> None:
        raise error

    return call


def test_what_is_written_is_read(file: LockedFile) -> None:
    """A file is read as it was last replaced; one that never was is None."""
    assert file.read() == OLD
    write(file, NEW)
    assert file.read() == NEW
    assert LockedFile(file.path.with_name("another"), MAX_SIZE).read() is None


def test_folder_and_files_are_private(file: LockedFile) -> None:
    """The folder is 0700; the file and its lock are 0600, whatever the umask is."""
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    before = os.umask(0)
    try:
        write(file, NEW)
    finally:
        os.umask(before)
    for entry in file.path.parent.iterdir():
        assert stat.S_IMODE(entry.stat().st_mode) == 0o600, entry.name


def test_only_the_file_and_its_lock_are_left(file: LockedFile) -> None:
    """No temporary file survives, and the lock file is never deleted."""
    for _ in range(3):
        write(file, NEW)
    assert names(file.path) == {"memory.json", "memory.json.lock"}


def test_the_stamp_changes_with_every_replacement(file: LockedFile) -> None:
    """The stamp of a replaced file is another one, also with the same bytes; it is None where there is no file."""
    stamps = [file.stamp()]
    for _ in range(3):
        write(file, OLD)
        stamps.append(file.stamp())
    assert all(before != after for before, after in pairwise(stamps))
    assert LockedFile(file.path.with_name("another"), MAX_SIZE).stamp() is None


OS_CALLS = ("open", "fdopen", "fsync", "replace")
"""The calls of ``replace``, in order of first use; ``fsync`` comes twice: file and folder."""


@pytest.mark.parametrize("call", OS_CALLS)
def test_a_crash_leaves_old_or_new_content(file: LockedFile, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """A process that dies at any call of a replacement leaves the old content, and nothing that the next one trips over."""
    with monkeypatch.context() as patched, file.locked():
        patched.setattr(f"os.{call}", failing(CrashError()))
        with pytest.raises(CrashError):
            file.replace(NEW)
    fresh = LockedFile(file.path, MAX_SIZE)
    assert fresh.read() == OLD
    write(fresh, NEW)
    assert fresh.read() == NEW


def test_a_crash_before_the_folder_is_synced_leaves_new_content(file: LockedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies after the rename leaves the whole new content."""
    with monkeypatch.context() as patched, file.locked():
        patched.setattr(locked_file, "_sync_folder", failing(CrashError()))
        with pytest.raises(CrashError):
            file.replace(NEW)
    assert LockedFile(file.path, MAX_SIZE).read() == NEW
    assert names(file.path) == {"memory.json", "memory.json.lock"}


def test_the_content_is_synced_before_it_is_renamed(file: LockedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of calls is what makes a replacement atomic: sync of the file, rename, sync of the folder."""
    calls: list[str] = []

    def noting(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            calls.append(name)
            return real(*arguments, **named)

        return call

    with monkeypatch.context() as patched, file.locked():
        patched.setattr("os.fsync", noting("fsync", os.fsync))
        patched.setattr("os.replace", noting("replace", os.replace))
        file.replace(NEW)
    assert calls == ["fsync", "replace", "fsync"]
    assert file.read() == NEW


DISK_PROBLEMS = {"the disk is full": errno.ENOSPC, "the folder is read-only": errno.EROFS, "an input-output error": errno.EIO}


@pytest.mark.parametrize("problem", DISK_PROBLEMS)
@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_disk_problem_leaves_the_old_content(
    file: LockedFile, monkeypatch: pytest.MonkeyPatch, call: str, problem: str
) -> None:
    """Where the system refuses, the error is a FileAccessError that names the file, the old content is whole, no temp is left."""
    code = DISK_PROBLEMS[problem]
    with monkeypatch.context() as patched, file.locked():
        patched.setattr(f"os.{call}", failing(OSError(code, os.strerror(code))))
        with pytest.raises(FileAccessError, match=os.strerror(code)) as raised:
            file.replace(NEW)
    assert str(file.path) in raised.value.message
    assert file.read() == OLD
    assert names(file.path) == {"memory.json", "memory.json.lock"}


def test_a_full_disk_while_writing_leaves_the_old_content(file: LockedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that stops half way is not a replacement."""

    class FullDisk:
        def __init__(self, descriptor: int) -> None:
            self._descriptor = descriptor

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            os.close(self._descriptor)

        def write(self, content: bytes) -> None:
            os.write(self._descriptor, content[:5])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched, file.locked():
        patched.setattr("os.fdopen", lambda descriptor, _: FullDisk(descriptor))
        with pytest.raises(FileAccessError, match="No space left"):
            file.replace(NEW)
    assert file.read() == OLD
    assert names(file.path) == {"memory.json", "memory.json.lock"}


def test_a_leftover_of_a_dead_process_is_harmless(file: LockedFile) -> None:
    """A temporary file of a process that died is neither read nor in the way."""
    file.path.with_name(f".{file.path.name}.0123456789ab").write_bytes(b"half a fi")
    assert file.read() == OLD
    write(file, NEW)
    assert file.read() == NEW


REFUSED_MODES = (0o640, 0o604, 0o644, 0o660, 0o666, 0o601)


@pytest.mark.parametrize("mode", REFUSED_MODES, ids=oct)
def test_a_file_open_to_others_is_refused(file: LockedFile, mode: int) -> None:
    """A file that others may read or change is not read; the next step is the chmod that closes it."""
    file.path.chmod(mode)
    with pytest.raises(FileAccessError, match="open to other users") as raised:
        file.read()
    assert raised.value.next_step == f"Run: chmod 600 {file.path}"
    file.path.chmod(0o600)
    assert file.read() == OLD


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777], ids=oct)
def test_a_folder_that_others_can_write_is_refused(file: LockedFile, mode: int) -> None:
    """Who can write the folder can replace the file, so nothing is locked or written there."""
    file.path.parent.chmod(mode)
    with pytest.raises(FileAccessError, match="can be written by other users") as raised, file.locked():
        pytest.fail("the lock was given")
    assert raised.value.next_step == f"Run: chmod 700 {file.path.parent}"


def test_a_file_of_another_user_is_refused(file: LockedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that someone else could have made is not believed."""
    other = os.geteuid() + 1
    with monkeypatch.context() as patched:
        patched.setattr("os.geteuid", lambda: other)
        with pytest.raises(FileAccessError, match="belongs to another user"):
            file.read()


def test_a_folder_of_another_user_is_refused(file: LockedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns the folder can put another file there, whatever its mode says; root may own it, since root can anyway."""
    with monkeypatch.context() as patched:
        if os.geteuid() == 0:
            os.chown(file.path.parent, 12345, -1)
        else:
            other = os.geteuid() + 1
            patched.setattr("os.geteuid", lambda: other)
        with pytest.raises(FileAccessError, match="belongs to another user"), file.locked():
            pytest.fail("the lock was given")


def test_a_file_system_without_locks_is_refused(file: LockedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no locks to give, nothing is changed, and the error is of the family that names the file."""
    with monkeypatch.context() as patched:
        patched.setattr("fcntl.flock", failing(OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))))
        with pytest.raises(FileAccessError, match="No locks available"), file.locked():
            pytest.fail("the lock was given")


def test_a_symbolic_link_is_not_followed(file: LockedFile) -> None:
    """A link in the file's place is refused, also when it leads to a good file; so is one in the lock's place."""
    moved = file.path.with_name("moved.json")
    file.path.rename(moved)
    file.path.symlink_to(moved)
    with pytest.raises(FileAccessError, match="symbolic link"):
        file.read()
    lock = file.path.with_name("memory.json.lock")
    lock.unlink()
    lock.symlink_to(moved)
    with pytest.raises(FileAccessError, match="symbolic link"), file.locked():
        pytest.fail("the lock was given")
    assert moved.read_bytes() == OLD


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["a folder", "a named pipe"])
def test_only_a_regular_file_is_read(path: Path, make: Callable[[Path], None]) -> None:
    """What is not a regular file is refused at once: a pipe without a writer is not waited for."""
    path.parent.mkdir(mode=0o700)
    make(path)
    with pytest.raises(FileAccessError, match="is not a regular file"):
        LockedFile(path, MAX_SIZE).read()


def test_a_file_in_the_folders_place_is_refused(path: Path) -> None:
    """Where the folder can't be made, the error says so."""
    path.parent.write_bytes(b"in the way")
    with pytest.raises(FileAccessError), LockedFile(path, MAX_SIZE).locked():
        pytest.fail("the lock was given")
    with pytest.raises(FileAccessError):
        LockedFile(path, MAX_SIZE).stamp()


def test_a_file_over_its_limit_is_refused(file: LockedFile) -> None:
    """More bytes than the limit are not read into memory."""
    file.path.write_bytes(b"x" * MAX_SIZE)
    assert file.read() == b"x" * MAX_SIZE
    file.path.write_bytes(b"x" * (MAX_SIZE + 1))
    with pytest.raises(FileAccessError, match=f"larger than {MAX_SIZE} bytes"):
        file.read()


def test_content_over_the_limit_is_not_written(file: LockedFile) -> None:
    """What could not be read back is refused, and the old content stays."""
    with pytest.raises(FileAccessError, match=f"larger than {MAX_SIZE} bytes"):
        write(file, b"x" * (MAX_SIZE + 1))
    assert file.read() == OLD


def test_more_than_the_limit_is_not_added(file: LockedFile) -> None:
    """Up to the last byte of it is."""
    with file.locked():
        with pytest.raises(FileAccessError, match=f"larger than {MAX_SIZE} bytes"):
            file.append(len(OLD), b"x" * (MAX_SIZE - len(OLD) + 1))
        assert file.read() == OLD
        file.append(len(OLD), b"x" * (MAX_SIZE - len(OLD)))
    assert file.read() == OLD + b"x" * (MAX_SIZE - len(OLD))


def test_a_held_lock_is_waited_for_and_then_reported(file: LockedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second holder is told that the file is busy, and gets the lock once the first is done."""
    monkeypatch.setattr(locked_file, "LOCK_SECONDS", 0.05)
    second = LockedFile(file.path, MAX_SIZE)
    with file.locked(), pytest.raises(BusyError, match="another process"), second.locked():
        pytest.fail("two holders")
    with second.locked():
        second.replace(NEW)
    assert file.read() == NEW


def test_a_damaged_file_is_kept_aside(file: LockedFile) -> None:
    """Setting aside renames; each time to a name of its own."""
    with file.locked():
        kept = file.set_aside("damaged")
    assert kept.read_bytes() == OLD
    assert file.read() is None
    write(file, NEW)
    with file.locked():
        again = file.set_aside("damaged")
    assert (again != kept, again.read_bytes()) == (True, NEW)
    with pytest.raises(FileAccessError, match="No such file"), file.locked():
        file.set_aside("damaged")
