"""One private file that several processes change: locked read-modify-write, replaced whole or not at all, or added to.

What this file does not do: know what is in it.

Rules:
1. The lock is on a separate file that is never deleted, held over the whole read-modify-write, never across a network call. The
   kernel releases it when its holder dies. (Atomic replace without a lock lost 188 of 200 updates from four processes.)
2. Replace: a temporary file in the same folder (0600), all bytes, fsync, ``os.replace``, fsync of the folder.
3. The folder is made 0700, the file 0600, of this user; a folder that others can write, a file that they can read, a symbolic
   link, or another owner is refused.
4. Append: behind the bytes that the caller has read, all bytes, fsync. What fails is taken back. A writer that dies may leave the
   beginning of what it wrote, and whoever reads without the lock may see it.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from r4_mcp.errors import BusyError, FileAccessError

if sys.platform != "win32":
    import fcntl

LOCK_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.01
_PRIVATE_FILE: Final = 0o600
_PRIVATE_FOLDER: Final = 0o700
_OTHERS: Final = 0o077


class LockedFile:
    """A private file with its lock.

    Args:
        path: The file; its folder is made (0700) when first written.
        max_size: Bytes that it may have.
    """

    def __init__(self, path: Path, max_size: int) -> None:
        self.path = path
        self._lock_path = path.with_name(path.name + ".lock")
        self._max_size = max_size

    def read(self) -> bytes | None:
        """Return the file's bytes, or None if there is none.

        Raises:
            FileAccessError: Rule 3, too large, or unreadable.
        """
        try:
            return read_private(self.path, self._max_size)
        except FileNotFoundError:
            return None

    def stamp(self) -> tuple[int, int, int] | None:
        """Return what changes with every replacement: inode, size, time of change. None if there is no file."""
        try:
            status = os.lstat(self.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._problem(error) from None
        return status.st_ino, status.st_size, status.st_mtime_ns

    @contextmanager
    def locked(self, seconds: float | None = None) -> Iterator[None]:
        """Hold the lock (rule 1).

        Args:
            seconds: How long to wait for it; ``LOCK_SECONDS`` where nothing else is said.

        Raises:
            BusyError: Another process held it for that long.
            FileAccessError: The folder or lock file can't be used.
        """
        self._make_folder()
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        try:
            descriptor = os.open(self._lock_path, flags, _PRIVATE_FILE)
        except OSError as error:
            raise self._problem(error) from None
        try:
            _acquire(descriptor, self.path, LOCK_SECONDS if seconds is None else seconds)
            yield
        finally:
            os.close(descriptor)

    def replace(self, content: bytes) -> None:
        """Replace the file's bytes (rule 2). The caller holds the lock.

        Raises:
            FileAccessError: Disk full, read-only folder, or the like; the old file is whole.
        """
        if len(content) > self._max_size:
            raise FileAccessError(f"{self.path} would become larger than {self._max_size} bytes; nothing was written")
        temporary = self.path.with_name(f".{self.path.name}.{secrets.token_hex(6)}")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
            _sync_folder(self.path.parent)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise self._problem(error) from None

    def append(self, whole: int, content: bytes) -> None:
        """Put bytes behind the first ``whole`` ones, in the place of whatever stands there (rule 4). The caller holds the lock.

        Raises:
            FileAccessError: Rule 3, disk full, or the like; the bytes before are as they were.
        """
        if whole + len(content) > self._max_size:
            raise FileAccessError(f"{self.path} would become larger than {self._max_size} bytes; nothing was written")
        flags = os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            descriptor = os.open(self.path, flags)
            with os.fdopen(descriptor, "wb") as file:
                status = os.fstat(descriptor)
                _check_private(self.path, status, root_may_own=False)
                if status.st_size != whole:
                    os.ftruncate(descriptor, whole)
                os.lseek(descriptor, whole, os.SEEK_SET)
                file.write(content)
                file.flush()
                os.fsync(descriptor)
        except OSError as error:
            with suppress(OSError):
                # Not by the path alone: it could be a link by now.
                descriptor = os.open(self.path, flags)
                try:
                    os.ftruncate(descriptor, whole)
                finally:
                    os.close(descriptor)
            raise self._problem(error) from None

    def set_aside(self, suffix: str) -> Path:
        """Rename a damaged file, so that it is kept and a new one can be made. The caller holds the lock."""
        kept = self.path.with_name(f"{self.path.name}.{suffix}-{time.time_ns()}")
        try:
            self.path.replace(kept)
        except OSError as error:
            raise self._problem(error) from None
        return kept

    def _make_folder(self) -> None:
        folder = self.path.parent
        try:
            if not folder.exists():
                for missing in reversed([parent for parent in (folder, *folder.parents) if not parent.exists()]):
                    missing.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
            status = folder.stat()
        except OSError as error:
            raise self._problem(error) from None
        if sys.platform == "win32":
            return  # Modes and owners say nothing there.
        if status.st_uid not in {os.geteuid(), 0}:
            raise FileAccessError(f"{folder} belongs to another user", next_step=f"Run: chown {os.geteuid()} {folder}")
        if status.st_mode & 0o022:
            raise FileAccessError(f"{folder} can be written by other users", next_step=f"Run: chmod 700 {folder}")

    def _problem(self, error: OSError) -> FileAccessError:
        return _unusable(self.path, error)


def read_private(path: Path, max_size: int, *, root_may_own: bool = False) -> bytes:
    """Read a file that is this user's alone (rule 3).

    Args:
        path: The file.
        max_size: Bytes that it may have.
        root_may_own: Whether root's files count too, as mounted secrets do.

    Raises:
        FileNotFoundError: There is none.
        FileAccessError: Unreadable, a symbolic link, no regular file, too large, of another user, or open to others; names the
            command that mends it.
    """
    # Not blocking: opening a FIFO would wait for a writer that never comes. For a regular file it changes nothing.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unusable(path, error) from None
    try:
        status = os.fstat(descriptor)
        _check_private(path, status, root_may_own=root_may_own)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            # Never more than is there: a read allocates what it asks for.
            content = file.read(min(status.st_size, max_size) + 1)
    except OSError as error:
        raise _unusable(path, error) from None
    finally:
        os.close(descriptor)
    if len(content) > max_size:
        raise FileAccessError(f"{path} is larger than {max_size} bytes, so it is not what is expected there")
    return content


def _check_private(path: Path, status: os.stat_result, *, root_may_own: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise FileAccessError(f"{path} is not a regular file")
    if sys.platform == "win32":
        return  # Modes and owners say nothing there.
    owners = {os.geteuid(), 0} if root_may_own else {os.geteuid()}
    if status.st_uid not in owners:
        raise FileAccessError(f"{path} belongs to another user", next_step=f"Run: chown {os.geteuid()} {path}")
    if status.st_mode & _OTHERS:
        mode = stat.S_IMODE(status.st_mode)
        raise FileAccessError(f"{path} is open to other users (mode {mode:04o})", next_step=f"Run: chmod 600 {path}")


def _unusable(path: Path, error: OSError) -> FileAccessError:
    if error.errno == errno.ELOOP:
        return FileAccessError(f"{path} is a symbolic link, which is not followed", next_step="Give the real path.")
    reason = os.strerror(error.errno) if error.errno else "unknown reason"
    return FileAccessError(f"{path} can't be used: {reason}")


def _acquire(descriptor: int, path: Path, seconds: float) -> None:
    if sys.platform == "win32":
        return  # No flock there; replacement is still atomic, and the compare-and-swap is only as good as one process.
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                waited = f" for {seconds:g} seconds" if seconds else ""
                raise BusyError(f"another process holds the lock of {path}{waited}") from None
            time.sleep(_POLL_SECONDS)
        except OSError as error:
            raise _unusable(path, error) from None
        else:
            return


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return  # Folders can't be opened there.
    descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
