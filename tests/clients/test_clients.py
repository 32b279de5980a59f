"""In each client the model reads the same: a compact result, an error with its next step; and a cancelled call ends.

What this file does not do: drive a client. The modules named ``with_…`` do, each in its own environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import anyio.to_thread
import pytest
from starlette.responses import Response

from tests.checkers.environments import python_programs
from tests.checkers.running import outcomes
from tests.checkers.versions import PYPI
from tests.doors import World, in_memory
from tests.switchboard import Exchange

from .conversation import Plan
from .reading import Reader, plain, printed_result, whole_result, within_error

pytestmark = pytest.mark.clients

REPOSITORY: Final = Path(__file__).parents[2]
SECONDS: Final = 120.0
"""How long a client may take for everything."""
UNKNOWN: Final = "r4://Nowhere/nothing/none"


@dataclass(frozen=True)
class Client:
    """A client, and what is its own.

    Attributes:
        environment: Its environment, in the table of versions.
        module: What drives it.
        reads: How its model reads a result.
        marks_errors: Whether the framework knows an error as one; where it doesn't, the text is all that the model has.
        argument: What its module is told.
    """

    environment: str
    module: str
    reads: Reader = plain
    marks_errors: bool = True
    argument: str = ""


CLIENTS: Final = (
    pytest.param(Client("mcp2", "with_mcp2", argument="auto"), id="mcp2-modern", marks=pytest.mark.quick),
    pytest.param(Client("mcp2", "with_mcp2", argument="legacy"), id="mcp2-handshake", marks=pytest.mark.quick),
    pytest.param(Client("mcp1", "with_mcp1"), id="mcp1", marks=pytest.mark.quick),
    pytest.param(Client("fastmcp", "with_fastmcp"), id="fastmcp", marks=pytest.mark.quick),
    pytest.param(Client("langchain", "with_langchain"), id="langchain"),
    pytest.param(Client("openai-agents", "with_openai_agents", marks_errors=False), id="openai-agents"),
    pytest.param(Client("pydantic-ai", "with_pydantic_ai", within_error), id="pydantic-ai", marks=pytest.mark.quick),
    pytest.param(Client("llama-index", "with_llama_index", printed_result, marks_errors=False), id="llama-index"),
    pytest.param(Client("google-adk", "with_google_adk", whole_result), id="google-adk"),
)


@contextmanager
def held_reports(world: World, held: Path) -> Iterator[None]:
    """Let the service take reports and not answer; ``held`` appears when it has one."""
    release = threading.Event()

    async def hold(exchange: Exchange) -> Response | None:
        if exchange.line == "POST /feedback":
            held.touch()  # noqa: ASYNC240 - an empty file
            await anyio.to_thread.run_sync(release.wait, abandon_on_cancel=True)
        return None

    world.tap.intercept = hold
    try:
        yield
    finally:
        release.set()


def converse(client: Client, plan: Plan, home: Path) -> tuple[dict[str, Any], int]:
    """Let a client do everything, in its own environment; returns what it tells, and its exit status.

    Raises:
        UnfetchedError: Its environment can't be made here.
    """
    done = subprocess.run(
        [str(python_programs(client.environment) / "python"), "-m", f"tests.clients.{client.module}", client.argument],
        input=json.dumps(asdict(plan)).encode(),
        cwd=REPOSITORY,
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.stdout, done.stderr.decode()[-2000:]
    return json.loads(done.stdout), done.returncode


@pytest.mark.parametrize("client", CLIENTS)
async def test_the_model_reads_results_and_next_steps_and_a_call_can_be_cancelled(
    client: Client, world: World, tmp_path: Path
) -> None:
    """List, call, provoke an error, cancel, call again; compared with what a client in this process gets."""
    async with in_memory(world.environment) as door:
        listed = [tool.name for tool in (await door.client.list_tools()).tools]
        vaults = (await door.ok("list_vaults"))["vaults"]
        refusal = await door.refused("read_secret", "not_found", reference=UNKNOWN)
    plan = Plan(sys.executable, ["-m", "r4_mcp", "serve"], world.environment, UNKNOWN, str(tmp_path / "held"))
    with held_reports(world, Path(plan.held)):
        told, status = await anyio.to_thread.run_sync(converse, client, plan, tmp_path)
    assert PYPI[client.environment].endswith(f"=={told['version']}")
    assert sorted(told["tools"]) == sorted(listed)
    assert client.reads(told["call"]["text"])["vaults"] == vaults
    assert not told["call"]["is_error"]
    assert client.reads(told["error"]["text"]) == refusal
    assert told["error"]["is_error"] == client.marks_errors
    assert told["was_cancelled"]
    assert status == 0
    assert client.reads(told["after"]["text"])["vaults"] == vaults
    assert [line for line in world.tap.lines() if line == "POST /feedback"] == ["POST /feedback"]
    assert ("report_gap", "cancelled") in outcomes(world.home)
