"""A fuzzer from PyPI throws invented arguments and protocol messages at the server; it stays up and answers each of them.

What this file does not do: take the fuzzer's word for "accepted malformed". It says so of every answer that is no error, whether
its input was wrong or not; so what was accepted is checked against the tool's own schema.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any, Final

import jsonschema  # type: ignore[import-untyped]  # it comes with mcp, its stubs don't
import pytest

from r4_mcp.errors import InternalError
from r4_mcp.tools import ALL_TOOLS

from .environments import python_programs
from .running import SERVER, VISIBLE_TOOLS, User, outcomes

pytestmark = [pytest.mark.checkers, pytest.mark.quick]

SEED: Final = 1
RUNS: Final = 4
"""Invented inputs of each tool and phase, and of each kind of message."""
CHANGING: Final = frozenset(tool.name for tool in ALL_TOOLS if tool.writes)
BROKEN: Final = frozenset({"anomaly", "crashed", "exceptions"})
"""Outcomes where the server, not the input, was at fault."""
NOT_OFFERED: Final = frozenset(
    {
        *("CreateMessageRequest", "ElicitRequest", "ListRootsRequest"),
        *("CancelTaskRequest", "GetTaskPayloadRequest", "GetTaskRequest", "ListTasksRequest"),
        "SetLevelRequest",
    }
)
"""Requests that only a client answers, and those of the tasks extension and of logging."""


def fuzz(user: User, *options: str) -> None:
    """Run the fuzzer; its report is left in the user's folder."""
    fuzzer = python_programs("mcp-fuzzer") / "mcp-fuzzer"
    ended = user.run(
        *(str(fuzzer), "--protocol", "stdio", "--endpoint", shlex.join(SERVER), "--output-dir", "found"),
        *("--seed", str(SEED), "--no-corpus", "--log-level", "CRITICAL", *options),
    )
    assert ended.status == 0, ended.err


def summary(user: User) -> dict[str, Any]:
    """Return the fuzzer's count of what came of its runs."""
    counted: dict[str, Any] = json.loads((user.work / "found" / "run_summary.json").read_text())
    assert counted["status"] == "completed"
    return counted


def accepted(user: User) -> Iterator[tuple[str, Any]]:
    """Yield each input that was answered without an error: its tool or kind of message, and the input."""
    for finding in json.loads((user.work / "found" / "findings.json").read_text())["findings"]:
        if finding["category"] == "accepted_malformed":
            yield finding["target"], finding["evidence"]["input"]
        else:
            # What was archived once isn't there to be archived again.
            assert (finding["category"], finding["target"] in CHANGING) == ("non_determinism", True), finding


def test_invented_arguments_are_refused_unless_the_schema_allows_them(user: User) -> None:
    """Realistic and hostile ones; each call is in the audit log, and none came to an internal error."""
    fuzz(user, "--mode", "tools", "--phase", "both", "--runs", str(RUNS))
    tools = summary(user)["tools"]["by_name"]
    assert set(tools) == set(VISIBLE_TOOLS)
    for counted in tools.values():
        assert counted["total_runs"] == 2 * RUNS
        assert {name: count for name, count in counted["outcomes"].items() if name in BROKEN and count} == {}
    schemas = {tool.name: tool.input_schema() for tool in ALL_TOOLS}
    for tool, arguments in accepted(user):
        jsonschema.validate(arguments, schemas[tool])
    noted = outcomes(user.state)
    assert {tool for tool, _ in noted} == set(tools)
    assert InternalError.code not in {outcome for _, outcome in noted}


@pytest.mark.parametrize("phase", ["realistic", "aggressive"])
def test_invented_messages_are_answered_and_the_server_stays_up(user: User, phase: str) -> None:
    """What only a client answers and what is not offered is refused; no call comes to an internal error."""
    fuzz(user, "--mode", "protocol", "--protocol-phase", phase, "--runs-per-type", str(RUNS))
    kinds = summary(user)["protocols"]["by_type"]
    assert kinds["CallToolRequest"]["total_runs"] >= RUNS
    assert {kind for kind, _ in accepted(user)} & NOT_OFFERED == set()
    assert InternalError.code not in {outcome for _, outcome in outcomes(user.state)}
