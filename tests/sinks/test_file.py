"""Files with secrets: where they may stand, and how they are made."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from r4_mcp.errors import AlreadyExistsError, FileAccessError, InvalidArgumentError, SecretFileRefusedError
from r4_mcp.sinks.file import MAX_CONTENT, MAX_PARTS, write_secret_file

from .values import ENTRY, LINE, files, secret


@pytest.mark.parametrize("path", [".env", "deep/.env", "deep//./.env", "{root}/deep/.env"])
def test_a_file_is_written(root: Path, path: str) -> None:
    """Relative or absolute; its content, its mode, its owner."""
    given_path = path.format(root=root)
    written = write_secret_file(root, given_path, "env", ENTRY)
    assert written.path == root.joinpath(given_path)
    assert written.octets == len(LINE)
    assert written.path.read_bytes() == LINE
    status = written.path.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_nlink) == (0o600, os.geteuid(), 1)


@pytest.mark.parametrize("mask", [0o000, 0o277, 0o777])
def test_the_umask_changes_nothing(root: Path, mask: int) -> None:
    """Neither opens the file to others nor closes it to us."""
    old = os.umask(mask)
    try:
        written = write_secret_file(root, ".env", "env", ENTRY)
    finally:
        os.umask(old)
    assert stat.S_IMODE(written.path.stat().st_mode) == 0o600


def test_an_existing_file_is_not_touched_unless_told(root: Path) -> None:
    """Not even read."""
    (root / ".env").write_text("old")
    with pytest.raises(AlreadyExistsError):
        write_secret_file(root, ".env", "env", ENTRY)
    assert (root / ".env").read_text() == "old"


def test_an_existing_file_is_replaced_whole(root: Path) -> None:
    """By a new private file: who has the old one open, or another name for it, keeps the old content."""
    (root / ".env").write_text("old")
    (root / ".env").chmod(0o644)
    (root / "other-name").hardlink_to(root / ".env")
    with (root / ".env").open() as kept:
        write_secret_file(root, ".env", "env", ENTRY, replaces=True)
        assert kept.read() == "old"
    assert (root / ".env").read_bytes() == LINE
    assert (root / "other-name").read_text() == "old"
    assert stat.S_IMODE((root / ".env").stat().st_mode) == 0o600
    assert files(root) == [".env", "other-name"]


def test_replacing_nothing_is_writing(root: Path) -> None:
    """The permission to replace needs nothing to replace."""
    write_secret_file(root, ".env", "env", ENTRY, replaces=True)
    assert (root / ".env").read_bytes() == LINE


@pytest.mark.parametrize(
    "path",
    ["../outside", "deep/../../outside", "deep/../.env", "/etc/outside", "{root}/../outside", "{root}-beside/x", "/{root}/x"],
)
@pytest.mark.parametrize("replaces", [False, True])
def test_a_path_outside_the_root_is_refused(root: Path, path: str, *, replaces: bool) -> None:
    """By its names alone."""
    with pytest.raises(SecretFileRefusedError):
        write_secret_file(root, path.format(root=root), "env", ENTRY, replaces=replaces)
    assert files(root.parent) == []


@pytest.mark.parametrize(
    "path", ["", ".", "/", "deep/", "{root}", "a\0b", "a\nb", "\ud800", "deep/.g\u200cit/x", "/".join("a" * (MAX_PARTS + 1))]
)
def test_what_is_no_path_of_a_file_is_refused(root: Path, path: str) -> None:
    """Before anything is opened."""
    with pytest.raises((InvalidArgumentError, SecretFileRefusedError)):
        write_secret_file(root, path.format(root=root), "env", ENTRY)


@pytest.mark.parametrize("replaces", [False, True])
@pytest.mark.parametrize("target", ["inside", "outside", "nowhere"])
def test_a_symbolic_link_is_not_followed(root: Path, tmp_path: Path, target: str, *, replaces: bool) -> None:
    """As the file or as a folder on the way, wherever it leads."""
    (tmp_path / "outside").mkdir()
    (root / "inside").mkdir()
    leads_to = {"inside": root / "inside", "outside": tmp_path / "outside", "nowhere": root / "nowhere"}[target]
    (root / "folder").symlink_to(leads_to)
    (root / "file").symlink_to(leads_to / "file")
    for path in ("folder/.env", "file"):
        with pytest.raises(SecretFileRefusedError):
            write_secret_file(root, path, "env", ENTRY, replaces=replaces)
    assert files(tmp_path) == ["root/file", "root/folder"] or files(tmp_path) == ["root/file"]
    assert not (leads_to / "file").exists()


def test_the_root_may_be_reached_by_a_link(root: Path, tmp_path: Path) -> None:
    """How the operator writes it is the operator's business."""
    (tmp_path / "alias").symlink_to(root)
    write_secret_file(tmp_path / "alias", "deep/.env", "env", ENTRY)
    assert (root / "deep" / ".env").read_bytes() == LINE


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
@pytest.mark.parametrize("replaces", [False, True])
def test_what_is_no_regular_file_is_left_alone(root: Path, make: Callable[[Path], None], *, replaces: bool) -> None:
    """A folder, a FIFO on which a writer would hang."""
    make(root / ".env")
    with pytest.raises(SecretFileRefusedError):
        write_secret_file(root, ".env", "env", ENTRY, replaces=replaces)


