"""Where a defence can be taken out of a module: one mutant per verify, compare, lock, or guarded refusal.

What this file does not do: run tests. It reads source and writes source.

Kinds:
1. ``call``: a statement that only verifies, checks, locks or syncs is replaced by ``pass``.
2. ``guard``: the condition of an ``if`` that leads to a ``raise`` is replaced by ``False``.
3. ``part``: one part of such a condition is replaced by what makes it count for nothing.
4. ``lock``: ``with … .locked()`` holds nothing.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOMS: Final = ("core", "vault", "machine")

_CHECKS: Final = re.compile(
    r"_?(verify|check|prove|not_after|keep_pins|same_lines|settle|note_retire|flock|fsync|sync_folder|make_folder|mark)\w*"
)
_NO_LOCK: Final = '__import__("contextlib").nullcontext()'


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Attributes:
        file: Path under the package.
        function: Qualified name of the function that is changed.
        kind: One of the kinds above.
        removed: The source that is taken out, on one line.
        start: Offset in the file's bytes.
        end: As ``start``.
        replacement: What stands there instead.
    """

    file: str
    function: str
    kind: str
    removed: str
    start: int
    end: int
    replacement: str

    @property
    def name(self) -> tuple[str, str, str, str]:
        """Return what names this mutant as long as its line stays as it is."""
        return self.file, self.function, self.kind, self.removed

    def __str__(self) -> str:
        return f"{self.file} {self.function}: {self.kind} {self.removed}"

    def apply(self, source: bytes) -> bytes:
        """Return the file's bytes with this change."""
        return source[: self.start] + self.replacement.encode("utf-8") + source[self.end :]


def mutants(package: Path) -> list[Mutant]:
    """Return every mutant of the rooms, in the order of the files."""
    files = [path for room in ROOMS for path in sorted((package / room).glob("*.py"))]
    return [mutant for path in files for mutant in _of_file(path, path.relative_to(package).as_posix())]


def _of_file(path: Path, name: str) -> Iterator[Mutant]:
    source = path.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def mutant(function: str, kind: str, node: ast.expr | ast.stmt, replacement: str) -> Mutant:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        # Columns of the syntax tree count bytes of UTF-8, so offsets are in bytes too.
        start, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        removed = " ".join(source[start:end].decode("utf-8").split())
        return Mutant(name, function, kind, removed, start, end, replacement)

    for function, node in _walk(ast.parse(source), ()):
        for kind, target, replacement in _changes(node):
            yield mutant(function, kind, target, replacement)


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.expr | ast.stmt, str]]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _CHECKS.fullmatch(_called(node.value)):
        yield "call", node, "pass"
    elif isinstance(node, ast.If) and any(isinstance(step, ast.Raise) for step in node.body):
        yield "guard", node.test, "False"
        if isinstance(node.test, ast.BoolOp):
            neutral = "False" if isinstance(node.test.op, ast.Or) else "True"
            for part in node.test.values:
                yield "part", part, neutral
    elif isinstance(node, ast.With):
        for item in node.items:
            if isinstance(item.context_expr, ast.Call) and _called(item.context_expr) == "locked":
                yield "lock", item.context_expr, _NO_LOCK


def _walk(node: ast.AST, within: tuple[str, ...]) -> Iterator[tuple[str, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        inner = (*within, child.name) if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) else within
        if not named:
            yield ".".join(within) or "module", child
        yield from _walk(child, inner)


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id if isinstance(call.func, ast.Name) else ""
