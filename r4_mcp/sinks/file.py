"""A file with secrets in it, for a program that reads them from one.

What this file does not do: remove it again, or know who reads it.

Rules:
1. The path lies below a root that the operator listed, by its names alone: no ``..``, and no symbolic link in any part of it. The
   folders are walked one by one, each opened from the one before, so that nobody can exchange one on the way.
2. The file is 0600, of this user. It is new, or it takes an old regular file's place, whole or not at all.
3. git must leave the path alone (``git_ignore``).
4. On the way to replacing a file, the content stands beside it, under the same name with an end of its own; a crash at that
   moment leaves it there.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from r4_mcp.errors import AlreadyExistsError, FileAccessError, InvalidArgumentError, SecretFileRefusedError
from r4_mcp.secret import Secret
from r4_mcp.sinks.formats import Format, render
from r4_mcp.sinks.git_ignore import require_ignored

MAX_CONTENT: Final = 1_048_576
MAX_PARTS: Final = 64
_PRIVATE: Final = 0o600
_NOT_IN_NAMES: Final = re.compile(r"[\x00-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
"""Control characters, halves of pairs, and the invisible ones that some file systems leave out of a comparison with ``.git``."""
_CHOOSE_ANOTHER: Final = "Choose another path, or ask for it to be replaced."
# Without a default, this module could not be imported on Windows, where nothing here works.
_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_FOLDER: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK


@dataclass(frozen=True, slots=True)
class Written:
    """What was written, and where."""

    path: Path
    octets: int


def write_secret_file(
    root: Path, path: str, form: Format, entries: Mapping[str, Secret[str]], *, replaces: bool = False
) -> Written:
    """Write a file. It asks git and waits for the disk, so it belongs into a thread.

    Args:
        root: An existing folder; how it is reached is the operator's business.
        path: Below the root: relative to it, or absolute.
        form: The format.
        entries: The values by their names.
        replaces: Whether an existing file may lose its content.

    Raises:
        InvalidArgumentError: The path is no path, or the format can't represent an entry.
        SecretFileRefusedError: Rule 1 or 3, or what stands there is no regular file.
        AlreadyExistsError: Something stands there, and ``replaces`` is not set.
        FileAccessError: A folder is missing, or the disk or the system refuses.
    """
    if os.open not in os.supports_dir_fd:
        raise SecretFileRefusedError("this system can't walk folders without following links")
    parts = _parts(root, path)
    content = render(form, entries)
    if len(content) > MAX_CONTENT:
        raise InvalidArgumentError(f"the file would have more than {MAX_CONTENT} bytes")
    with _opened(root, parts[:-1]) as folder:
        exists = _exists(folder, parts[-1])
        if exists and not replaces:
            raise AlreadyExistsError("something stands at that path", next_step=_CHOOSE_ANOTHER)
        require_ignored(_real_path(folder, root.joinpath(*parts[:-1])), parts[-1])
        try:
            if exists:
                _replace(folder, parts[-1], content)
            else:
                _create(folder, parts[-1], content)
            os.fsync(folder)
        except FileExistsError:
            raise AlreadyExistsError("something came to stand at that path", next_step=_CHOOSE_ANOTHER) from None
        except OSError as error:
            raise _problem(error) from None
    return Written(root.joinpath(*parts), len(content))


def _parts(root: Path, path: str) -> tuple[str, ...]:
    if not root.is_absolute():
        message = "a root is an absolute path"
        raise ValueError(message)
    if not path or path.endswith("/") or _NOT_IN_NAMES.search(path):
        raise InvalidArgumentError("path is no path of a file")
    given = PurePosixPath(path)
    if given.is_absolute():
        if not given.is_relative_to(root):
            raise SecretFileRefusedError("the path lies outside its root")
        given = given.relative_to(root)
    if ".." in given.parts:
        raise SecretFileRefusedError("the path holds a dot segment")
    if not 1 <= len(given.parts) <= MAX_PARTS:
        raise InvalidArgumentError(f"path has no name in it, or more than {MAX_PARTS}")
    if any(part.casefold() == ".git" for part in given.parts):
        raise SecretFileRefusedError("the path lies inside a repository's own folder")
    return given.parts


@contextmanager
def _opened(root: Path, folders: tuple[str, ...]) -> Iterator[int]:
    """Open the folder of the file, by the walk of rule 1."""
    descriptor = -1
    try:
        descriptor = os.open(root, _FOLDER)
        for name in folders:
            below = os.open(name, _FOLDER | _NO_LINK, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
    except OSError as error:
        if descriptor >= 0:
            os.close(descriptor)
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise SecretFileRefusedError("a part of the path is a symbolic link, or no folder") from None
        raise _problem(error) from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _exists(folder: int, name: str) -> bool:
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _problem(error) from None
    if not stat.S_ISREG(status.st_mode):
        raise SecretFileRefusedError("what stands at the path is no regular file")
    return True


def _real_path(folder: int, path: Path) -> Path:
    """Return the path that git is asked about; it leads to the very folder that is open."""
    real = Path(os.path.realpath(path))
    try:
        is_same = os.path.samestat(real.stat(), os.fstat(folder))
    except OSError as error:
        raise _problem(error) from None
    if not is_same:
        raise SecretFileRefusedError("a folder of the path was exchanged meanwhile")
    return real


def _create(folder: int, name: str, content: bytes) -> None:
    descriptor = os.open(name, _NEW, _PRIVATE, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            # The umask may have taken bits away.
            os.fchmod(file.fileno(), _PRIVATE)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)
        raise


def _replace(folder: int, name: str, content: bytes) -> None:
    # What is ignored by its beginning, as .env* is, is ignored so too (rule 4).
    temporary = f"{name}.{secrets.token_hex(6)}"
    _create(folder, temporary, content)
    try:
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise


def _problem(error: OSError) -> FileAccessError:
    reason = os.strerror(error.errno) if error.errno else "unknown reason"
    return FileAccessError(
        f"the file can't be written: {reason}", next_step="Choose a path in an existing folder that can be written."
    )
