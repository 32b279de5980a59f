"""``r4-mcp serve``: MCP over stdio.

What this file does not do: print to stdout; that is the protocol's.
"""

from __future__ import annotations

import gc
import logging
from typing import Final

from r4_mcp.cli.wiring import open_local, open_service
from r4_mcp.config import Settings
from r4_mcp.secret import KnownSecrets
from r4_mcp.server.app import build_server
from r4_mcp.server.pipes import stdio

_log: Final = logging.getLogger(__name__)


async def serve(settings: Settings, known: KnownSecrets, *, local: bool) -> None:
    """Serve until the client closes stdin.

    Raises:
        ConfigurationError: The embedded vault's folder can't be used.
    """
    opened = open_local(settings, known) if local else open_service(settings, known)
    async with opened as service:
        for problem in service.missing:
            _log.warning("not ready: %s", problem.message)
        server = build_server(service.dispatch, service.asking)
        # What stands now stays, and is not looked through again.
        gc.freeze()
        gc.enable()
        async with stdio() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())
