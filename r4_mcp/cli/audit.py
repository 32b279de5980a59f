"""``r4-mcp audit``: the audit log for people, one line an entry; no tool reaches this.

What this file does not do: change the log.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

from r4_mcp.errors import InvalidArgumentError
from r4_mcp.policy.audit_format import CURRENT, MAX_ANCHOR, AuditLine, Head, rotated_files
from r4_mcp.policy.audit_verify import Broken, Intact, Kind, Piece, pieces_after, read_head, verify, write_head
from r4_mcp.policy.views import display
from r4_mcp.vault.locked_file import LockedFile
from r4_mcp.vault.references import write_reference

POLL_SECONDS: Final = 0.5
BACKLOG: Final = 10
"""Entries that ``--follow`` begins with."""

_NOTHING: Final = "Nothing was logged yet."
_TOLD: Final = {
    Kind.CHANGED: "this line was changed",
    Kind.INSERTED: "this line was inserted",
    Kind.REMOVED: "something was removed before this line",
    Kind.MOVED: "this line was moved here, or others away",
    Kind.CUT: "lines at the end are missing: the exported head lies beyond it",
    Kind.REWRITTEN: "the log was written anew: the exported head belongs to another line than this",
}


@dataclass(frozen=True, slots=True)
class Report:
    """Lines for a person, and whether all is well: the exit status."""

    lines: list[str]
    good: bool


def entries(folder: Path, limit: int | None = None, *, as_json: bool = False) -> list[str]:
    """Return the log as lines, oldest first, unverified.

    Args:
        folder: The log's folder.
        limit: Most entries, counted from the end; None for all.
        as_json: Each line is a JSON object, for programs; an empty log has none.

    Raises:
        FileAccessError: A file can't be read.
    """
    pieces = pieces_after(folder, 0, limit)
    return [_json(piece) for piece in pieces] if as_json else [_entry(piece) for piece in pieces] or [_NOTHING]


def verification(folder: Path, exported: str | None = None) -> Report:
    """Verify the log.

    Args:
        folder: The log's folder, or a copy of it.
        exported: What ``head`` returned earlier, kept elsewhere.

    Raises:
        FileAccessError: A file can't be read.
        BusyError: The log was rotated again and again meanwhile.
        InvalidArgumentError: Not an exported head.
    """
    found = verify(folder, None if exported is None else _exported(exported))
    if isinstance(found, Broken):
        where = f"line {found.number} of {found.file}" if found.number else f"the end of {found.file}"
        return Report(
            [f"BROKEN at {where}: {_TOLD[found.kind]} ({found.kind.value}).", "What follows is not verified."], good=False
        )
    return Report(_intact(found, compared=exported is not None), good=True)


def head(folder: Path) -> Report:
    """Return the end of the chain for export, if the chain holds: keep it elsewhere and give it to ``verification`` later.

    Raises:
        FileAccessError: A file can't be read.
        BusyError: The log was rotated again and again meanwhile.
    """
    found = verify(folder)
    return Report([write_head(found.head)], good=True) if isinstance(found, Intact) else verification(folder)


async def follow(
    folder: Path, *, backlog: int = BACKLOG, interval: float = POLL_SECONDS, as_json: bool = False
) -> AsyncIterator[str]:
    """Yield the last entries, then each new one as it is written, until cancelled.

    Args:
        folder: The log's folder; it may not exist yet.
        backlog: Entries to begin with.
        interval: Seconds between two looks, at most ``POLL_SECONDS``.
        as_json: As for ``entries``.

    Raises:
        FileAccessError: A file can't be read.
    """
    current = LockedFile(folder / CURRENT, MAX_ANCHOR)  # Its stamp only.
    seen = 0
    stamp: tuple[int, int, int] | None = None
    limit: int | None = backlog
    while True:
        now = await anyio.to_thread.run_sync(current.stamp)
        if now is None and not await anyio.to_thread.run_sync(rotated_files, folder):
            seen = 0  # There is no log, or not any more: the next one begins with 1.
        elif now != stamp or limit is not None:
            pieces = await anyio.to_thread.run_sync(pieces_after, folder, seen, limit)
            while pieces and pieces[-1].line is None:
                pieces.pop()  # It is told with the line that follows.
            for piece in pieces:
                yield _json(piece) if as_json else _entry(piece)
                seen = seen if piece.line is None else piece.line.head.sequence
        stamp, limit = now, None
        await anyio.sleep(min(interval, POLL_SECONDS))


def _entry(piece: Piece) -> str:
    if piece.line is None:
        odd = display(piece.raw.decode("utf-8", "backslashreplace"))
        return f"line {piece.number} of {piece.file} is no entry: {odd}"
    return _plain(piece.line)  # Printable ASCII of our own: a line with anything else is none.


def _json(piece: Piece) -> str:
    if piece.line is None:
        return json.dumps({"file": piece.file, "line": piece.number, "problem": "no entry"})
    line, entry = piece.line, piece.line.entry
    ids = [part for part in (entry.vault_id, entry.item_id, entry.field_id) if part is not None]
    return json.dumps(
        {
            "at": line.at,
            "sequence": line.head.sequence,
            "tool": entry.tool,
            "outcome": entry.outcome,
            "decision": None if entry.decision is None else entry.decision.value,
            "rule": entry.rule,
            "duration_ms": entry.duration_ms,
            "reference": write_reference(*ids) if ids else None,
            "torn": line.torn is not None,
        }
    )


def _plain(line: AuditLine) -> str:
    entry = line.entry
    ids = [part for part in (entry.vault_id, entry.item_id, entry.field_id) if part is not None]
    decided = "" if entry.decision is None else f"  {entry.decision.value}" + (f" ({entry.rule})" if entry.rule else "")
    place = f"  {write_reference(*ids)}" if ids else ""
    torn = "  (an unfinished line stands before it)" if line.torn else ""
    return f"{line.at}  #{line.head.sequence}  {entry.tool}  {entry.outcome}{decided}  {entry.duration_ms} ms{place}{torn}"


def _intact(found: Intact, *, compared: bool) -> list[str]:
    if found.head.sequence == 0:
        return [_NOTHING]
    lines = [f"intact: lines {found.first} to {found.head.sequence}", f"head: {write_head(found.head)}"]
    if found.first > 1:
        lines.append(f"The lines before {found.first} were dropped when their files were the oldest; they can't be verified.")
    if found.torn:
        lines.append(f"A process died while it wrote, before: {', '.join(map(str, found.torn))}. No other line is affected.")
    if found.unfinished:
        lines.append("The last line is unfinished: it is being written, or its process died.")
    if not compared:
        lines.append("Lines missing at the end show only by comparing: export the head, and give it to --verify later.")
    elif found.compared:
        lines.append("The exported head is in it: nothing up to that line was changed or removed.")
    else:
        lines.append("The exported head is older than what is kept: it could not be compared.")
    return lines


def _exported(text: str) -> Head:
    found = read_head(text)
    if found is None:
        raise InvalidArgumentError(
            "an exported head is of the form that `r4-mcp audit --head` prints: a number, a colon, 64 hex digits"
        )
    return found
