"""What somebody does to the audit log is found where it was done, or is one of the things that the documentation names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from r4_mcp.errors import BusyError, FileAccessError
from r4_mcp.policy.audit import AuditEntry, AuditLog
from r4_mcp.policy.audit_format import GENESIS, Head, digest, read_line, rfc3339, torn_digest, write_anchor, write_line
from r4_mcp.policy.audit_verify import Kind, pieces_after, read_head, verify, write_head
from r4_mcp.vault.locked_file import LockedFile, read_private

from .audit_logs import broken, filled, intact, open_log
from .state_processes import KEEP_ALL, entry

CURRENT = "audit.jsonl"
Lines = list[bytes]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Name the folder of a log that does not exist yet."""
    return tmp_path / "audit"


def edited(line: bytes, **members: object) -> bytes:
    """Change members of a line, and nothing else of it."""
    return json.dumps({**json.loads(line), **members}, separators=(",", ":"), sort_keys=True).encode()


def after(line: bytes, entry: AuditEntry, torn: str | None = None) -> bytes:
    """Write a line that follows another one, as this program would."""
    return write_line(entry, rfc3339(0), Head(json.loads(line)["seq"], digest(line)), torn)


def rewritten(lines: Lines, start: int) -> Lines:
    """Change a line and write all after it anew, as somebody does who knows the format."""
    new = [*lines[:start], edited(lines[start], ms=999)]
    for line in lines[start + 1 :]:
        new.append(edited(line, prev=digest(new[-1])))
    return new


FORGED = AuditEntry("whoami", "ok", 1)

TAMPERED: dict[str, tuple[Callable[[Lines], Lines], Kind, int]] = {
    "a member of a line changed": (lambda x: [*x[:2], edited(x[2], ms=5), *x[3:]], Kind.CHANGED, 3),
    "a member of the first line changed": (lambda x: [edited(x[0], ms=5), *x[1:]], Kind.CHANGED, 1),
    "a member of the last line but one changed": (lambda x: [*x[:-2], edited(x[-2], ms=5), x[-1]], Kind.CHANGED, 7),
    "a link changed": (lambda x: [*x[:2], edited(x[2], prev="a" * 64), *x[3:]], Kind.CHANGED, 3),
    "a line made unreadable": (lambda x: [*x[:2], b"x" + x[2], *x[3:]], Kind.CHANGED, 3),
    "the last line made unreadable": (lambda x: [*x[:-1], b"x" + x[-1]], Kind.CHANGED, 8),
    "a line made empty": (lambda x: [*x[:2], b"", *x[3:]], Kind.CHANGED, 3),
    "two lines made one": (lambda x: [*x[:2], x[2] + x[3], *x[4:]], Kind.CHANGED, 3),
    "a line removed": (lambda x: [*x[:2], *x[3:]], Kind.REMOVED, 3),
    "the first line removed": (lambda x: x[1:], Kind.REMOVED, 1),
    "several lines removed": (lambda x: [*x[:2], *x[5:]], Kind.REMOVED, 3),
    "a line removed and the next one renumbered": (lambda x: [*x[:2], edited(x[3], seq=3), *x[4:]], Kind.CHANGED, 3),
    "two lines exchanged": (lambda x: [*x[:2], x[3], x[2], *x[4:]], Kind.MOVED, 3),
    "a line moved to the end": (lambda x: [*x[:2], *x[3:], x[2]], Kind.MOVED, 3),
    "the last line moved forward": (lambda x: [*x[:2], x[-1], *x[2:-1]], Kind.MOVED, 3),
    "a line twice": (lambda x: [*x[:3], x[2], *x[3:]], Kind.INSERTED, 4),
    "an old line again": (lambda x: [*x[:5], x[1], *x[5:]], Kind.INSERTED, 6),
    "an old line at the end": (lambda x: [*x, x[3]], Kind.INSERTED, 9),
    "a forged line that links": (lambda x: [*x[:3], after(x[2], FORGED), *x[3:]], Kind.INSERTED, 4),
    "a forged line that does not link": (
        lambda x: [*x[:3], edited(after(x[2], FORGED), prev="a" * 64), *x[3:]],
        Kind.INSERTED,
        4,
    ),
    "a forged line at the end that does not link": (lambda x: [*x, after(x[2], FORGED)], Kind.INSERTED, 9),
    "text inserted": (lambda x: [*x[:3], b"hello", *x[3:]], Kind.INSERTED, 4),
    "an empty line inserted": (lambda x: [*x[:3], b"", *x[3:]], Kind.INSERTED, 4),
    "a whole line passed off as torn": (
        lambda x: [*x[:2], b"x" + x[2], after(x[1], FORGED, torn_digest([b"x" + x[2]]))],
        Kind.CHANGED,
        3,
    ),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_tampering_is_found_where_it_was_done(folder: Path, how: str) -> None:
    """Each kind of change to a log of eight lines is told by its kind and its line."""
    tamper, kind, number = TAMPERED[how]
    path = filled(folder, 8)
    path.write_bytes(b"\n".join(tamper(path.read_bytes().splitlines())) + b"\n")
    assert broken(folder) == (kind, CURRENT, number)


def test_every_byte_of_every_line_counts(folder: Path) -> None:
    """Any byte before the last line set to another one breaks the chain at its line."""
    path = filled(folder, 3)
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1)
    for position in range(last + 1):
        for other in (whole[position] ^ 1, ord("\n")):
            if other != whole[position]:
                path.write_bytes(whole[:position] + bytes([other]) + whole[position + 1 :])
                assert broken(folder)[1:] == (CURRENT, 1 + whole.count(b"\n", 0, position)), (position, other)


