"""Independent probes from PyPI start the server, check what it lists, and call what they may."""

from __future__ import annotations

import json
import shlex
from typing import Final

import pytest

from r4_mcp.errors import InternalError
from tests.doors import subprocess

from .environments import python_programs
from .running import SERVER, VISIBLE_TOOLS, User, outcomes

pytestmark = pytest.mark.checkers

ITEM: Final = {"name": "GitHub", "type": "API_KEY", "fields": [{"name": "token", "type": "PASSWORD", "generate": {}}]}
ARGUMENTS: Final[dict[str, dict[str, object]]] = {
    "list_items": {"vault": "Work"},
    "search_items": {"query": "GitHub"},
    "describe_item": {"reference": "r4://Work/GitHub"},
    "read_secret": {"reference": "r4://Work/GitHub/token"},
    "create_vault": {"name": "Spare"},
    "create_item": {"vault": "Spare", **ITEM},
    "update_item": {"reference": "r4://Work/GitHub", "name": "GitHub token"},
    "archive_item": {"reference": "r4://Work/GitHub%20token"},
    "archive_vault": {"reference": "r4://Spare"},
}
"""Arguments of tools that need some, in the order in which they are called."""
CALLED: Final = ["whoami", "list_projects", "list_vaults", *ARGUMENTS, "exposure"]


@pytest.mark.quick
@pytest.mark.parametrize("version", ["2024-11-05", "2025-11-25"])
def test_amagi_mcp_probe_finds_no_error(user: User, version: str) -> None:
    """Generated arguments that name nothing are refused as tool errors, which it calls warnings; nothing else is found."""
    probe = python_programs("amagi-mcp-probe") / "amagi-mcp-probe"
    ended = user.run(str(probe), "--format", "json", "--protocol-version", version, "--", *SERVER)
    assert ended.status == 0, ended.out
    (server,) = json.loads(ended.out)["servers"]
    assert server["verdict"] == "PASS"
    assert server["protocol_version"] == version
    assert server["restarts"] == 0
    assert server["findings"] == []
    assert [tool["name"] for tool in server["tools"]] == VISIBLE_TOOLS
    found = [finding for tool in server["tools"] for finding in tool["findings"]]
    assert {(finding["check"], finding["severity"]) for finding in found} == {("tool-error", "warning")}
    assert InternalError.code not in {outcome for _, outcome in outcomes(user.state)}


@pytest.mark.quick
def test_mcp_conform_passes_every_check(user: User) -> None:
    """Envelope, handshake, and the form of every tool."""
    conform = python_programs("mcp-conform") / "mcp-conform"
    ended = user.run(str(conform), "server", "--format", "json", "--command", shlex.join(SERVER))
    assert ended.status == 0, ended.out
    report = json.loads(ended.out)
    assert report["fatal_error"] is None
    assert [check for check in report["checks"] if not check["passed"]] == []
    assert report["total"] > 3 * len(VISIBLE_TOOLS)


def test_the_yara_rules_of_the_cisco_scanner_find_no_threat(user: User) -> None:
    """No description or schema reads like an injection or an exfiltration."""
    scanner = python_programs("cisco-ai-mcp-scanner") / "mcp-scanner"
    command, *arguments = SERVER
    given = [f"--stdio-arg={argument}" for argument in arguments]
    ended = user.run(str(scanner), "--analyzers", "yara", "--raw", "stdio", "--stdio-command", command, *given)
    assert ended.status == 0, ended.err
    report = json.loads(ended.out)
    assert [tool["tool_name"] for tool in report] == VISIBLE_TOOLS
    assert [tool for tool in report if not tool["is_safe"]] == []
    assert {tool["status"] for tool in report} == {"completed"}


@pytest.mark.quick
async def test_amagi_mcp_probe_finds_nothing_at_all_with_real_arguments(user: User) -> None:
    """What these tools return fits their own output schemas, from listing to archiving."""
    async with subprocess({"R4_HOME": str(user.state)}, "--local", stderr=user.work / "stderr.txt") as door:
        await door.ok("create_vault", name="Work")
        await door.ok("create_item", vault="Work", **ITEM)
    given = user.work / "arguments.json"
    given.write_text(json.dumps(ARGUMENTS))
    probe = python_programs("amagi-mcp-probe") / "amagi-mcp-probe"
    only = [option for tool in CALLED for option in ("--only", tool)]
    options = ["--format", "json", "--strict", "--allow-destructive", "--args", str(given)]
    ended = user.run(str(probe), *options, *only, "--", *SERVER)
    (server,) = json.loads(ended.out)["servers"]
    assert [(tool["name"], tool["findings"]) for tool in server["tools"] if tool["findings"]] == []
    assert [tool["name"] for tool in server["tools"] if tool["status"] == "pass"] == CALLED
    assert ended.status == 0
