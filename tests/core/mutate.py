"""Every way to bend one JSON value: members removed, added, retyped, one at a time."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TypeAlias

from r4_mcp.core.encoding import Json

Path: TypeAlias = tuple[str | int, ...]

OF_EVERY_TYPE: tuple[Json, ...] = (None, True, False, 7, "some text", [], {})


def at(value: Json, path: Path) -> Json:
    """Return what stands at a path."""
    for step in path:
        if isinstance(value, dict):
            value = value[str(step)]
        else:
            assert isinstance(value, list)
            value = value[int(step)]
    return value


def replaced(value: Json, path: Path, new: Json) -> Json:
    """Return a copy with another value at a path; a member that is not there is added."""
    if not path:
        return new
    changed = copy.deepcopy(value)
    parent = at(changed, path[:-1])
    if isinstance(parent, dict):
        parent[str(path[-1])] = new
    else:
        assert isinstance(parent, list)
        parent[int(path[-1])] = new
    return changed


def removed(value: Json, path: Path) -> Json:
    """Return a copy without the member at a path."""
    changed = copy.deepcopy(value)
    parent = at(changed, path[:-1])
    assert isinstance(parent, dict)
    del parent[str(path[-1])]
    return changed


def paths(value: Json, here: Path = ()) -> Iterator[Path]:
    """Walk over the path of everything inside a value, the value itself not included."""
    inside: list[tuple[str | int, Json]] = []
    if isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list):
        inside = list(enumerate(value))
    for step, member in inside:
        yield (*here, step)
        yield from paths(member, (*here, step))


def members(value: Json) -> list[Path]:
    """Return the path of every member of every object."""
    return [path for path in paths(value) if isinstance(path[-1], str)]


def objects(value: Json) -> list[Path]:
    """Return the path of every object, the value itself included."""
    return [path for path in ((), *paths(value)) if isinstance(at(value, path), dict)]


def spelled(path: Path) -> str:
    """Return a path as one word, for the ids of parametrized tests."""
    return ".".join(str(step) for step in path) or "itself"
