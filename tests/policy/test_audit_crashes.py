"""The audit log under many writers, and after the death of some: nothing is lost, and a death is told from tampering."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from pathlib import Path

import pytest

from r4_mcp.policy.audit import AuditLog
from r4_mcp.policy.audit_format import GENESIS
from r4_mcp.policy.audit_verify import Kind, pieces_after

from .audit_logs import broken, filled, intact, open_log
from .state_processes import KEEP_ALL, entry, python

SECONDS = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Name the folder of a log that does not exist yet."""
    return tmp_path / "audit"


@pytest.mark.parametrize("size", [8 * 1024 * 1024, 4096], ids=["one file", "many files"])
def test_a_thousand_appends_of_processes_and_threads_are_one_chain(folder: Path, size: int) -> None:
    """Four processes with five threads each, fifty lines a thread: all are there, as often as written, and the chain holds."""
    running = [subprocess.Popen(python("audit", str(folder), "5", "50", str(size))) for _ in range(4)]
    assert [process.wait(SECONDS) for process in running] == [0] * 4
    assert intact(folder).head.sequence == 1000
    lines = [json.loads(line) for path in folder.glob("audit*.jsonl") for line in path.read_bytes().splitlines()]
    assert sorted(line["ms"] for line in lines) == sorted(list(range(50)) * 20)
    assert sorted(line["seq"] for line in lines) == list(range(1, 1001))


