"""What the audit log looks like on disk: its lines, and the names of its files.

What this file does not do: write or lock a file (``audit`` does), or judge the chain (``audit_verify`` does).

Rules:
1. A line has exactly the members of ``_MEMBERS``: names and codes of ours, ids, numbers, hashes of lines. Nothing of a value has
   a place in it: no value, no length, no hash of one.
2. It is JSON with sorted keys and no spaces. Its only ``}`` is its last byte, so that the beginning of a line, which a writer
   that died may leave, never ends like a whole one.
3. ``prev`` is the SHA-256 over the exact bytes of the whole line before it, without its newline; ``torn`` is the one over what
   was left between the two, without the newline at its end.
4. Sequence numbers count the lines from 1. They order, times don't, so a clock may jump.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from r4_mcp.core.encoding import MAX_INT, compact_json, parse_json
from r4_mcp.core.record import exact, is_id
from r4_mcp.errors import FileAccessError, MalformedError
from r4_mcp.policy.model import Verdict
from r4_mcp.vault.locked_file import LockedFile

CURRENT: Final = "audit.jsonl"
ANCHOR: Final = "anchor.json"
LARGEST_FILE: Final = 64 * 1024 * 1024
"""Bytes of a file that is still read."""
MAX_ANCHOR: Final = 1024
LOOK: Final = "Stop every r4-mcp, move the folder of the log away to look into it, and start again: a new log begins."
"""The next step where the log itself is in doubt."""

_ROTATED: Final = re.compile(r"audit-[0-9]{16}\.jsonl", re.ASCII)
_WORD: Final = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_RULE: Final = re.compile(r"[ !#-\[\]-z|~]{1,120}", re.ASCII)
"""Printable ASCII without quotes, backslash and braces (rule 2)."""
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z", re.ASCII)
_LAST_SECOND: Final = 253_402_300_799
_MEMBERS: Final = frozenset(
    {"at", "decision", "field", "item", "ms", "outcome", "prev", "rule", "seq", "tool", "torn", "v", "vault"}
)
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What is noted of one tool call.

    Attributes:
        tool: A tool's name, or "unknown": never a name that the caller chose.
        outcome: "ok", or the code of an error.
        duration_ms: How long the call took, in milliseconds.
        decision: What the rules said; None where they were not asked.
        rule: The rule that decided, in a short text of ours.
        vault_id: The vault that the call reached; None for none.
        item_id: Its item.
        field_id: The item's field.

    Raises:
        ValueError: A member is not of that form; the message names it, never its text.
    """

    tool: str
    outcome: str
    duration_ms: int
    decision: Verdict | None = None
    rule: str | None = None
    vault_id: str | None = None
    item_id: str | None = None
    field_id: str | None = None

    def __post_init__(self) -> None:
        ids = (self.vault_id, self.item_id, self.field_id)
        for what, holds in (
            ("tool", _WORD.fullmatch(self.tool)),
            ("outcome", _WORD.fullmatch(self.outcome)),
            ("duration_ms", 0 <= self.duration_ms <= MAX_INT),
            ("rule", self.rule is None or _RULE.fullmatch(self.rule)),
            ("id", all(part is None or is_id(part) for part in ids)),
        ):
            if not holds:
                raise ValueError(f"an audit entry's {what} is not of its form")


@dataclass(frozen=True, slots=True)
class Head:
    """A place in the chain: a line's sequence number, and the SHA-256 over its bytes in hex."""

    sequence: int
    digest: str


