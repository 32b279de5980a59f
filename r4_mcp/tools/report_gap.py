"""The tool ``report_gap``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from r4_mcp.policy.drafts import MAX_FEEDBACK
from r4_mcp.policy.gate import Gate
from r4_mcp.policy.outcomes import GapReport
from r4_mcp.tools.tool import Arguments, Tool


class ReportGapArguments(Arguments):
    """The report."""

    summary: Annotated[str, Field(description="One line.", min_length=1, max_length=300)]
    details: Annotated[str, Field(description="What happened.", min_length=1, max_length=MAX_FEEDBACK)]
    desired_outcome: Annotated[str | None, Field(description="What would have helped.", max_length=MAX_FEEDBACK)] = None


async def _run(gate: Gate, arguments: ReportGapArguments) -> GapReport:
    return await gate.report_gap(arguments.summary, arguments.details, arguments.desired_outcome or None)


REPORT_GAP = Tool(
    name="report_gap",
    title="Report a gap",
    description=(
        "Tell the makers of R4 about something missing or broken. Leaves this machine: never include secrets, tokens or "
        "private user data; text that holds a secret is refused."
    ),
    arguments=ReportGapArguments,
    result=GapReport,
    run=_run,
    read_only=False,
)
