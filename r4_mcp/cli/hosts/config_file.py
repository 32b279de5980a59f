"""A configuration file of another program: read whole, backed up, and replaced whole or not at all.

What this file does not do: understand what is in it. It belongs to the user and another program, not to us, so its mode, its
owner and a symbolic link to it stay what they are (``vault.locked_file`` is for our own files, and refuses what it has not made).

Rules:
1. A symbolic link is written through: what it points to is replaced, in its own folder. The backup lies beside the link.
2. A backup has mode 0600 and is never overwritten: such a file may hold other programs' secrets.
3. Replace: a temporary file in the same folder, all bytes, the old file's mode, fsync, ``os.replace``. Just before that the file
   is read once more: if its host wrote meanwhile, nothing is changed.
4. A file that nobody may write is not replaced, even where its folder would allow it; neither is one of another user.
"""

from __future__ import annotations

import glob
import os
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from r4_mcp.errors import BusyError, FileAccessError

MAX_SIZE: Final = 16 * 1024 * 1024
"""Bytes. Claude Code keeps much else in its file; the others hold some kilobytes."""

_BOM: Final = "\ufeff"
_PRIVATE: Final = 0o600
_BACKUP: Final = ".r4-mcp-"
_SAME_SECOND: Final = 100
"""One more than the backups that one second may have."""


@dataclass(frozen=True, slots=True)
class Content:
    """A file's text: its bytes are ``mark + text`` in UTF-8, line breaks as they are.

    Attributes:
        text: The text without a byte order mark.
        mark: The byte order mark, or nothing.
    """

    text: str
    mark: str = ""

    def encoded(self, text: str) -> bytes:
        """Return another text as the file would hold it."""
        return (self.mark + text).encode("utf-8")


class ConfigFile:
    """One configuration file.

    Args:
        path: Where it is, or would be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._before: bytes | None = None

    def read(self) -> Content | None:
        """Return what it holds, or None if there is no such file.

        Raises:
            FileAccessError: Unreadable, no regular file, too large, or not UTF-8.
        """
        self._before = self._bytes()
        return None if self._before is None else _decoded(self._before, self.path)

    def require_writable(self) -> None:
        """Check rule 4 before anything is promised.

        Raises:
            FileAccessError: It may not be written.
        """
        with self._explained():
            status = self.path.stat() if self.path.exists() else None
            if status is None:
                return
            if not status.st_mode & stat.S_IWUSR:
                raise FileAccessError(f"{self.path} is read-only", next_step=f"Run: chmod u+w {self.path}")
            if sys.platform != "win32" and status.st_uid != os.geteuid():
                raise FileAccessError(f"{self.path} belongs to another user", next_step="Run this as that user.")

    def backups(self) -> Iterator[tuple[Path, Content]]:
        """Yield the backups that can be read, the newest first."""
        with self._explained():
            found = self.path.parent.glob(glob.escape(self.path.name + _BACKUP) + "*")
            newest_first = sorted(found, key=lambda path: path.lstat().st_mtime_ns, reverse=True)
        for path in newest_first:
            with suppress(FileAccessError):  # A backup that can't be read is none.
                content = ConfigFile(path).read()
                if content is not None:
                    yield path, content

    def replace(self, content: bytes, *, keep: bool) -> Path | None:
        """Replace or make the file (rules 1, 3 and 4).

        Args:
            content: Its new bytes.
            keep: Back up what was read (rule 2).

        Returns:
            Where the backup is, if there is one.

        Raises:
            BusyError: It changed since it was read.
            FileAccessError: It can't be written; it is as it was, and there is no backup.
        """
        self.require_writable()
        with self._explained():
            target = self.path.resolve()
            mode = _PRIVATE if self._before is None else stat.S_IMODE(target.stat().st_mode)
            temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
            try:
                _write_new(temporary, content, mode)
                self._require_unchanged()
                backup = self._back_up() if keep else None
                try:
                    temporary.replace(target)
                except OSError:
                    # On Windows a host that has its file open forbids this.
                    if backup is not None:
                        backup.unlink()
                    raise
            finally:
                temporary.unlink(missing_ok=True)
        return backup

    def restore(self, backup: Path, content: Content) -> None:
        """Bring a backup's bytes back and take the backup away, which is then the file again.

        Raises:
            BusyError: It changed since it was read.
            FileAccessError: It can't be written.
        """
        self.replace(content.encoded(content.text), keep=False)
        with self._explained():
            backup.unlink()

    def delete(self) -> None:
        """Delete the file, if it is still what was read.

        Raises:
            BusyError: It changed since it was read.
            FileAccessError: It can't be deleted.
        """
        with self._explained():
            self._require_unchanged()
            self.path.unlink()

    def _back_up(self) -> Path | None:
        if self._before is None:
            return None
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        for number in range(1, _SAME_SECOND):
            again = "" if number == 1 else f"-{number}"
            path = self.path.with_name(f"{self.path.name}{_BACKUP}{stamp}{again}.bak")
            with suppress(FileExistsError):
                _write_new(path, self._before, _PRIVATE)
                return path
        raise FileAccessError(f"{self.path.parent} holds {_SAME_SECOND - 1} backups of this second", next_step="Try again.")

    def _require_unchanged(self) -> None:
        if self._bytes() != self._before:
            raise BusyError(f"{self.path} was changed by another program meanwhile; it is as that program left it")

    def _bytes(self) -> bytes | None:
        with self._explained():
            if not self.path.exists():
                if self.path.is_symlink():
                    raise FileAccessError(f"{self.path} is a symbolic link to nothing", next_step="Mend or remove the link.")
                return None
            if not self.path.is_file():
                raise FileAccessError(f"{self.path} is not a regular file")
            with self.path.open("rb") as file:
                content = file.read(MAX_SIZE + 1)
        if len(content) > MAX_SIZE:
            raise FileAccessError(f"{self.path} is larger than {MAX_SIZE} bytes, so it is not what is expected there")
        return content

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else "unknown reason"
            raise FileAccessError(f"{self.path} can't be used: {reason}", next_step=_MEND) from None


_MEND: Final = "Correct the owner or mode of the file or its folder; or run again with --print and paste the entry yourself."


def _decoded(raw: bytes, path: Path) -> Content:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileAccessError(
            f"{path} is not UTF-8 text (byte {error.start})", next_step="Save it as UTF-8 in an editor, then run this again."
        ) from None
    return Content(text.removeprefix(_BOM), _BOM if text.startswith(_BOM) else "")


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that must not exist yet."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), _PRIVATE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        if sys.platform != "win32":
            os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())
