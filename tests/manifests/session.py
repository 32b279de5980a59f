"""The session on the README's first screen: what ``r4-mcp demo`` prints, with less of it.

What this file does not do: add a word.

Rules:
1. Steps, calls, results and sentences are the demo's own, in its order. Where something between them is left out, ``…`` says so.
2. Ids and plaintexts differ from run to run; each is ``…``.
3. A result that is longer than three lines is cut; a refusal never is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from r4_mcp.cli.layout import COLUMNS
from tests.cli.running import run

SHOWN: Final[dict[str, tuple[str, ...]]] = {
    "3": ("> list_vaults", "> describe_item", "checked: the listings"),
    "4": ("> read_secret", "checked: "),
    "6": ("> report_gap", "checked: the report"),
}
"""By the number of a step: how what is shown of it begins."""

_LINES: Final = 3
_CUT: Final = "…"
_RESULT: Final = " " * 5
_HANGING: Final = " " * 7
_CHANGING: Final = re.compile(r"(?<=\")[0-9a-f]{24}(?=\")|(?<=\"demo-)[\w-]+")


@dataclass
class _Entry:
    """A heading, a sentence, or a call with its result."""

    lines: list[str]
    result: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return self.lines[0].strip()


def played() -> str:
    """Run the demo, and return what it prints."""
    ended = run("demo", environment={"PATH": os.environ["PATH"]})
    assert ended.status == 0, ended.out + ended.err
    return ended.out


def condensed(printed: str) -> str:
    """Return what the README shows of what the demo printed."""
    told = ["$ r4-mcp demo"]
    for step in printed.split("\n\n"):
        heading, *entries = _parsed(step.strip("\n").splitlines())
        shown = SHOWN.get(heading.text.partition(".")[0])
        if shown is None:
            continue
        told += ["", *heading.lines]
        for entry in entries:
            if entry.text.startswith(shown):
                told += [*entry.lines, *_cut(entry.result)]
            elif told[-1] != f"   {_CUT}":
                told.append(f"   {_CUT}")
    return "\n".join(told) + "\n"


def _parsed(lines: list[str]) -> list[_Entry]:
    entries = [_Entry([lines[0]])]
    for line in lines[1:]:
        entry = entries[-1]
        if entry.text.startswith(">") and line.startswith(_RESULT):
            (entry.lines if line.startswith(_HANGING) else entry.result).append(line)
        elif line.startswith(_RESULT) or _is_full(entry.lines[-1], line):
            entry.lines.append(line)
        else:
            entries.append(_Entry([line]))
    return entries


def _is_full(line: str, following: str) -> bool:
    """Say whether a line was broken because the next word had no place on it."""
    return len(line) + len(" ") + len(following.split(maxsplit=1)[0]) > COLUMNS


def _cut(result: list[str]) -> Iterator[str]:
    if not result or '"code":' in result[0]:
        yield from result
        return
    text = _CHANGING.sub(_CUT, "".join(line.removeprefix(_RESULT) for line in result))
    width = COLUMNS - len(_RESULT)
    lines = [text[start : start + width] for start in range(0, len(text), width)]
    if len(lines) > _LINES:
        lines[_LINES - 1 :] = [lines[_LINES - 1][: width - len(_CUT)] + _CUT]
    yield from (_RESULT + line for line in lines)
