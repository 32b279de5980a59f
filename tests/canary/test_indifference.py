"""What the product says depends on metadata alone: with other values in every field, each byte of it stays the same."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from r4_mcp.cli.wiring import open_service
from r4_mcp.config import read_settings
from r4_mcp.core.wire import FieldType, ItemType
from r4_mcp.secret import KnownSecrets
from r4_mcp.server.app import build_server
from tests.switchboard import Switchboard

from .calls import RIGHT
from .canaries import value_of
from .looking import without_value
from .setting import Clock, set_up
from .values import Rewrite, rewriting
from .vaults import CANARIES, GUARDED, PLACES, PROJECT, SPARE, Planted, Scene, name_of, open_scene
from .wire import ERAS, Person, wired
from .wrong import ways, wrong

Call = tuple[str, dict[str, Any]]

LISTINGS: Final[tuple[Call, ...]] = (
    # One by one first: vaults that are fetched at once are remembered in the order of their answers.
    *(("list_items", {"vault": vault}) for vault in (CANARIES, GUARDED, SPARE)),
    ("whoami", {}),
    ("list_projects", {}),
    ("list_projects", {"project": PROJECT}),
    ("list_vaults", {}),
    *(("describe_item", {"reference": f"r4://{CANARIES}/{name_of(kind)}"}) for kind in ItemType),
)
REFUSALS: Final[tuple[Call, ...]] = (
    ("read_secret", {"reference": "LOGIN_PASSWORD"}),
    ("read_secret", {"reference": f"r4://{CANARIES}/Login/Nothing"}),
    ("read_secret", {"reference": f"r4://{CANARIES}/Sshkey/File"}),
    ("read_secret", {"reference": f"r4://{CANARIES}/Login"}),
    ("archive_item", {"reference": f"r4://{GUARDED}/Nothing"}),
    ("rotate_key", {}),
    ("read_secret", {"reference": f"r4://{GUARDED}/Login/Password"}),
)
"""Calls that nobody is shown a value for: ambiguous, not there, not readable, declined."""

READS: Final[tuple[Call, ...]] = tuple(("read_secret", {"reference": place.reference}) for place in PLACES[:6])


def without_state(line: bytes) -> bytes:
    """Return a message without its sealed state, which is random."""
    message = json.loads(line)
    message.get("result", {}).pop("requestState", None)
    return json.dumps(message, ensure_ascii=False).encode()


@dataclass
class Said:
    """What was said, what was revealed beside it, and the names of the files that were made."""

    lines: list[bytes] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


async def everything_said(scene: Scene, planted: Planted, era: str) -> Said:
    """Ask for all there is, with a home that remembers nothing."""
    shutil.rmtree(scene.home)
    scene.home.mkdir(mode=0o700)
    mistakes = [(tool, wrong(tool, way, planted)) for tool in RIGHT for way in list(ways(tool, planted))[:2]]
    known, said = KnownSecrets(), Said()
    with set_up(Clock()):
        async with (
            open_service(read_settings(scene.environment, known), known) as service,
            wired(build_server(service.dispatch, service.asking), era, Person.DECLINES) as talk,
        ):
            await talk.request("tools/list", {})
            for tool, arguments in (*LISTINGS, *READS, *LISTINGS, ("exposure", {}), *REFUSALS, *mistakes, ("exposure", {})):
                answer = await talk.call(tool, arguments)
                is_read = (tool, arguments) in READS
                said.lines += [without_value(line) if is_read else without_state(line) for line in talk.taken()[1]]
                said.values += [answer["result"]["structuredContent"]["value"]] if is_read else []
            await talk.request("tools/list", {})
            said.lines += talk.taken()[1]
    said.files = sorted(str(path.relative_to(scene.home)) for path in scene.home.rglob("*"))
    return said


@pytest.mark.parametrize("era", ERAS)
async def test_other_values_change_not_a_byte_of_what_is_said(
    era: str, planted: Planted, board: Switchboard, tmp_path: Path
) -> None:
    """Opening, tools, listings, standing, exposure, errors, questions to people, names of files; before and after reads."""
    scene = open_scene(planted, tmp_path / "scene", board)
    before = await everything_said(scene, planted, era)

    def choose(_: str, kind: FieldType) -> Rewrite:
        return lambda _: value_of(kind, "another").text.encode()

    rewriting(choose)(scene.liar)
    after = await everything_said(scene, planted, era)
    assert len(set(before.values) | set(after.values)) == 2 * len(READS), "the values are not others"
    for one, other in zip(before.lines, after.lines, strict=True):
        assert one.decode() == other.decode()
    assert before.files == after.files
    assert sum(b'"isError": true' in line for line in before.lines) > len(REFUSALS)
