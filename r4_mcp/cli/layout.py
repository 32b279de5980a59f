"""Text for a person's screen: lines and tables within 80 columns.

What this file does not do: print, or look for secrets; what is laid out is cut and broken, so that is done before.

Rules:
1. Nothing that a person would copy is cut: a reference that is too long is written by ids; a word that is too long, and a command
   (in backticks, or after "Run:"), stay whole.
2. Columns are counted as a terminal counts them: a Chinese character takes two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import wcwidth

COLUMNS: Final = 80
MAX_NAME: Final = 28
"""Columns of a name in a table."""

MARKED: Final = "!"
"""Stands before what is not verified."""

_GAP: Final = "  "
_COMMAND: Final = re.compile(r"`[^`]*`|(?<=Run: ).*$")
_GLUE: Final = "\ue000"
"""Stands for a space at which no line is broken; ``display`` lets no private character of a name through."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    Attributes:
        cells: Its cells; the first is a name, which is cut where it is too long.
        reference: What a person copies.
        by_ids: The same reference by ids, which is short.
        problem: Why it is not verified; None if it is.
    """

    cells: tuple[str, ...]
    reference: str
    by_ids: str
    problem: str | None = None


def wrapped(line: str, hanging: int = 2) -> list[str]:
    """Break a line at its spaces where it is too long (rule 1).

    Args:
        line: The line; its own indentation is kept.
        hanging: Columns by which what follows is indented more.
    """
    if wcwidth.width(line) <= COLUMNS:
        return [line]
    text = line.lstrip(" ")
    own = line[: len(line) - len(text)]
    lines = wcwidth.wrap(
        _COMMAND.sub(lambda found: found[0].replace(" ", _GLUE), text),
        COLUMNS,
        initial_indent=own,
        subsequent_indent=own + " " * hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [part.replace(_GLUE, " ") for part in lines]


def chopped(text: str, columns: int) -> list[str]:
    """Break a text that has no good places for it, such as compact JSON, wherever a line is full."""
    return wcwidth.wrap(text, columns, break_on_hyphens=False)


def table(titles: tuple[str, ...], rows: Sequence[Row]) -> list[str]:
    """Lay out rows under titles; the reference comes last, on a line of its own where it does not fit beside the rest.

    Args:
        titles: One for each cell.
        rows: The rows.
    """
    shown = [tuple(cut(cell, MAX_NAME) if index == 0 else cell for index, cell in enumerate(row.cells)) for row in rows]
    widths = [max(map(wcwidth.width, column)) for column in zip(titles, *shown, strict=True)]
    numbers = [all(cell.isdigit() for cell in column) for column in zip(*shown, strict=True)] or [False] * len(titles)
    heading = _aligned(titles, widths, numbers)
    lines = [f"{_GAP}{heading}{_GAP}REFERENCE"]
    for row, cells in zip(rows, shown, strict=True):
        beside = f"{' ' if row.problem is None else MARKED} {_aligned(cells, widths, numbers)}"
        lines += _with_reference(beside, row)
        if row.problem is not None:
            lines += wrapped(f"    not verified: {row.problem}")
    return lines


def _with_reference(beside: str, row: Row) -> Iterator[str]:
    reference = fitting(row.reference, row.by_ids)
    if wcwidth.width(beside) + len(_GAP) + len(reference) <= COLUMNS:
        yield beside + _GAP + reference
    else:
        yield beside.rstrip()
        yield " " * min(2 * len(_GAP), COLUMNS - len(reference)) + reference


def _aligned(cells: Iterable[str], widths: Iterable[int], numbers: Iterable[bool]) -> str:
    parts = (
        wcwidth.rjust(cell, width) if number else wcwidth.ljust(cell, width)
        for cell, width, number in zip(cells, widths, numbers, strict=True)
    )
    return _GAP.join(parts)


def fitting(reference: str, by_ids: str) -> str:
    """Return a reference that fits on a line: by ids, vault, item and field have 79 columns."""
    return reference if len(reference) < COLUMNS else by_ids


def cut(text: str, columns: int) -> str:
    """Return a text that is not to be copied, cut where it is too wide."""
    return text if wcwidth.width(text) <= columns else wcwidth.clip(text, 0, columns - 1) + "…"