def test_a_torn_line_can_not_be_changed_or_taken_away(folder: Path) -> None:
    """What a dead writer left is part of the chain once the next line named it."""
    path = filled(folder, 2)
    with path.open("ab") as file:
        file.write(b'{"at":"2027')
    open_log(folder).append(entry(3))
    open_log(folder).append(entry(4))
    lines = path.read_bytes().splitlines()
    assert intact(folder).torn == (3,)
    for change, kind, number in (
        ([*lines[:2], b'{"at":"2028', *lines[3:]], Kind.CHANGED, 3),
        ([*lines[:2], lines[2], b"{", *lines[3:]], Kind.CHANGED, 3),
        ([*lines[:2], *lines[3:]], Kind.REMOVED, 3),
    ):
        path.write_bytes(b"\n".join(change) + b"\n")
        assert broken(folder) == (kind, CURRENT, number)


def test_a_missing_end_shows_only_by_an_exported_head(folder: Path) -> None:
    """Without its last lines a log is intact; compared with a head from before it is not."""
    path = filled(folder, 8)
    head = intact(folder).head
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5]))
    assert intact(folder).head.sequence == 5
    assert broken(folder, head) == (Kind.CUT, CURRENT, 0)
    path.unlink()
    assert intact(folder).head == GENESIS
    assert broken(folder, head) == (Kind.CUT, CURRENT, 0)


@pytest.mark.parametrize("start", [0, 3, 6, 7])
def test_a_chain_written_anew_shows_only_by_an_exported_head(folder: Path, start: int) -> None:
    """Who knows the format can forge a chain that holds; it is another one than the one that was exported."""
    path = filled(folder, 8)
    head = intact(folder).head
    forged = rewritten(path.read_bytes().splitlines(), start)
    path.write_bytes(b"\n".join(forged) + b"\n")
    assert intact(folder).head.sequence == 8
    assert broken(folder, head) == (Kind.REWRITTEN, CURRENT, 8)


def test_an_exported_head_is_compared_when_the_log_has_grown(folder: Path) -> None:
    """Heads of all times fit; the spelling for export is read back, and nothing else is."""
    log = open_log(folder)
    heads = []
    for number in range(6):
        log.append(entry(number))
        heads.append(intact(folder).head)
    assert all(intact(folder, head).compared for head in heads)
    assert [read_head(write_head(head)) for head in heads] == heads
    assert broken(folder, Head(3, heads[3].digest)) == (Kind.REWRITTEN, CURRENT, 3)
    for text in (
        "",
        "3",
        ":",
        "3:",
        f"-3:{'a' * 64}",
        f"٣:{'a' * 64}",
        f"3:{'a' * 63}",
        f"{'9' * 17}:{'a' * 64}",
        f"3:{'a' * 65}",
    ):
        assert read_head(text) is None, text


@pytest.fixture
def rotated(folder: Path) -> Path:
    """Make a log of many files, of which the oldest are gone."""
    log = AuditLog(folder, lambda: 0.0, max_size=1500, keep=5)
    for number in range(40):
        log.append(entry(number))
    assert len(list(folder.glob("audit-*.jsonl"))) == 4
    return folder


def test_whole_files_are_not_taken_away_or_swapped(rotated: Path) -> None:
    """A full file that is missing, empty, or in another's place is found; so is a line of it that was changed."""
    names = sorted(path.name for path in rotated.glob("audit-*.jsonl"))
    whole = {name: (rotated / name).read_bytes() for name in [*names, CURRENT]}
    intact(rotated)
    (rotated / names[1]).unlink()
    assert broken(rotated) == (Kind.REMOVED, names[2], 1)
    (rotated / names[1]).write_bytes(b"")
    (rotated / names[1]).chmod(0o600)
    assert broken(rotated) == (Kind.REMOVED, names[2], 1)
    (rotated / names[1]).write_bytes(whole[names[2]])
    (rotated / names[2]).write_bytes(whole[names[1]])
    assert broken(rotated) == (Kind.MOVED, names[1], 1)
    (rotated / names[1]).write_bytes(whole[names[1]].replace(b'"ms":', b'"ms":1', 1))
    (rotated / names[2]).write_bytes(whole[names[2]])
    assert broken(rotated) == (Kind.CHANGED, names[1], 1)
    (rotated / names[1]).write_bytes(whole[names[1]] + b'{"at"')  # Nobody writes to a full file.
    assert broken(rotated) == (Kind.INSERTED, names[1], len(whole[names[1]].splitlines()) + 1)
    (rotated / names[1]).write_bytes(whole[names[1]])
    (rotated / names[0]).unlink()
    assert broken(rotated) == (Kind.REMOVED, names[1], 1)


