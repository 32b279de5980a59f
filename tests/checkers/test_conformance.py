"""The official conformance suite against the server object on HTTP: only what needs its fixtures fails.

What this file does not do: test the HTTP transport, which the program doesn't serve. The suite speaks nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import pytest
import uvicorn
from mcp.server.lowlevel import Server

from r4_mcp.cli.wiring import open_local
from r4_mcp.config import read_settings
from r4_mcp.secret import KnownSecrets
from r4_mcp.server.app import build_server
from tests.switchboard import loopback_socket

from .environments import node_program
from .expected import CHECKS, EXTENSIONS, FIXTURES, SPECIFICATIONS
from .running import User

pytestmark = pytest.mark.checkers

_FOLDER: Final = re.compile(r"server-(.+)-\d{4}-\d\d-\d\dT")
"""How the suite names a folder of results: the scenario, then the time."""


@asynccontextmanager
async def on_http(server: Server[dict[str, Any]]) -> AsyncIterator[str]:
    """Serve a server object on loopback; yields its address."""
    listener, address = loopback_socket()
    # Requests that come before the first accept wait in the backlog.
    listener.listen()
    config = uvicorn.Config(server.streamable_http_app(), log_level="critical", access_log=False, timeout_graceful_shutdown=1)
    running = uvicorn.Server(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(running.serve, [listener])
        try:
            yield f"{address}/mcp"
        finally:
            running.should_exit = True
    listener.close()


def failures(results: Path) -> dict[str, set[str]]:
    """Return the checks that failed, by scenario, of every scenario that was run."""
    failed = {}
    for path in results.glob("server-*/checks.json"):
        scenario = _FOLDER.match(path.parent.name)
        assert scenario is not None, path
        checks = json.loads(path.read_text())
        failed[scenario[1]] = {check["id"] for check in checks if check["status"] == "FAILURE"}
    return failed


@pytest.mark.parametrize("specification", SPECIFICATIONS)
async def test_only_what_needs_a_fixture_fails(user: User, specification: str) -> None:
    """Exactly the scenarios of the table fail; where it names checks, exactly those."""
    suite, known = node_program("conformance"), KnownSecrets()
    options = ["--requirements", specification, "--output-dir", "results"]
    async with open_local(read_settings({"R4_HOME": str(user.state)}, known), known) as service:
        server = build_server(service.dispatch, service.asking)
        async with on_http(server) as url:
            ended = await anyio.to_thread.run_sync(lambda: user.run(*suite, "server", "--url", url, *options))
    # It has run to its end.
    assert "=== SUMMARY ===" in ended.out, ended.err
    ran = {name: found for name, found in failures(user.work / "results").items() if not name.startswith(EXTENSIONS)}
    assert {name for name, found in ran.items() if found} == set(FIXTURES) & set(ran)
    assert {name: found for name, found in ran.items() if name in CHECKS} == {
        name: found for name, found in CHECKS.items() if name in ran
    }
    # What says most about the protocol was run, and passed.
    assert {"tools-list", "tools-call-error", "prompts-list", "resources-list"} <= {
        name for name, found in ran.items() if not found
    }


def test_every_scenario_of_the_table_is_the_suites(user: User) -> None:
    """A scenario that was renamed doesn't stay in the table unseen."""
    ended = user.run(*node_program("conformance"), "list", "--server")
    assert ended.status == 0, ended.err
    listed = {line.split()[1] for line in ended.out.splitlines() if line.startswith("  - ")}
    assert listed.issuperset(FIXTURES)
