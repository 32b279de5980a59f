"""The tool ``list_projects``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from r4_mcp.policy.gate import Gate
from r4_mcp.policy.views import ProjectList
from r4_mcp.tools.tool import Arguments, Tool


class ListProjectsArguments(Arguments):
    """One project, or all."""

    project: Annotated[str | None, Field(description="Project id or name; then with its vaults.", max_length=255)] = None


async def _run(gate: Gate, arguments: ListProjectsArguments) -> ProjectList:
    return await gate.list_projects(arguments.project)


LIST_PROJECTS = Tool(
    name="list_projects",
    title="List projects",
    description="List the projects this agent can see, or one with its vaults. Never returns values.",
    arguments=ListProjectsArguments,
    result=ProjectList,
    run=_run,
    read_only=True,
    idempotent=True,
)
