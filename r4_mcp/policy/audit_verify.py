"""The audit log read back: its lines, and whether its chain holds.

What this file does not do: mend, or take a lock: it reads a copy of the folder as well as the folder itself.

What the verification finds, and what it can't find:
1. A line that was changed, inserted, removed or moved breaks the chain at that place. The kind that is told is the simplest
   change that explains the break; what lies behind it is not judged.
2. Lines that are missing at the end leave a chain that holds. So does a chain that somebody wrote anew from some line on: it has
   no key. Both are found by comparing with a head that was exported before and is kept elsewhere.
3. Where the oldest files are gone, the chain is verified from the anchor on. Somebody who removes them and writes an anchor looks
   the same; ``Intact.first`` tells with which line the log begins.
4. What a dead writer left in the middle of a line is no break, as long as the next line names it and it does not end like a whole
   line. At the end of the log it is told as unfinished: it may be a line that is being written right now.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from r4_mcp.errors import BusyError
from r4_mcp.policy.audit_format import (
    ANCHOR,
    CURRENT,
    GENESIS,
    LARGEST_FILE,
    AuditLine,
    Head,
    last_sequence,
    read_anchor,
    read_line,
    rotated_files,
    split_lines,
    torn_digest,
)
from r4_mcp.vault.locked_file import LockedFile, read_private

_TRIES: Final = 5
_MAX_DIGITS: Final = 16


class Kind(StrEnum):
    """What seems to have been done to a log."""

    CHANGED = "changed"
    INSERTED = "inserted"
    REMOVED = "removed"
    MOVED = "moved"
    CUT = "cut"
    """Lines at the end are missing: the exported head lies beyond it."""
    REWRITTEN = "rewritten"
    """Where the exported head was, there is another line now."""


@dataclass(frozen=True, slots=True)
class Intact:
    """A log whose chain holds.

    Attributes:
        head: Its end, to be exported and compared later.
        first: Sequence number with which it begins: 1, unless the oldest files are gone.
        torn: Sequence numbers of lines before which a dead writer left something.
        unfinished: Whether it ends in the middle of a line.
        compared: Whether it was compared with an exported head; False also if the files of that time are gone.
    """

    head: Head
    first: int
    torn: tuple[int, ...]
    unfinished: bool
    compared: bool


@dataclass(frozen=True, slots=True)
class Broken:
    """A log whose chain does not hold.

    Attributes:
        kind: What seems to have been done to it.
        file: Name of the file.
        number: Number of the first broken line in it, from 1; where lines are missing, of the line after them; 0 for its end.
    """

    kind: Kind
    file: str
    number: int


@dataclass(frozen=True, slots=True)
class Piece:
    """What stands between two newlines.

    Attributes:
        file: Name of its file.
        number: Its number there, from 1.
        raw: Its bytes.
        line: The line that it is; None if it is none of this log.
    """

    file: str
    number: int
    raw: bytes
    line: AuditLine | None


def verify(folder: Path, exported: Head | None = None) -> Intact | Broken:
    """Verify the chain of a log; one that was never written is intact.

    Args:
        folder: The log's folder, or a copy of it.
        exported: A head that an earlier verification returned (rule 2).

    Raises:
        FileAccessError: A file can't be read, or the anchor is damaged.
        BusyError: The log was rotated again and again meanwhile.
    """
    for _ in range(_TRIES):
        before = _standing(folder)
        try:
            result = _walk(folder, before, exported)
        except FileNotFoundError:
            continue  # Renamed or removed by a rotation.
        if _standing(folder) == before:
            return result
    raise BusyError(f"{folder} was rotated {_TRIES} times while it was read")


def pieces_after(folder: Path, sequence: int, limit: int | None = None) -> list[Piece]:
    """Return what follows the line of a sequence number, oldest first, unverified. Only what is returned is parsed.

    Args:
        folder: The log's folder.
        sequence: 0 for everything.
        limit: Most pieces, counted from the end; None for all.

    Raises:
        FileAccessError: A file can't be read.
    """
    found: list[Piece] = []
    for piece in _backwards(folder):
        if (piece.line is not None and piece.line.head.sequence <= sequence) or len(found) == limit:
            break
        found.append(piece)
    return found[::-1]


def read_head(text: str) -> Head | None:
    """Read an exported head, ``<sequence>:<hash>``; None if it is not one."""
    number, _, digest = text.strip().partition(":")
    counts = number.isascii() and number.isdigit() and len(number) <= _MAX_DIGITS
    return Head(int(number), digest.lower()) if counts and len(digest) == len(GENESIS.digest) else None


def write_head(head: Head) -> str:
    """Write a head for export."""
    return f"{head.sequence}:{head.digest}"


@dataclass(frozen=True, slots=True)
class _Standing:
    """Which files there are. The same before and after reading means that no rotation came in between."""

    anchor: Head
    names: tuple[str, ...]
    inode: int | None


def _standing(folder: Path) -> _Standing:
    anchor = read_anchor(folder)
    # A file that the anchor covers was about to be removed when its process died.
    names = tuple(name for name in rotated_files(folder) if last_sequence(name) > anchor.sequence)
    stamp = LockedFile(folder / CURRENT, LARGEST_FILE).stamp()
    return _Standing(anchor, names, None) if stamp is None else _Standing(anchor, (*names, CURRENT), stamp[0])


def _forwards(folder: Path, names: tuple[str, ...]) -> Iterator[Piece]:
    for name in names:
        for number, raw in enumerate(split_lines(read_private(folder / name, LARGEST_FILE))[0], 1):
            yield Piece(name, number, raw, read_line(raw))


def _backwards(folder: Path) -> Iterator[Piece]:
    names = [CURRENT]
    earliest: int | None = None
    while names:
        name = names.pop()
        try:
            raw_lines, ended = split_lines(read_private(folder / name, LARGEST_FILE))
        except FileNotFoundError:
            raw_lines, ended = [], True  # Not written yet, or removed by a rotation.
        for number in range(len(raw_lines) if ended else len(raw_lines) - 1, 0, -1):  # The rest is still being written.
            piece = Piece(name, number, raw_lines[number - 1], read_line(raw_lines[number - 1]))
            earliest = piece.line.head.sequence if piece.line is not None else earliest
            yield piece
        if name == CURRENT:
            # Listed after the current file was read, so that a rotation in between hides nothing; what it moved is left out.
            names = [name for name in rotated_files(folder) if earliest is None or last_sequence(name) < earliest]


def _walk(folder: Path, standing: _Standing, exported: Head | None) -> Intact | Broken:
    head = standing.anchor
    state = Intact(head, head.sequence + 1, (), unfinished=False, compared=head == exported)
    if exported is not None and exported.sequence == head.sequence and exported != head:
        return Broken(Kind.REWRITTEN, ANCHOR, 1)
    last: Piece | None = None
    left: list[Piece] = []
    stream = _forwards(folder, standing.names)
    for piece in stream:
        line = piece.line
        if line is None:
            left.append(piece)
            continue
        if not _follows(head, left, line):
            return _judge(head, last, left, piece, line, stream)
        if exported is not None and exported.sequence == line.head.sequence:
            if exported != line.head:
                return Broken(Kind.REWRITTEN, piece.file, piece.number)
            state = replace(state, compared=True)
        if left:
            state = replace(state, torn=(*state.torn, line.head.sequence))
        head, last, left = line.head, piece, []
    if not _is_torn(left):
        return _broken(Kind.CHANGED, left[0])
    if exported is not None and exported.sequence > head.sequence:
        return Broken(Kind.CUT, CURRENT, 0)
    return replace(state, head=head, unfinished=bool(left))


def _follows(head: Head, left: list[Piece], line: AuditLine) -> bool:
    named = line.torn == torn_digest([torn.raw for torn in left])
    return _links(head, line) and named and _is_torn(left)


def _links(head: Head, line: AuditLine) -> bool:
    return line.head.sequence == head.sequence + 1 and line.previous == head.digest


def _is_torn(left: list[Piece]) -> bool:
    """Say whether pieces can be what dead writers left: none ends like a whole line (rule 4)."""
    return not any(piece.raw.endswith(b"}") for piece in left)


def _judge(head: Head, last: Piece | None, left: list[Piece], piece: Piece, line: AuditLine, stream: Iterator[Piece]) -> Broken:
    """Name the simplest change that explains why a line does not follow (rule 1)."""
    number = line.head.sequence
    if left:
        # Pieces that an intact link steps over, and that no line names, were put there; else a line was made unreadable.
        return _broken(Kind.INSERTED if _links(head, line) and line.torn is None else Kind.CHANGED, left[0])
    if _links(head, line):
        return _broken(Kind.REMOVED, piece)  # What ``torn`` names is gone.
    after = [later.line for later in stream if later.line is not None]
    if number > head.sequence + 1:
        moved = any(later.head.sequence == head.sequence + 1 for later in after)
        return _broken(Kind.MOVED if moved else Kind.REMOVED, piece)
    linked_on = bool(after) and after[0].previous == line.head.digest
    if number <= head.sequence:
        # Of two lines with one number, the one that the following line links to is the old one.
        twin = last if linked_on and number == head.sequence and line.head != head else None
        return _broken(Kind.INSERTED, twin or piece)
    if after and _links(head, after[0]):
        return _broken(Kind.INSERTED, piece)
    # The number is right and the link is not: the line before was changed, or the link of this one.
    return _broken(Kind.CHANGED, (last if linked_on or not after else None) or piece)


def _broken(kind: Kind, piece: Piece) -> Broken:
    return Broken(kind, piece.file, piece.number)
