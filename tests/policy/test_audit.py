"""The audit log is written by many at a time, survives their deaths, and says what it could not write."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r4_mcp.core.encoding import MAX_INT
from r4_mcp.errors import BusyError, FileAccessError
from r4_mcp.policy import audit
from r4_mcp.policy.audit import AuditEntry, AuditLog
from r4_mcp.policy.audit_format import GENESIS, Head, read_line, rfc3339, rotated_files, write_line
from r4_mcp.policy.audit_verify import verify
from r4_mcp.policy.model import Verdict
from r4_mcp.vault.locked_file import LockedFile

from .audit_logs import filled, intact, open_log
from .state_processes import entry

SECONDS = 60
IDS = st.text("0123456789abcdef", min_size=24, max_size=24)
WORDS = st.from_regex(r"[a-z][a-z0-9_]{0,63}", fullmatch=True)
ENTRIES = st.builds(
    AuditEntry,
    tool=WORDS,
    outcome=WORDS,
    duration_ms=st.integers(0, MAX_INT),
    decision=st.none() | st.sampled_from(Verdict),
    rule=st.none() | st.from_regex(r"[ !#-\[\]-z|~]{1,120}", fullmatch=True),
    vault_id=st.none() | IDS,
    item_id=st.none() | IDS,
    field_id=st.none() | IDS,
)
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Name the folder of a log that does not exist yet."""
    return tmp_path / "audit"


