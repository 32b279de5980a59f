"""The tools as a host sees them, one file per tool; ``python -m tests.tools.snapshots`` writes them anew.

What this file does not do: compare. ``test_inventory`` does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from r4_mcp.core.wire import VaultId
from r4_mcp.policy.admission import Parts
from r4_mcp.policy.command_rules import CommandTemplate
from r4_mcp.policy.egress import Egress
from r4_mcp.policy.file_rules import FileRoot
from r4_mcp.policy.gate import Gate
from r4_mcp.policy.model import Policy, Switches
from r4_mcp.policy.raw_request import parse_pattern
from r4_mcp.secret import KnownSecrets
from r4_mcp.server.app import build_server
from r4_mcp.server.dispatch import Dispatch

FOLDER: Final = Path(__file__).parent / "snapshots"
MEMBERS: Final = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")


def unconfigured(switches: Switches | None = None) -> Dispatch:
    """Return a dispatch with nothing behind it."""
    known = KnownSecrets()
    egress = Egress(known)
    chosen = switches or Switches()
    gate = Gate(Parts(runtime=None, missing=(), switches=chosen, known=known, egress=egress, cursors=None, clock=lambda: 0.0))
    # A policy that lists something, so that no tool is hidden but by a switch.
    listing = Policy(
        requests=(parse_pattern("GET /webhook"),),
        roots=(FileRoot(1, "/srv/web", VaultId("a" * 24)),),
        commands=(CommandTemplate("deploy", ("/srv/bin/deploy",), "/srv", secrets=(("a" * 24,),), stdin=True),),
    )
    return Dispatch(gate, known, egress, chosen, policy=lambda: listing)


async def served() -> dict[str, str]:
    """Return each tool as the server lists it, as the text of its snapshot."""
    import mcp  # noqa: PLC0415 - the command below should start fast enough to fail fast

    async with mcp.Client(build_server(unconfigured())) as client:
        listed = (await client.list_tools()).tools
    found = {}
    for tool in listed:
        wire = tool.model_dump(mode="json", by_alias=True, exclude_none=True)
        found[tool.name] = json.dumps({member: wire[member] for member in MEMBERS}, indent=2, ensure_ascii=False) + "\n"
    return found


async def write() -> None:
    """Write the snapshots of all tools, and remove those of no tool."""
    FOLDER.mkdir(exist_ok=True)
    texts = await served()
    for path in FOLDER.iterdir():
        if path.stem not in texts:
            path.unlink()
    for name, text in texts.items():
        (FOLDER / f"{name}.json").write_text(text)


if __name__ == "__main__":
    import anyio

    anyio.run(write)
