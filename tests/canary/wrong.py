"""Every way to get a tool's arguments wrong, derived from its own input schema.

What this file does not do: call, or say how a mistake must be answered. Whatever the answer is, it repeats no value.

Rules:
1. A way is a set of mistakes. Each mistake falls on one argument after the other, so that each argument meets each mistake.
2. Each mistake carries a canary, as a value and where it can as a name.
3. Texts that are screened before they leave get a secret that the process knows; everything else one that it does not know,
   because the egress guard would hide the echo of a known one. What stands where a plaintext belongs has a canary of its own.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from itertools import combinations
from typing import Any, Final

from r4_mcp.tools import ALL_TOOLS

from .calls import CONTACT, RIGHT, Arguments
from .vaults import REJECTED, REJECTED_VALUE, Planted

_SCREENED: Final = frozenset({"name", "websites", "summary", "details", "desired_outcome", "reason", "path"})
VALUE: Final = "value"
"""Name of the arguments that hold plaintexts, and are hidden from the first line of ours on."""

_LONGEST: Final = 300_000
_MANY: Final = 300

Path = tuple[str | int, ...]
Schema = Mapping[str, Any]


class Mistake(StrEnum):
    """One thing that can be wrong with arguments."""

    TYPE = "wrong type"
    MISSING = "missing"
    UNKNOWN = "unknown name"
    LONG = "too long"
    CANARY = "canary as value"


@dataclass(frozen=True, slots=True)
class Way:
    """A set of mistakes, and the argument that the first one falls on."""

    mistakes: tuple[Mistake, ...]
    first: int

    def __str__(self) -> str:
        return f"{', '.join(self.mistakes)} from argument {self.first}"


SUBSETS: Final = tuple(subset for size in range(1, len(Mistake) + 1) for subset in combinations(tuple(Mistake), size))
"""Each non-empty set of mistakes."""


def ways(tool: str, planted: Planted) -> Iterator[Way]:
    """Yield the ways to get a tool's arguments wrong, without those that come to the same."""
    right, seen = RIGHT[tool](0, planted), set[str]()
    seen.add(json.dumps(right))
    for subset in SUBSETS:
        for first in range(max(1, len(_leaves(tool)))):
            arguments = json.dumps(wrong(tool, Way(subset, first), planted))
            if arguments not in seen:
                seen.add(arguments)
                yield Way(subset, first)


def wrong(tool: str, way: Way, planted: Planted) -> Arguments:
    """Return a tool's arguments, got wrong in one way (rules 1 and 2)."""
    arguments = copy.deepcopy(RIGHT[tool](0, planted))
    leaves = _leaves(tool)
    for number, mistake in enumerate(way.mistakes):
        path, schema = leaves[(way.first + number) % len(leaves)] if leaves else ((), {})
        _make(mistake, arguments, path, schema, _canary(path, mistake, planted))
    return arguments


def _canary(path: Path, mistake: Mistake, planted: Planted) -> str:
    if mistake is Mistake.CANARY and any(part in _SCREENED for part in path):
        return planted.values[CONTACT[0]].text
    is_value = path[-1:] == (VALUE,) and mistake is not Mistake.UNKNOWN
    return planted.supplied[REJECTED_VALUE if is_value else REJECTED].text


def _make(mistake: Mistake, arguments: Arguments, path: Path, schema: Schema, canary: str) -> None:
    if mistake is Mistake.UNKNOWN:
        arguments[canary] = canary
    elif path:
        *way, last = path
        parent: Any = arguments
        for part in way:
            parent = _step(parent, part)
        if mistake is Mistake.MISSING:
            if isinstance(parent, dict):
                parent.pop(last, None)
        else:
            _put(parent, last, _bad(mistake, schema, canary))


def _bad(mistake: Mistake, schema: Schema, canary: str) -> object:
    kinds = schema.get("type", "string")
    is_text = "string" in (kinds if isinstance(kinds, list) else [kinds])
    if mistake is Mistake.CANARY:
        return canary
    if mistake is Mistake.TYPE:
        return {canary: canary} if is_text else canary
    if is_text:
        return canary * (min(schema.get("maxLength", _MANY), _LONGEST) // len(canary) + 2)
    return [canary] * _MANY


def _step(parent: Any, part: str | int) -> Any:  # noqa: ANN401 - arguments are any JSON
    # An earlier mistake may have left something else there: then there is nowhere to go on, and a detached object takes it.
    if isinstance(parent, dict) and isinstance(part, str):
        return parent.setdefault(part, {})
    if isinstance(parent, list) and isinstance(part, int) and part < len(parent):
        return parent[part]
    return {}


def _put(parent: Any, part: str | int, value: object) -> None:  # noqa: ANN401 - as above
    if isinstance(parent, dict) and isinstance(part, str):
        parent[part] = value
    elif isinstance(parent, list) and isinstance(part, int):
        parent[part : part + 1] = [value]


@cache
def _leaves(tool: str) -> tuple[tuple[Path, Schema], ...]:
    schema = next(one for one in ALL_TOOLS if one.name == tool).input_schema()
    return tuple(_walk(schema, ()))


def _walk(schema: Schema, at: Path) -> Iterator[tuple[Path, Schema]]:
    if at:
        yield at, schema
    for name, member in schema.get("properties", {}).items():
        yield from _walk(member, (*at, name))
    for option in schema.get("anyOf", ()):
        yield from ((path, member) for path, member in _walk(option, at) if path != at)
    if "items" in schema:
        yield from _walk(schema["items"], (*at, 0))
