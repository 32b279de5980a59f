"""Views are built, never filtered: what nobody copies by name appears nowhere, whatever else inner types and the service hold.

What these tests do not do: look at the view types themselves; ``tests/policy`` does.
"""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

from r4_mcp.core import checkpoint, directory, served, wire
from r4_mcp.core.encoding import Json
from r4_mcp.emulator.faults_liar import Asked, Fault, edit_of
from r4_mcp.machine.contract import ALL_ENDPOINTS, GET_WRAPPED_KEY
from r4_mcp.policy import exposure, outcomes, views
from r4_mcp.tools import ALL_TOOLS
from r4_mcp.vault import locator, reader, rotation
from tests.switchboard import Switchboard

from .calls import RIGHT, TURNS
from .canaries import Canary, word
from .conditions import Combination, Condition
from .sweep import Sweep
from .vaults import Planted
from .watch import Sink
from .wire import ERAS

INNER: Final = (served, wire, checkpoint, directory, reader, locator, rotation, exposure)
"""Modules whose dataclasses views are built from."""

SIGNED: Final = frozenset({"summaryCheckpoint", "detailCheckpoint", "head", "consistencyProof"})
"""Members that must be exactly what the contract says; there a member more is refused, which ``tests/core`` shows."""


def members(kind: Any, seen: set[Any]) -> Iterator[str]:  # noqa: ANN401 - types are walked as values
    """Yield the name of every member of a view and of the views in it."""
    if dataclasses.is_dataclass(kind) and kind not in seen:
        seen.add(kind)
        for name, hint in typing.get_type_hints(kind).items():
            yield name
            yield from members(hint, seen)
    for argument in typing.get_args(kind):
        yield from members(argument, seen)


NAMES: Final = sorted(
    {name for tool in ALL_TOOLS for name in members(tool.result, set())}
    | {"value", "plaintext", "password", "seed", "_value", "extra", "content", "structuredContent", "isError", "_meta"}
)
"""Names of members more: those of the views, which a careless copy would take, and those of what it should not."""


def enriched(kind: type, canary: str, made: set[str]) -> type:
    """Make a dataclass of the same name with a canary in further members; it notes that there was one."""
    own = {name for name in NAMES if not hasattr(kind, name) and name not in kind.__dataclass_fields__}  # type: ignore[attr-defined]  # dataclasses only come here
    before = getattr(kind, "__post_init__", None)

    def noted(self: object) -> None:
        made.add(kind.__name__)
        if before is not None:
            before(self)

    further = [(name, str, dataclasses.field(default=canary)) for name in sorted(own)]
    is_frozen = kind.__dataclass_params__.frozen  # type: ignore[attr-defined]  # as above
    return dataclasses.make_dataclass(kind.__name__, further, bases=(kind,), frozen=is_frozen, namespace={"__post_init__": noted})


def rooms() -> list[ModuleType]:
    """Return the modules of the product."""
    return [module for name, module in sys.modules.items() if name.startswith("r4_mcp")]


def put(monkeypatch: pytest.MonkeyPatch, places: list[ModuleType], old: object, new: object) -> None:
    """Put something in the place of something else wherever modules name it."""
    for place in places:
        for name in [name for name, value in vars(place).items() if value is old]:
            monkeypatch.setattr(place, name, new)


def dataclasses_of(*modules: object) -> list[type]:
    """Return the dataclasses that modules define."""
    return [
        kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__module__ == getattr(module, "__name__", "")
    ]


async def play(sweep: Sweep, era: str, canary: Canary, fault: Fault | None = None) -> None:
    """Call every tool right; every call succeeds, and the canary is in nothing that leaves or stays."""
    sweep.scanner.add([canary])
    called = [
        Combination(tool, Condition("right", "with more inside", "right", turn=turn, fault=fault), era)
        for tool in RIGHT
        for turn in range(min(2, TURNS.get(tool, 1)))
    ]
    await sweep.run(called)
    assert sweep.outcomes == {"ok": len(called)}
    # A local that holds an inner object holds what is in it; no result, line, file or request does.
    assert not [finding for finding in sweep.findings if finding.sink is not Sink.LOCALS]


async def test_what_inner_types_hold_more_is_not_shown(
    planted: Planted, board: Switchboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each dataclass that a view is built from has members of all the views' names, with a canary."""
    canary, made = word("further member"), set[str]()
    for kind in dataclasses_of(*INNER):
        put(monkeypatch, rooms(), kind, enriched(kind, canary.text, made))
    await play(Sweep(planted, board, tmp_path), ERAS[0], canary)
    assert len(made) > 20
    assert made >= {
        "ServedVault",
        "SignedItem",
        "SummaryCheckpoint",
        "DetailCheckpoint",
        "ServedProject",
        "Me",
        "Signer",
        "Noted",
    }


async def test_what_a_view_holds_more_is_not_encoded(
    planted: Planted, board: Switchboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A view with members that its type does not name: only those that it names are encoded."""
    canary, made = word("further member of a view"), set[str]()
    # The builders get views of richer types; what the types of views say of each other stays, since encoding goes by that.
    builders = [room for room in rooms() if room not in {views, outcomes}]
    for module in (views, outcomes):
        richer = ModuleType(module.__name__)
        vars(richer).update(vars(module))
        for kind in dataclasses_of(module):
            vars(richer)[kind.__name__] = enriched(kind, canary.text, made)
            put(monkeypatch, builders, kind, vars(richer)[kind.__name__])
        put(monkeypatch, builders, module, richer)
        if module is views:
            monkeypatch.setattr(views, "RevealedField", vars(richer)["RevealedField"])
    await play(Sweep(planted, board, tmp_path), ERAS[1], canary)
    # What answers a raw request is the one view that is filtered.
    assert made >= {tool.result.__name__ for tool in ALL_TOOLS if not tool.requests} | {
        "VaultLine",
        "ItemLine",
        "FieldLine",
        "ExposedPlace",
    }


async def test_what_the_service_serves_more_is_not_shown(planted: Planted, board: Switchboard, tmp_path: Path) -> None:
    """Each unsigned object of each answer has members of all the views' names, with a canary as text, in a list, in an object."""
    canary = word("unknown member")

    def enrich(body: Json) -> None:
        if isinstance(body, list):
            for one in body:
                enrich(one)
        elif isinstance(body, dict):
            for name, member in body.items():
                if name not in SIGNED:
                    enrich(member)
            forms: tuple[Json, ...] = (canary.text, [canary.text], {canary.text: canary.text})
            for number, name in enumerate(NAMES):
                body.setdefault(name, forms[number % len(forms)])

    def edit(_: Asked, body: dict[str, Json]) -> None:
        enrich(body)

    answered = [endpoint for endpoint in ALL_ENDPOINTS if endpoint is not GET_WRAPPED_KEY]
    sweep = Sweep(planted, board, tmp_path)
    await play(sweep, ERAS[0], canary, Fault("unknown-members", "Every answer has more members.", edit_of(edit, *answered)))
    # All but ``exposure`` ask the service.
    assert sweep.met["right"] == sweep.played["right"] - 1
