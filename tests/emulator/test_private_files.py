"""A private file appears whole and once, and is read only by its owner."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from r4_mcp.emulator.private_files import MAX_SIZE, private_folder, publish, read_private
from r4_mcp.errors import AlreadyExistsError, FileAccessError


def test_a_published_file_is_read_back_by_its_owner(tmp_path: Path) -> None:
    """0600, the same bytes, no draft left."""
    path = tmp_path / "file"
    publish(path, b"content")
    assert read_private(path) == b"content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_published_file_is_never_replaced(tmp_path: Path) -> None:
    """Not even by the same bytes; the draft is removed."""
    path = tmp_path / "file"
    publish(path, b"first")
    with pytest.raises(AlreadyExistsError):
        publish(path, b"second")
    assert read_private(path) == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_of_many_writers_exactly_one_wins(tmp_path: Path) -> None:
    """Its content is there, whole."""
    path = tmp_path / "file"

    def write(number: int) -> int | None:
        try:
            publish(path, str(number).encode() * 1000)
        except AlreadyExistsError:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        winners = [number for number in pool.map(write, range(16)) if number is not None]
    assert len(winners) == 1
    assert read_private(path) == str(winners[0]).encode() * 1000


def test_what_is_no_private_file_is_not_read(tmp_path: Path) -> None:
    """Missing, a folder, a link, too large, open to others."""
    secret = tmp_path / "secret"
    publish(secret, b"content")
    (tmp_path / "link").symlink_to(secret)
    publish(tmp_path / "large", b"x" * (MAX_SIZE + 1))
    publish(tmp_path / "open", b"x")
    (tmp_path / "open").chmod(0o604)
    for name in ("missing", ".", "link", "large", "open"):
        with pytest.raises(FileAccessError):
            read_private(tmp_path / name)


def test_what_can_not_be_written_is_an_error_of_its_own(tmp_path: Path) -> None:
    """A folder that is missing, or is a file."""
    publish(tmp_path / "file", b"")
    for path in (tmp_path / "missing" / "file", tmp_path / "file" / "file"):
        with pytest.raises(FileAccessError):
            publish(path, b"content")
    for path in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(FileAccessError):
            private_folder(path)