@pytest.mark.parametrize("path", ["missing/.env", "x" * 300])
def test_what_the_system_refuses_is_one_sentence(root: Path, path: str) -> None:
    """No folder is made, and nothing is left."""
    with pytest.raises(FileAccessError):
        write_secret_file(root, path, "env", ENTRY)
    with pytest.raises(FileAccessError):
        write_secret_file(root / "missing", ".env", "env", ENTRY)
    assert files(root) == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_what_was_there(root: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old file whole, or no file; and no rest beside it."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    (root / "old").write_text("old")
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(FileAccessError, match="space"):
        write_secret_file(root, "old", "env", ENTRY, replaces=True)
    if call == "fsync":
        with pytest.raises(FileAccessError):
            write_secret_file(root, "new", "env", ENTRY)
    assert files(root) == ["old"]
    assert (root / "old").read_text() == "old"


def test_what_happens_between_a_look_and_the_act_is_found(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that comes to stand there is not overwritten; a folder that is exchanged is not asked about."""
    real = os.path.realpath

    def a_file_appears(path: Path) -> str:
        (root / "deep" / ".env").write_text("theirs")
        return real(path)

    def the_folder_goes(path: Path) -> str:
        (root / "deep").rename(root / "gone")
        (root / "deep").mkdir()
        return real(path)

    monkeypatch.setattr(os.path, "realpath", a_file_appears)
    with pytest.raises(AlreadyExistsError):
        write_secret_file(root, "deep/.env", "env", ENTRY)
    assert (root / "deep" / ".env").read_text() == "theirs"
    monkeypatch.setattr(os.path, "realpath", the_folder_goes)
    with pytest.raises(SecretFileRefusedError, match="exchanged"):
        write_secret_file(root, "deep/.env", "env", ENTRY, replaces=True)
    assert files(root) == ["gone/.env"]


def test_a_system_that_can_not_walk_folders_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than writing by the path."""
    monkeypatch.setattr(os, "supports_dir_fd", set())
    with pytest.raises(SecretFileRefusedError, match="links"):
        write_secret_file(root, ".env", "env", ENTRY)


def test_a_relative_root_is_a_mistake_of_ours() -> None:
    """It would depend on where this process was started."""
    with pytest.raises(ValueError, match="absolute"):
        write_secret_file(Path("here"), ".env", "env", ENTRY)


def test_a_folder_that_is_exchanged_all_the_time_leads_nowhere_else(root: Path, tmp_path: Path) -> None:
    """Another program swaps the folder for a link to the outside, again and again, while files are written."""
    outside, real, spare = tmp_path / "outside", root / "real", root / "spare"
    outside.mkdir()
    real.mkdir()
    spare.symlink_to(outside)
    stop = threading.Event()

    def exchange() -> None:
        while not stop.is_set():
            real.rename(root / "aside")
            spare.rename(real)
            real.rename(spare)
            (root / "aside").rename(real)

    thread = threading.Thread(target=exchange)
    thread.start()
    written = 0
    try:
        for number in range(400):
            try:
                write_secret_file(root, f"real/{number}", "raw", ENTRY)
            except (SecretFileRefusedError, FileAccessError):
                continue
            written += 1
    finally:
        stop.set()
        thread.join()
    assert list(outside.iterdir()) == []
    assert len(list(real.iterdir())) == written


def test_a_file_has_a_cap(root: Path) -> None:
    """More than that is no secret."""
    with pytest.raises(InvalidArgumentError):
        write_secret_file(root, "x", "raw", {"": secret("x" * (MAX_CONTENT + 1))})
    assert files(root) == []
