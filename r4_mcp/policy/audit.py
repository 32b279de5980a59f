"""The audit log: one line for each tool call, in files that only grow, each line naming the hash of the line before it.

What this file does not do: verify (``audit_verify`` does) or decide. The log has no key, so whoever may write its folder can
write the whole chain anew; only a head that was exported before shows that.

Rules:
1. A line is written before the answer leaves: under a lock of all processes, by one write to a file opened for appending. Where
   it can't be written the caller gets an error and reveals nothing. Lines that are added together share the lock, no more. Lines
   are not synced one by one: they outlive their process, but the last ones may not outlive a power cut.
2. A writer that dies may leave the beginning of a line. It stays: the next line begins on a new line, takes its sequence number,
   links to the whole line before it, and names the hash over what was left.
3. A file that is full is synced and renamed; the first line of the next one links to its last line. Before the oldest file is
   removed, its last place in the chain is kept as the anchor.
4. Who remembers a later head than the files have goes on from the one that it remembers: lines that were removed under a running
   process leave a gap, which the verification finds.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

from r4_mcp.errors import BusyError, FileAccessError
from r4_mcp.policy.audit_format import (
    ANCHOR,
    CURRENT,
    GENESIS,
    LARGEST_FILE,
    LOOK,
    MAX_ANCHOR,
    AuditEntry,
    Head,
    digest,
    last_line,
    last_sequence,
    read_anchor,
    rfc3339,
    rotated_files,
    rotated_name,
    split_lines,
    unusable,
    write_anchor,
    write_line,
)
from r4_mcp.vault.locked_file import LOCK_SECONDS, LockedFile, read_private

__all__ = ["KEEP", "MAX_SIZE", "AuditEntry", "AuditLog"]

MAX_SIZE: Final = 8 * 1024 * 1024
"""Bytes at which a file is full."""
KEEP: Final = 8
"""Files that are kept, the current one included."""

_TAIL: Final = 8 * 1024


@dataclass(frozen=True, slots=True)
class _End:
    """How a file ends.

    Attributes:
        head: Its last place in the chain; None if it has no whole line.
        torn: The hash over what was left after that; None for nothing.
        ended: Whether the last line has its newline.
    """

    head: Head | None
    torn: str | None
    ended: bool


class AuditLog:
    """Appends to the log: any number of threads and processes at the same time.

    A call blocks, for a fraction of a millisecond alone and up to ten seconds behind others: async callers use a thread.

    Args:
        folder: Where the log is kept; made (0700) by the first line.
        clock: Seconds since 1970.
        max_size: Bytes at which a file is full, at most ``LARGEST_FILE``.
        keep: Files that are kept, the current one included; at least two.

    Raises:
        ValueError: A limit is out of its range.
    """

    def __init__(self, folder: Path, clock: Callable[[], float], *, max_size: int = MAX_SIZE, keep: int = KEEP) -> None:
        if not 0 < max_size <= LARGEST_FILE or keep < 2:  # noqa: PLR2004 - a full file and the current one
            raise ValueError("a limit of the audit log is out of its range")
        self._folder = folder
        self._path = folder / CURRENT
        self._file = LockedFile(self._path, max_size)
        self._turn = Lock()
        self._clock = clock
        self._max_size = max_size
        self._keep = keep
        self._head: Head | None = None
        self._seen: tuple[int, int, int] | None = None

    def append(self, entry: AuditEntry) -> None:
        """Add a line (rule 1).

        Raises:
            FileAccessError: It could not be written: the disk is full, the folder can't be used, or is open to others.
            BusyError: Others held the log for ten seconds.
        """
        self.append_all([entry])

    def append_all(self, entries: Sequence[AuditEntry]) -> None:
        """Add some lines, in their order (rule 1).

        Raises:
            FileAccessError: As ``append``; those before the one that could not be written stay.
            BusyError: As ``append``.
        """
        # Threads queue here, because the file's lock is polled: with many of them that would be slow and unfair.
        if not self._turn.acquire(timeout=LOCK_SECONDS):
            raise BusyError(f"other calls have held the lock of {self._path} for {LOCK_SECONDS:g} seconds")
        try:
            with self._file.locked():
                for entry in entries:
                    self._append(entry)
        except OSError as error:
            raise unusable(self._path, error) from None
        finally:
            self._turn.release()

    def _append(self, entry: AuditEntry) -> None:
        with _open_for_append(self._path) as descriptor:
            end = self._end(descriptor)
            before = end.head or self._before()
            if self._head is not None and before.sequence <= self._head.sequence:
                before = self._head  # Rule 4.
            line = write_line(entry, rfc3339(self._clock()), before, end.torn)
            size = os.fstat(descriptor).st_size
            fits = size == 0 or size + len(line) < self._max_size
            # What a dead writer left is named in the file where it stands, also when that is full.
            if fits or not end.ended or end.torn is not None:
                self._write(descriptor, line, before.sequence + 1, lead=b"" if end.ended else b"\n")
                return
            # Else a power cut could take the end of this file and leave the next: that would look like tampering.
            os.fsync(descriptor)
        self._rotate(before.sequence)
        with _open_for_append(self._path) as descriptor:
            self._write(descriptor, line, before.sequence + 1)

    def _write(self, descriptor: int, line: bytes, sequence: int, *, lead: bytes = b"") -> None:
        content = lead + line + b"\n"
        self._seen = None
        if os.write(descriptor, content) != len(content):
            raise FileAccessError(f"{self._path} took only a part of a line: the disk is probably full")
        status = os.fstat(descriptor)
        self._head = Head(sequence, digest(line))
        self._seen = (status.st_dev, status.st_ino, status.st_size)

    def _end(self, descriptor: int) -> _End:
        status = os.fstat(descriptor)
        if self._seen is not None and self._seen[:2] == (status.st_dev, status.st_ino):
            # Our own last line ended there, with its newline; only what others added is read.
            own = self._seen[2]
            if own == status.st_size:
                return _End(self._head, None, ended=True)
            end = _read_end(descriptor, min(own, status.st_size), status.st_size)
            if end.head is not None:
                return end
        return _read_end(descriptor, 0, status.st_size)

    def _before(self) -> Head:
        """Return what the first line of a file links to."""
        names = rotated_files(self._folder)
        return self._last(names[-1]) if names else read_anchor(self._folder)

    def _last(self, name: str) -> Head:
        lines, _ = split_lines(read_private(self._folder / name, LARGEST_FILE))
        line, _ = last_line(lines)
        # A full file without a whole line is damage. Nothing but the first line of all links to zeros, so it will be found.
        return line.head if line is not None else Head(last_sequence(name), GENESIS.digest)

    def _rotate(self, last: int) -> None:
        full = self._folder / rotated_name(last)
        if full.exists():
            raise FileAccessError(f"{full} is in the way of the log", next_step=LOOK)
        self._path.rename(full)
        names = rotated_files(self._folder)
        for name in names[: 1 - self._keep]:
            LockedFile(self._folder / ANCHOR, MAX_ANCHOR).replace(write_anchor(self._last(name)))
            (self._folder / name).unlink()


def _read_end(descriptor: int, start: int, size: int) -> _End:
    """Read backwards from a file's end until there is a whole line, or up to ``start``, where a line begins."""
    length = _TAIL
    while True:
        begin = max(start, size - length)
        os.lseek(descriptor, begin, os.SEEK_SET)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            lines, ended = split_lines(file.read(size - begin))
        # The first piece may be the end of a line that begins before it.
        line, torn = last_line(lines if begin == start else lines[1:])
        if line is not None or begin == start:
            return _End(None if line is None else line.head, torn, ended)
        length *= 8


@contextmanager
def _open_for_append(path: Path) -> Iterator[int]:
    """Open a file that is this user's alone, as ``read_private`` does, but for appending; make it if there is none."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise FileAccessError(f"{path} is not a regular file")
        if sys.platform != "win32":
            if status.st_uid != os.geteuid():
                raise FileAccessError(f"{path} belongs to another user", next_step=f"Run: chown {os.geteuid()} {path}")
            if status.st_mode & 0o077:
                raise FileAccessError(f"{path} is open to other users", next_step=f"Run: chmod 600 {path}")
        yield descriptor
    finally:
        os.close(descriptor)