def test_the_anchor_counts(rotated: Path) -> None:
    """Without its anchor the log begins in the middle; with another one its first line does not follow."""
    anchor = LockedFile(rotated / "anchor.json", 1024)
    first, right = intact(rotated).first, anchor.read()
    oldest = min(path.name for path in rotated.glob("audit-*.jsonl"))
    assert right is not None
    anchor.replace(write_anchor(Head(first - 1, "a" * 64)))
    assert broken(rotated) == (Kind.CHANGED, oldest, 1)
    assert broken(rotated, Head(first - 1, "b" * 64)) == (Kind.REWRITTEN, "anchor.json", 1)
    anchor.replace(write_anchor(Head(first - 2, "a" * 64)))
    assert broken(rotated) == (Kind.REMOVED, oldest, 1)
    anchor.replace(b"{}")
    with pytest.raises(FileAccessError, match="is damaged"):
        verify(rotated)
    anchor.path.unlink()
    assert broken(rotated) == (Kind.REMOVED, oldest, 1)
    anchor.replace(right)
    assert intact(rotated).first == first


def test_a_full_file_that_lost_its_lines_stays_visible_when_it_is_dropped(rotated: Path) -> None:
    """The anchor of a file without a whole line is one that nothing links to."""
    oldest = min(rotated.glob("audit-*.jsonl"))
    oldest.write_bytes(b"nothing\n")
    log = AuditLog(rotated, lambda: 0.0, max_size=1500, keep=5)
    while oldest.exists():
        log.append(entry(1))
    assert broken(rotated)[0] is Kind.CHANGED


def test_a_copy_is_verified_without_touching_it(rotated: Path, tmp_path: Path) -> None:
    """An auditor's copy needs no lock file and gets none; a folder that never was is an empty log and is not made."""
    copy = shutil.copytree(rotated, tmp_path / "copy", ignore=shutil.ignore_patterns("*.lock"))
    before = sorted(copy.iterdir())
    assert intact(copy) == intact(rotated)
    assert sorted(copy.iterdir()) == before
    assert intact(tmp_path / "never").head == GENESIS
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("keep", [KEEP_ALL, 2])
@pytest.mark.parametrize("rotations", [1, 4, 1000])
def test_a_rotation_while_reading_is_noticed(folder: Path, monkeypatch: pytest.MonkeyPatch, rotations: int, keep: int) -> None:
    """Files that move or go while they are read are read again; if they never stand still, that is said."""
    log = AuditLog(folder, lambda: 0.0, max_size=700, keep=keep)
    log.append(entry(0))
    left = rotations

    def rotate_and_read(path: Path, size: int) -> bytes:
        nonlocal left
        if left and (keep == 2 or path.name == CURRENT):
            left -= 1
            for number in range(3):
                log.append(entry(number))
        return read_private(path, size)

    monkeypatch.setattr("r4_mcp.policy.audit_verify.read_private", rotate_and_read)
    if rotations < 5:
        assert intact(folder).head.sequence == 1 + 3 * rotations
    else:
        with pytest.raises(BusyError, match="was rotated"):
            verify(folder)


def test_a_rotation_while_reading_backwards_hides_and_repeats_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read as the current file is not read again under its new name."""
    log = AuditLog(folder, lambda: 0.0, max_size=1500, keep=KEEP_ALL)
    for number in range(10):
        log.append(entry(number))

    def read_and_rotate(path: Path, size: int) -> bytes:
        raw = read_private(path, size)
        if path.name == CURRENT:
            for number in range(5):
                log.append(entry(number))
        return raw

    monkeypatch.setattr("r4_mcp.policy.audit_verify.read_private", read_and_rotate)
    seen = [piece.line.head.sequence for piece in pieces_after(folder, 0) if piece.line]
    assert seen == list(range(1, 11))


def test_only_what_is_new_is_returned(rotated: Path) -> None:
    """What follows a line comes in order, over the ends of files; a limit counts from the end; what is odd is kept."""
    head, first = intact(rotated).head.sequence, intact(rotated).first

    def sequences(sequence: int, limit: int | None = None) -> list[int]:
        return [piece.line.head.sequence for piece in pieces_after(rotated, sequence, limit) if piece.line]

    for sequence in (0, first, first + 3, head - 1, head, head + 5):
        assert sequences(sequence) == list(range(max(sequence + 1, first), head + 1))
    assert sequences(0, 7) == list(range(head - 6, head + 1))
    assert sequences(0, 0) == []
    with (rotated / CURRENT).open("ab") as file:
        file.write(b"odd\nunfinish")
    (piece,) = pieces_after(rotated, head)
    assert (piece.raw, piece.line, read_line(piece.raw)) == (b"odd", None, None)