GENESIS: Final = Head(0, "0" * 64)
"""What the first line of all links to."""


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One whole line.

    Attributes:
        entry: What it notes.
        at: When, RFC 3339 in UTC with milliseconds.
        head: Its own place in the chain.
        previous: The hash that it links to.
        torn: SHA-256 over what a dead writer left before it; None for nothing.
    """

    entry: AuditEntry
    at: str
    head: Head
    previous: str
    torn: str | None


def digest(content: bytes) -> str:
    """Return the SHA-256 of bytes in hex."""
    return hashlib.sha256(content).hexdigest()


def rfc3339(seconds: float) -> str:
    """Write seconds since 1970 in UTC with milliseconds; what the format can't hold becomes its nearest end."""
    whole, milliseconds = divmod(int(min(max(seconds, 0), _LAST_SECOND) * 1000), 1000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


def write_line(entry: AuditEntry, at: str, previous: Head, torn: str | None) -> bytes:
    """Write the line that follows a place in the chain, without its newline."""
    members = {
        "at": at,
        "decision": entry.decision,
        "field": entry.field_id,
        "item": entry.item_id,
        "ms": entry.duration_ms,
        "outcome": entry.outcome,
        "prev": previous.digest,
        "rule": entry.rule,
        "seq": previous.sequence + 1,
        "tool": entry.tool,
        "torn": torn,
        "v": _VERSION,
        "vault": entry.vault_id,
    }
    return compact_json(members).encode("ascii")


def read_line(raw: bytes) -> AuditLine | None:
    """Read one line without its newline; None if it is not a line of this log."""
    what = "audit line"
    try:
        record = exact(parse_json(raw, what=what), what, _MEMBERS)
        entry = AuditEntry(
            tool=record.text("tool"),
            outcome=record.text("outcome"),
            duration_ms=record.integer("ms"),
            decision=record.optional_choice("decision", Verdict),
            rule=record.optional_text("rule"),
            vault_id=record.optional_identifier("vault"),
            item_id=record.optional_identifier("item"),
            field_id=record.optional_identifier("field"),
        )
        previous = Head(record.integer("seq", minimum=1) - 1, record.hex_digest("prev"))
        torn = record.hex_digest("torn") if record.has("torn") else None
        at = record.text("at")
    except (MalformedError, ValueError):
        return None
    if not _TIME.fullmatch(at) or write_line(entry, at, previous, torn) != raw:
        return None  # Another spelling, or another version.
    return AuditLine(entry, at, Head(previous.sequence + 1, digest(raw)), previous.digest, torn)


def split_lines(raw: bytes) -> tuple[list[bytes], bool]:
    """Split bytes into lines without their newlines, and say whether the last one has its newline."""
    lines = raw.split(b"\n")
    return (lines, False) if lines[-1] else (lines[:-1], True)


def last_line(lines: list[bytes]) -> tuple[AuditLine | None, str | None]:
    """Find the last whole line, and hash what was left after it: None for nothing."""
    for index in range(len(lines) - 1, -1, -1):
        line = read_line(lines[index])
        if line is not None:
            return line, torn_digest(lines[index + 1 :])
    return None, torn_digest(lines)


def torn_digest(left: list[bytes]) -> str | None:
    """Hash what a dead writer left, given in lines (rule 3); None for nothing."""
    return digest(b"\n".join(left)) if left else None


def rotated_name(last: int) -> str:
    """Name a full file by the sequence number of its last line."""
    return f"audit-{last:016d}.jsonl"


def rotated_files(folder: Path) -> list[str]:
    """Return the names of the full files, oldest first.

    Raises:
        FileAccessError: The folder can't be read.
    """
    try:
        return sorted(path.name for path in folder.iterdir() if _ROTATED.fullmatch(path.name))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unusable(folder, error) from None


def last_sequence(name: str) -> int:
    """Return the sequence number in the name of a full file."""
    return int(name.removeprefix("audit-").removesuffix(".jsonl"))


def write_anchor(head: Head) -> bytes:
    """Write where the oldest file that is kept begins."""
    return compact_json({"hash": head.digest, "seq": head.sequence, "v": _VERSION}).encode("ascii") + b"\n"


def read_anchor(folder: Path) -> Head:
    """Return where the oldest file that is kept begins; the genesis if none was removed yet.

    Raises:
        FileAccessError: It can't be read, or is damaged.
    """
    file = LockedFile(folder / ANCHOR, MAX_ANCHOR)
    raw = file.read()
    if raw is None:
        return GENESIS
    damaged = FileAccessError(f"{file.path} is damaged", next_step=LOOK)
    try:
        record = exact(parse_json(raw, what="anchor"), "anchor", frozenset({"v", "seq", "hash"}))
        head = Head(record.integer("seq"), record.hex_digest("hash"))
    except MalformedError:
        raise damaged from None
    if write_anchor(head) != raw:
        raise damaged
    return head


def unusable(path: Path, error: OSError) -> FileAccessError:
    """Return the error for a file or folder that the system refuses."""
    return FileAccessError(f"{path} can't be used: {error.strerror or 'unknown reason'}")