@pytest.mark.parametrize("size", [8 * 1024 * 1024, 2048], ids=["one file", "many files"])
def test_a_killed_writer_leaves_a_chain_that_the_next_one_continues(folder: Path, size: int) -> None:
    """Killed at ten moments that nobody chose: what was acknowledged is there, the chain holds, and the next process goes on."""
    heads = [GENESIS]
    for _ in range(10):
        acknowledged = random.randint(1, 60)  # noqa: S311 - a moment, not a secret
        with subprocess.Popen(python("forever", str(folder), str(size)), stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for _ in range(acknowledged):
                assert writer.stdout.readline() == b"appended\n"
            writer.send_signal(signal.SIGKILL)
        found = intact(folder, heads[-1])
        assert found.head.sequence >= heads[-1].sequence + acknowledged
        assert found.compared or heads[-1] == GENESIS
        AuditLog(folder, lambda: 0.0, max_size=size, keep=KEEP_ALL).append(entry(7))
        heads.append(intact(folder, found.head).head)
        assert heads[-1].sequence == found.head.sequence + 1


def test_a_torn_line_is_told_from_tampering_wherever_it_was_torn(folder: Path) -> None:
    """Cut after any byte of the last line, once and twice, the log goes on; the verification names the line and sees no break."""
    path = filled(folder, 3)
    whole = path.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    for length in range(start, len(whole)):
        path.write_bytes(whole[:length])
        cut = intact(folder)
        complete = length == len(whole) - 1  # Only its newline is missing: the line counts.
        assert (cut.head.sequence, cut.unfinished) == (3 if complete else 2, start < length < len(whole) - 1)
        open_log(folder).append(entry(8))
        after = path.read_bytes()
        path.write_bytes(after[: length + 2])  # The next writer dies too, one byte into its own line.
        open_log(folder).append(entry(9))
        open_log(folder).append(entry(9))
        found = intact(folder)
        assert found.head.sequence == (5 if complete else 4)
        assert found.torn == ((4,) if complete else (3,)), length
        assert not found.unfinished


def test_garbage_of_a_power_cut_is_a_torn_end(folder: Path) -> None:
    """Zeros, more of them than are read at once, are stepped over, also at the very beginning."""
    path = filled(folder, 2)
    with path.open("ab") as file:
        file.write(b"\0" * 100_000)
    open_log(folder).append(entry(3))
    assert (intact(folder).head.sequence, intact(folder).torn) == (3, (3,))
    path.write_bytes(b"\0" * 10)
    open_log(folder).append(entry(1))
    assert (intact(folder).head.sequence, intact(folder).torn) == (1, (1,))


def test_what_is_cut_by_reading_backwards_is_no_line(folder: Path) -> None:
    """Where a block that is read begins in the middle of garbage, what follows there is not taken for a line."""
    path = filled(folder, 1)
    line = path.read_bytes()
    path.write_bytes(b"garbage" + line + b"\0" * (8 * 1024 - len(line)))
    open_log(folder).append(entry(2))
    assert pieces_after(folder, 0)[-1].line is not None
    assert [piece.line.head.sequence for piece in pieces_after(folder, 0) if piece.line] == [1]


def test_a_torn_line_at_the_end_of_a_full_file_is_named_there(folder: Path) -> None:
    """The file grows over its size by one line rather than that its torn end is named in the next one."""
    path = filled(folder, 4)
    with path.open("ab") as file:
        file.write(b'{"at"')
    log = AuditLog(folder, lambda: 0.0, max_size=1000, keep=KEEP_ALL)
    for number in range(3):
        log.append(entry(number))
    assert (intact(folder).head.sequence, intact(folder).torn) == (7, (5,))
    assert (folder / f"audit-{5:016d}.jsonl").read_bytes().count(b"\n") == 6


def test_a_full_file_is_synced_before_it_is_renamed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut must not take the end of a full file and leave the next one."""
    log = AuditLog(folder, lambda: 0.0, max_size=700, keep=KEEP_ALL)
    log.append(entry(0))
    log.append(entry(1))
    calls: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def note_fsync(descriptor: int) -> None:
        calls.append("fsync")
        fsync(descriptor)

    def note_rename(path: Path, target: Path) -> Path:
        calls.append("rename")
        return rename(path, target)

    monkeypatch.setattr("os.fsync", note_fsync)
    monkeypatch.setattr(Path, "rename", note_rename)
    log.append(entry(2))
    log.append(entry(3))
    assert calls == ["fsync", "rename"]


def test_another_process_may_append_in_between(folder: Path) -> None:
    """What others added, whole or torn, is taken up; the own memory is no more than a short cut."""
    mine, other = open_log(folder), open_log(folder)
    mine.append(entry(1))
    other.append(entry(2))
    mine.append(entry(3))
    with (folder / "audit.jsonl").open("ab") as file:
        file.write(b'{"at":"20')
    mine.append(entry(4))
    assert (intact(folder).head.sequence, intact(folder).torn) == (4, (4,))


def test_a_running_process_shows_what_was_removed_under_it(folder: Path) -> None:
    """Rule 4: lines that are cut off, or a whole log that is deleted, leave a gap that stays visible."""
    log = open_log(folder)
    for number in range(5):
        log.append(entry(number))
    path = folder / "audit.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]))
    assert intact(folder).head.sequence == 3
    log.append(entry(6))
    assert broken(folder) == (Kind.REMOVED, "audit.jsonl", 4)
    path.unlink()
    log.append(entry(7))
    assert broken(folder) == (Kind.REMOVED, "audit.jsonl", 1)
    assert json.loads(path.read_bytes())["seq"] == 7


@pytest.mark.parametrize("call", ["rename", "replace", "unlink"])
def test_a_process_that_dies_while_it_rotates_leaves_a_chain(folder: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """After the rename, before the anchor, before the removal: the chain holds, and the next process goes on."""

    class DiedError(BaseException):
        """Not an Exception, so that nothing tidies up by accident."""

    def die(*_: object) -> None:
        raise DiedError

    def rename_and_die(path: Path, target: Path) -> None:
        os.link(path, target)
        path.unlink()
        raise DiedError

    log = AuditLog(folder, lambda: 0.0, max_size=2048, keep=2)
    died = 0
    for number in range(40):
        with monkeypatch.context() as patched:
            patched.setattr(Path, call, rename_and_die if call == "rename" else die)
            try:
                log.append(entry(number))
            except DiedError:
                died += 1
                head = intact(folder).head
                log = AuditLog(folder, lambda: 0.0, max_size=2048, keep=2)
                patched.undo()
                log.append(entry(number))
                assert intact(folder).head.sequence == head.sequence + 1 == number + 1
    assert died >= 3
    assert intact(folder).head.sequence == 40
    for number in range(10):
        log.append(entry(number))
    assert intact(folder).head.sequence == 50
    assert len(list(folder.glob("audit-*.jsonl"))) == 1


def test_a_full_disk_is_an_error_and_the_log_goes_on_when_there_is_room(folder: Path) -> None:
    """The system cuts a line in the middle and then refuses: both are errors. The half line is stepped over later."""
    done = subprocess.run(python("limited", str(folder), "5000"), capture_output=True, text=True, check=True, timeout=SECONDS)
    first, second = done.stdout.splitlines()
    assert first.startswith("file_access ")
    assert "only a part" in first
    assert second.startswith("file_access ")
    assert "File too large" in second
    assert (folder / "audit.jsonl").stat().st_size == 5000
    before = intact(folder)
    assert before.unfinished
    open_log(folder).append(entry(1))
    after = intact(folder, before.head)
    assert (after.head.sequence, after.torn) == (before.head.sequence + 1, (before.head.sequence + 1,))
