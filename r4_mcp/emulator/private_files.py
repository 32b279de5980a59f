"""Files that only their owner reads: made, published whole, read back.

What this file does not do: know what is in them.

Rules:
1. A folder is 0700 and a file 0600 from the moment it exists; one that others can open is refused, never repaired silently.
2. A file appears under its name complete or not at all, and never replaces another one: of two writers exactly one wins.
"""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from r4_mcp.errors import AlreadyExistsError, FileAccessError

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600
_OTHERS: Final = 0o077
MAX_SIZE: Final = 64 * 1024


def private_folder(path: Path) -> None:
    """Make a folder for its owner alone, or check that it is one (rule 1).

    Raises:
        FileAccessError: It can't be made, is not a folder, or is open to others.
    """
    try:
        path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        found = path.stat()
    except OSError as error:
        raise FileAccessError(f"the data folder {path} can't be made or read: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise FileAccessError(f"{path} is not a folder")
    if stat.S_IMODE(found.st_mode) & _OTHERS:
        raise FileAccessError(f"the data folder {path} is open to other users", next_step=f"chmod 700 {path}")


def publish(path: Path, content: bytes) -> None:
    """Write a new private file (rules 1 and 2).

    Raises:
        AlreadyExistsError: There is a file of that name; it is left as it is.
        FileAccessError: It can't be written.
    """
    draft = draft_path(path)
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        _discard(draft)
        raise FileAccessError(f"{path} can't be written: {error.strerror}") from None
    publish_draft(draft, path)


def draft_path(path: Path) -> Path:
    """Return an unused name beside ``path`` for a file that is not finished."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")


def publish_draft(draft: Path, path: Path) -> None:
    """Give a finished draft its name, or remove it (rule 2).

    Raises:
        AlreadyExistsError: There is a file of that name; it is left as it is.
        FileAccessError: It can't be published.
    """
    try:
        # A hard link never replaces its target, unlike a rename.
        path.hardlink_to(draft)
    except FileExistsError:
        raise AlreadyExistsError(f"{path} already exists") from None
    except OSError as error:
        raise FileAccessError(f"{path} can't be written: {error.strerror}") from None
    finally:
        _discard(draft)
    _sync_folder(path.parent)


def read_private(path: Path) -> bytes:
    """Read a private file of at most ``MAX_SIZE`` bytes.

    Raises:
        FileAccessError: Missing, not a regular file, too large, or open to others.
    """
    try:
        # Not blocking: opening a FIFO would wait for a writer that never comes.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise FileAccessError(f"{path} can't be read: {error.strerror}") from None
    # closefd: the descriptor is looked at before it becomes a file object, which a folder can't.
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_SIZE:
            raise FileAccessError(f"{path} is not a file of at most {MAX_SIZE} bytes")
        if stat.S_IMODE(found.st_mode) & _OTHERS:
            raise FileAccessError(f"{path} is open to other users", next_step=f"chmod 600 {path}")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_SIZE)
    finally:
        os.close(descriptor)


def _discard(draft: Path) -> None:
    # Whatever keeps it from being removed also kept it from being made, or is not worth hiding the first error for.
    with suppress(OSError):
        draft.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
