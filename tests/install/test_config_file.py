"""Replacing a file of another program: whole or not at all, and never over what that program wrote meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from r4_mcp.cli.hosts.config_file import MAX_SIZE, ConfigFile
from r4_mcp.errors import BusyError, FileAccessError


@pytest.mark.parametrize("meanwhile", [b"{}", None], ids=["changed", "deleted"])
def test_what_its_program_wrote_meanwhile_stays(tmp_path: Path, meanwhile: bytes | None) -> None:
    """Replacing and deleting are refused, and neither a temporary file nor a backup is left."""
    path = tmp_path / "mcp.json"
    path.write_bytes(b"before")
    file = ConfigFile(path)
    assert file.read() is not None
    if meanwhile is None:
        path.unlink()
    else:
        path.write_bytes(meanwhile)
    expected = FileAccessError if meanwhile is None else BusyError
    with pytest.raises(expected):
        file.replace(b"ours", keep=True)
    with pytest.raises(BusyError):
        file.delete()
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == ([] if meanwhile is None else [meanwhile])


def test_a_file_that_appears_meanwhile_stays(tmp_path: Path) -> None:
    """There was none when it was read."""
    file = ConfigFile(tmp_path / "mcp.json")
    assert file.read() is None
    file.path.write_bytes(b"theirs")
    with pytest.raises(BusyError):
        file.replace(b"ours", keep=True)
    assert file.path.read_bytes() == b"theirs"


def test_a_folder_that_cannot_be_written_is_told() -> None:
    """With a way on; /proc takes no file of anybody."""
    file = ConfigFile(Path("/proc/mcp.json"))
    assert file.read() is None
    with pytest.raises(FileAccessError) as caught:
        file.replace(b"ours", keep=True)
    assert "/proc/mcp.json can't be used" in str(caught.value)
    assert "--print" in (caught.value.next_step or "")


def test_a_file_beyond_its_bound_is_refused(tmp_path: Path) -> None:
    """One byte more; a sparse file costs no disk."""
    path = tmp_path / "mcp.json"
    with path.open("wb") as file:
        file.truncate(MAX_SIZE + 1)
    with pytest.raises(FileAccessError, match="larger than"):
        ConfigFile(path).read()