@given(ENTRIES, st.integers(0, MAX_INT - 1), DIGESTS, st.none() | DIGESTS)
def test_a_line_is_read_as_it_was_written(written: AuditEntry, sequence: int, previous: str, torn: str | None) -> None:
    """A line is one short piece of ASCII, comes back as it was, and no beginning of it is a line or ends like one."""
    raw = write_line(written, rfc3339(0), Head(sequence, previous), torn)
    line = read_line(raw)
    assert line is not None
    assert (line.entry, line.head.sequence, line.previous, line.torn) == (written, sequence + 1, previous, torn)
    assert len(raw) < 1024
    assert raw.isascii()
    assert raw.index(b"}") == len(raw) - 1
    assert not any(read_line(raw[:length]) for length in (0, 1, len(raw) // 2, len(raw) - 1))


@given(
    ENTRIES, st.sampled_from([(b":", b": "), (b"1970", b"\\u0031970"), (b"}", b',"x":1}'), (b'"v":1', b'"v":2'), (b"}", b"} ")])
)
def test_a_second_spelling_is_no_line(written: AuditEntry, edit: tuple[bytes, bytes]) -> None:
    """What says the same in other bytes, or says more, is not a line."""
    assert read_line(write_line(written, rfc3339(0), GENESIS, None).replace(*edit)) is None


@pytest.mark.parametrize(
    ("member", "text"),
    [
        ("tool", "Hunter2"),
        ("tool", "read secret"),
        ("tool", "a" * 65),
        ("outcome", "hunter2!"),
        ("outcome", ""),
        ("rule", "rule\n4"),
        ("rule", '"hunter2"'),
        ("rule", "{hunter2}"),
        ("rule", "x" * 121),
        ("vault_id", "Production"),
        ("item_id", "A" * 24),
        ("field_id", ""),
        ("duration_ms", -1),
    ],
)
def test_what_is_not_ours_has_no_place_in_an_entry(member: str, text: str | int) -> None:
    """Names, free text and values are refused where an entry is made, without being repeated."""
    with pytest.raises(ValueError, match="is not of its form") as raised:
        AuditEntry(**{"tool": "whoami", "outcome": "ok", "duration_ms": 0, member: text})  # type: ignore[arg-type]  # on purpose
    assert str(text) not in str(raised.value) or not text


def test_a_line_says_what_happened_and_links_to_the_one_before(folder: Path) -> None:
    """The members are exactly these; sequence numbers count; a clock that jumps back or out of range changes no order."""
    times = iter([1_800_000_000.0126, 5.0, -7.0, 1e30])
    log = AuditLog(folder, lambda: next(times))
    log.append(AuditEntry("read_secret", "ok", 12, Verdict.ALLOW, "rule 4", "a" * 24, "b" * 24, "c" * 24))
    for _ in range(3):
        log.append(AuditEntry("unknown", "unknown_tool", 0))
    lines = [json.loads(line) for line in (folder / "audit.jsonl").read_bytes().splitlines()]
    assert lines[0] == {
        "at": "2027-01-15T08:00:00.012Z",
        "decision": "allow",
        "field": "c" * 24,
        "item": "b" * 24,
        "ms": 12,
        "outcome": "ok",
        "prev": "0" * 64,
        "rule": "rule 4",
        "seq": 1,
        "tool": "read_secret",
        "torn": None,
        "v": 1,
        "vault": "a" * 24,
    }
    assert [line["seq"] for line in lines] == [1, 2, 3, 4]
    assert [line["at"][:4] for line in lines[1:]] == ["1970", "1970", "9999"]
    assert intact(folder).head.sequence == 4


def test_everything_is_private(folder: Path) -> None:
    """The folder is 0700; log, lock and anchor are 0600, whatever the umask is."""
    before = os.umask(0)
    try:
        log = AuditLog(folder, lambda: 0.0, max_size=1000, keep=2)
        for number in range(20):
            log.append(entry(number))
    finally:
        os.umask(before)
    assert {path.name for path in folder.iterdir()} >= {"audit.jsonl", "audit.jsonl.lock", "anchor.json"}
    for path in (folder, *folder.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path.name


def test_rotation_keeps_the_chain_and_the_newest_files(folder: Path) -> None:
    """Files stay under their size, no more than wanted are kept, and the verification begins at the anchor."""
    log = AuditLog(folder, lambda: 0.0, max_size=2048, keep=3)
    exported = []
    for number in range(60):
        log.append(entry(number))
        exported.append(intact(folder).head)
    files = sorted(folder.glob("audit*.jsonl"))
    assert len(files) == 3
    assert all(path.stat().st_size <= 2048 for path in files)
    found = intact(folder)
    assert found.first > 1
    first = min(json.loads(path.read_bytes().splitlines()[0])["seq"] for path in files)
    assert (found.first, found.head.sequence) == (first, 60)
    # Heads of all times can still be compared, save those whose files are gone.
    assert [intact(folder, head).compared for head in exported] == [head.sequence >= first - 1 for head in exported]


def test_a_file_in_the_way_of_the_rotation_is_not_overwritten(folder: Path) -> None:
    """Nothing that was logged is replaced."""
    log = AuditLog(folder, lambda: 0.0, max_size=700, keep=2)
    for number in range(2):
        log.append(entry(number))
    in_the_way = folder / f"audit-{2:016d}.jsonl"
    in_the_way.write_bytes(b"kept")
    with pytest.raises(FileAccessError, match="in the way"):
        log.append(entry(2))
    assert in_the_way.read_bytes() == b"kept"


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes to read-only folders")
def test_a_read_only_folder_is_an_error(folder: Path) -> None:
    """Where nothing can be written, the caller is told."""
    folder.mkdir(mode=0o500)
    with pytest.raises(FileAccessError):
        open_log(folder).append(entry(1))


def test_a_file_where_the_folder_belongs_is_an_error(folder: Path) -> None:
    """Where no folder can be, the caller is told; so is who verifies."""
    folder.write_bytes(b"in the way")
    with pytest.raises(FileAccessError):
        open_log(folder).append(entry(1))
    for look in (verify, rotated_files):
        with pytest.raises(FileAccessError):
            look(folder)


def replaced_by(make: Callable[[Path], None]) -> Callable[[Path], None]:
    """Return what puts another thing in a file's place."""

    def spoil(path: Path) -> None:
        path.rename(path.with_name("elsewhere"))
        make(path)

    return spoil


SPOILED: dict[str, tuple[Callable[[Path], None], str]] = {
    "open to others": (lambda path: path.chmod(0o640), "open to other users"),
    "a symbolic link": (replaced_by(lambda path: path.symlink_to("elsewhere")), "can't be used"),
    "a folder": (replaced_by(Path.mkdir), "can't be used"),
    "a named pipe": (replaced_by(lambda path: os.mkfifo(path, 0o600)), "not a regular file"),
    "of another user": (lambda path: os.chown(path, 12345, -1), "belongs to another user"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_log_that_is_not_ours_alone_is_not_written(folder: Path, how: str) -> None:
    """A file that others may read or swap takes no line, from who wrote it before and from a new process."""
    if how == "of another user" and os.geteuid() != 0:
        pytest.skip("only root can give files away")
    log = open_log(folder)
    log.append(entry(1))
    spoil, told = SPOILED[how]
    spoil(folder / "audit.jsonl")
    for writer in (log, open_log(folder)):
        with pytest.raises(FileAccessError, match=told):
            writer.append(entry(2))


def test_a_damaged_anchor_is_an_error(folder: Path) -> None:
    """An anchor in another spelling or form is not believed, where a new file would link to it."""
    filled(folder, 1)
    for damaged in (b"", b"{}", b'{"hash":"%s", "seq":1,"v":1}\n' % (b"0" * 64)):
        LockedFile(folder / "anchor.json", 1024).replace(damaged)
        (folder / "audit.jsonl").unlink(missing_ok=True)
        with pytest.raises(FileAccessError, match="is damaged"):
            open_log(folder).append(entry(1))


def test_a_log_that_others_hold_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that takes too long is waited for within a bound; what it writes is there in the end."""
    monkeypatch.setattr(audit, "LOCK_SECONDS", 0.01)
    begun, go_on = Event(), Event()

    def slow() -> float:
        begun.set()
        assert go_on.wait(SECONDS)
        return 0.0

    log = AuditLog(folder, slow)
    thread = Thread(target=log.append, args=(entry(1),))
    thread.start()
    assert begun.wait(SECONDS)
    with pytest.raises(BusyError, match="have held the lock"):
        log.append(entry(2))
    go_on.set()
    thread.join(SECONDS)
    assert intact(folder).head.sequence == 1


@pytest.mark.parametrize("limits", [{"max_size": 0}, {"max_size": 2**30}, {"keep": 1}])
def test_limits_have_limits(folder: Path, limits: dict[str, int]) -> None:
    """A log of no size, of files too large to read, or without a full file makes no sense."""
    with pytest.raises(ValueError, match="out of its range"):
        AuditLog(folder, lambda: 0.0, **limits)
