"""``r4-mcp audit`` shows people the log as it is, says what is broken, and follows it over the ends of files."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import anyio
import pytest

from r4_mcp.cli.audit import entries, follow, head, verification
from r4_mcp.errors import FileAccessError, InvalidArgumentError
from r4_mcp.policy.audit import AuditEntry, AuditLog
from r4_mcp.policy.model import Verdict
from r4_mcp.vault.locked_file import LockedFile

from .audit_logs import filled, intact, open_log
from .state_processes import entry, python

CURRENT: Final = "audit.jsonl"
AT: Final = "2027-01-15T08:00:00.000Z"
SECONDS: Final = 60
SOON: Final = 0.01


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Name the folder of a log that does not exist yet."""
    return tmp_path / "audit"


def test_an_entry_is_a_line(folder: Path) -> None:
    """Time, number, tool, outcome, decision, duration and reference, each where it is known; a limit counts from the end."""
    assert entries(folder) == ["Nothing was logged yet."]
    log = open_log(folder)
    log.append(AuditEntry("read_secret", "ok", 12, Verdict.ALLOW, "rule 4", "a" * 24, "b" * 24, "c" * 24))
    log.append(AuditEntry("list_items", "denied", 3, Verdict.DENY, vault_id="a" * 24))
    log.append(AuditEntry("unknown", "unknown_tool", 0))
    lines = [
        f"{AT}  #1  read_secret  ok  allow (rule 4)  12 ms  r4://{'a' * 24}/{'b' * 24}/{'c' * 24}",
        f"{AT}  #2  list_items  denied  deny  3 ms  r4://{'a' * 24}",
        f"{AT}  #3  unknown  unknown_tool  0 ms",
    ]
    assert entries(folder) == lines
    assert entries(folder, 2) == lines[1:]


def test_what_is_no_entry_is_shown_escaped(folder: Path) -> None:
    """What somebody wrote into the file can't drive a terminal, hide, or fill the screen."""
    path = filled(folder, 1)
    with path.open("ab") as file:
        file.write(b"\x1b[2J\xff\xe2\x80\xae gone\n" + b"x" * 5000 + b"\n")
    open_log(folder).append(entry(2))
    odd, long, last = entries(folder)[1:]
    assert odd == f"line 2 of {CURRENT} is no entry: \\u{{1b}}[2J\\xff\\u{{202e}} gone"
    assert len(long) < 600
    assert last.endswith("(an unfinished line stands before it)")
    assert all(line.isprintable() for line in (odd, long, last))


def test_the_head_is_exported_and_compared(folder: Path) -> None:
    """What ``--head`` prints is what ``--verify`` takes; a log that lost its end is found so."""
    assert verification(folder).lines == ["Nothing was logged yet."]
    path = filled(folder, 5)
    exported = head(folder)
    assert exported.good
    assert exported.lines == [f"5:{intact(folder).head.digest}"]
    plain, compared = verification(folder), verification(folder, f" {exported.lines[0]}\n")
    assert plain.good
    assert plain.lines[:2] == ["intact: lines 1 to 5", f"head: {exported.lines[0]}"]
    assert "only by comparing" in plain.lines[2]
    assert compared.good
    assert compared.lines[2].startswith("The exported head is in it")
    path.write_bytes(path.read_bytes()[:-400])
    cut = verification(folder, exported.lines[0])
    assert not cut.good
    assert cut.lines[0].startswith(f"BROKEN at the end of {CURRENT}: lines at the end are missing")
    with pytest.raises(InvalidArgumentError, match="of the form") as raised:
        verification(folder, "hunter2")
    assert "hunter2" not in raised.value.message


def test_a_broken_log_has_no_head(folder: Path) -> None:
    """The first broken line and its kind are told, and nothing is exported."""
    path = filled(folder, 5)
    path.write_bytes(path.read_bytes().replace(b'"ms":2', b'"ms":9'))
    for report in (verification(folder), head(folder)):
        assert not report.good
        assert report.lines == [
            f"BROKEN at line 3 of {CURRENT}: this line was changed (changed).",
            "What follows is not verified.",
        ]


def test_what_is_no_break_is_told_too(folder: Path) -> None:
    """Dropped files, deaths of writers, an unfinished end, and a head that is too old."""
    log = AuditLog(folder, lambda: 0.0, max_size=1500, keep=2)
    log.append(entry(0))
    old = head(folder).lines[0]
    for number in range(20):
        log.append(entry(number))
    for _ in range(2):
        with (folder / CURRENT).open("ab") as file:
            file.write(b'{"at"')
        open_log(folder).append(entry(1))
    with (folder / CURRENT).open("ab") as file:
        file.write(b'{"at"')
    report = verification(folder, old)
    assert report.good
    told = "\n".join(report.lines)
    assert f"intact: lines {intact(folder).first} to 23" in told
    assert "were dropped" in told
    assert "A process died while it wrote, before: 22, 23." in told
    assert "The last line is unfinished" in told
    assert "older than what is kept" in told


async def test_following_shows_the_last_entries_and_then_each_new_one(folder: Path) -> None:
    """A log is followed from its last entries on, while other processes write it and its files are rotated."""
    filled(folder, 30)
    writers = [subprocess.Popen(python("audit", str(folder), "2", "50", "2048")) for _ in range(2)]  # noqa: ASYNC220
    seen: list[int] = []
    with anyio.fail_after(SECONDS):
        async for line in follow(folder, backlog=3, interval=SOON):
            seen.append(int(line.split("#")[1].split()[0]))
            if seen[-1] == 230:
                break
    assert [writer.wait() for writer in writers] == [0, 0]
    assert seen == list(range(seen[0], 231))
    assert seen[0] >= 28


async def test_following_begins_before_the_log(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that is not there yet is waited for and shown from its first line; so is the one that replaces a deleted one."""
    shown: list[str] = []
    looks = 0

    def look(file: LockedFile) -> tuple[int, int, int] | None:
        nonlocal looks
        looks += 1
        return stamp(file)

    async def two_looks() -> None:
        wanted = looks + 2
        while looks < wanted:  # noqa: ASYNC110 - the looks happen in a thread
            await anyio.sleep(SOON)

    stamp = LockedFile.stamp
    monkeypatch.setattr(LockedFile, "stamp", look)
    send, receive = anyio.create_memory_object_stream[str](100)

    async def watch() -> None:
        async for line in follow(folder, backlog=1, interval=SOON):
            await send.send(line)

    with anyio.fail_after(SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            await two_looks()
            filled(folder, 3)
            shown += [await receive.receive() for _ in range(3)]
            (folder / CURRENT).unlink()
            await two_looks()
            filled(folder, 2)
            shown += [await receive.receive() for _ in range(2)]
            with (folder / CURRENT).open("ab") as file:
                file.write(b"torn\n")
            await two_looks()
            filled(folder, 1)
            shown += [await receive.receive() for _ in range(2)]
            tasks.cancel_scope.cancel()
    send.close()
    receive.close()
    assert [line.split("#")[1][0] for line in shown if "#" in line] == ["1", "2", "3", "1", "2", "3"]
    assert shown[5] == f"line 3 of {CURRENT} is no entry: torn"


async def test_following_an_unreadable_log_is_an_error(folder: Path) -> None:
    """A log that others can read is not followed in silence."""
    filled(folder, 1).chmod(0o644)
    with pytest.raises(FileAccessError, match="open to other users"):
        await anext(follow(folder, interval=SOON))
