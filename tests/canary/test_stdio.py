"""A sample of the sweep through the real program: its stdin and stdout, its stderr, its files."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
import mcp_types as types
import pytest
from mcp.shared.message import SessionMessage

from r4_mcp.emulator.faults import FAULTS
from tests.switchboard import Switchboard

from .breaks import Break, Moment, Refusal
from .calls import RIGHT, read_place
from .looking import without_value
from .scanner import Hit, Scanner
from .vaults import ECHOED, REPORTED, Planted, Scene, open_scene
from .wire import ERAS, SECONDS, Item, Person, Wire
from .wrong import ways, wrong

pytestmark = pytest.mark.stdio

LIES: Final = ("field-renamed", "json-nan", "refusal-with-instructions")
REFUSED: Final = (Refusal(400, None), Refusal(403, "permission_denied"), Refusal(409, "checkpoint_version_conflict"))
WAYS: Final = 3
READS: Final = (0, 1, 2)


@dataclass
class Program:
    """The running program: a conversation with it, and every byte that it wrote.

    Attributes:
        lines: What it wrote to stdout, line by line, as it came.
        reads: Numbers of the lines that answered ``read_secret``.
        errors: What it wrote to stderr, once it has ended.
    """

    wire: Wire
    lines: list[bytes] = field(default_factory=list)
    reads: set[int] = field(default_factory=set)
    errors: bytes = b""

    async def call(self, tool: str, arguments: object) -> None:
        """Call a tool; what comes of it is looked at later."""
        start = len(self.lines)
        await self.wire.call(tool, arguments)
        if tool == "read_secret":
            self.reads |= set(range(start, len(self.lines)))


@asynccontextmanager
async def running(scene: Scene, folder: Path, era: str) -> AsyncIterator[Program]:
    """Start the program in a folder of its own and open a conversation; it ends when its stdin does."""
    for part in ("work", "user", "temporary"):
        (folder / part).mkdir(parents=True)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "r4_mcp", "serve"),
        env={**scene.environment, "HOME": str(folder / "user"), "TMPDIR": str(folder / "temporary")},
        cwd=folder / "work",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=2**22,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout
    said, outgoing = anyio.create_memory_object_stream[Item](100)
    incoming, heard = anyio.create_memory_object_stream[SessionMessage](1000)
    program = Program(Wire(era, Person.AGREES, said, heard))

    async def write() -> None:
        async for item in outgoing:
            assert isinstance(item, SessionMessage)
            stdin.write(item.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
            await stdin.drain()

    async def read() -> None:
        while line := await stdout.readline():
            program.lines.append(line)
            await incoming.send(SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False)))

    try:
        with said, outgoing, incoming, heard:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(write)
                tasks.start_soon(read)
                await program.wire.open()
                yield program
                tasks.cancel_scope.cancel()
        stdin.close()
        _, program.errors = await asyncio.wait_for(process.communicate(), SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode == 0


async def call_everything(program: Program, scene: Scene, planted: Planted) -> None:
    """Call every tool: wrong, lied to, refused with an echo, and right."""
    supplied, read = planted.supplied[ECHOED].text, planted.values[read_place(READS[0])].text
    echo = f"{supplied} {planted.api_secret.text} {read}"
    for turn in READS:
        await program.call("read_secret", RIGHT["read_secret"](turn, planted))
    for tool, arguments in RIGHT.items():
        for way in list(ways(tool, planted))[:WAYS]:
            await program.call(tool, wrong(tool, way, planted))
        for name in LIES:
            scene.liar.tell(FAULTS[name].lie)
            await program.call(tool, arguments(0, planted))
        scene.liar.tell(None)
        for refusal in REFUSED:
            scene.tap.intercept = Break(Moment.FIRST, 0, refusal, echo).intercept
            await program.call(tool, arguments(0, planted))
        scene.tap.intercept = None
        await program.call(tool, arguments(0, planted))


def left_behind(scanner: Scanner, scene: Scene, folder: Path) -> dict[str, list[Hit]]:
    """Return what is found in files that the program made or could have made, and in what it sent."""
    found = {}
    for path in (one for place in (folder, scene.home) for one in place.rglob("*")):
        found[str(path)] = scanner.find(str(path).encode() + (path.read_bytes() if path.is_file() else b""))
    for number, exchange in enumerate(scene.tap.exchanges):
        sent = f"{exchange.path}?{exchange.query} ".encode() + exchange.body
        allowed = (REPORTED,) if exchange.line == "POST /feedback" else ()
        found[f"{number} {exchange.line}"] = scanner.find(sent, allowed)
    return {place: hits for place, hits in found.items() if hits}


@pytest.mark.parametrize("era", ERAS)
async def test_the_program_says_and_writes_plaintext_in_one_place_only(
    era: str, planted: Planted, board: Switchboard, tmp_path: Path
) -> None:
    """After every tool was called in each of these ways, everything that the program wrote is looked through."""
    scene, scanner = open_scene(planted, tmp_path / "scene", board), Scanner()
    scanner.add(planted.canaries)
    async with running(scene, tmp_path / "program", era) as program:
        await call_everything(program, scene, planted)
    scanner.add(scene.new_keys())
    for number, line in enumerate(program.lines):
        assert not scanner.find(without_value(line) if number in program.reads else line)
    # What was revealed was there to be found.
    revealed = {hit.label for hit in scanner.find(b"".join(program.lines))}
    assert revealed == {read_place(turn).label for turn in READS}
    assert not scanner.find(program.errors)
    assert b"Traceback" not in program.errors
    assert left_behind(scanner, scene, tmp_path / "program") == {}
    assert any((scene.home / "audit").iterdir())
