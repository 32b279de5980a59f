"""Logging: to stderr, event names and ids, and nothing that the egress guard would stop.

What this file does not do: write files. stdout belongs to the protocol.
"""

from __future__ import annotations

import logging
import sys
from typing import Final

from r4_mcp.cli.guard import guard
from r4_mcp.secret import KnownSecrets

_BLOCKED: Final = "a log record held a known secret and was blocked"
_QUIET: Final = ("httpx", "httpcore", "mcp", "asyncio", "uvicorn")
"""Libraries whose own records may quote URLs, headers or messages; only their warnings are kept."""


class SecretFilter(logging.Filter):
    """Blocks records that hold a known secret, and drops tracebacks: they quote values.

    Args:
        known: The secrets of this process.
    """

    def __init__(self, known: KnownSecrets) -> None:
        super().__init__()
        self._egress = guard(known)

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record so that it holds no traceback and no secret; never drops it."""
        if record.exc_info and record.exc_info[0] is not None:
            record.msg = f"{record.getMessage()} ({record.exc_info[0].__name__})"
            record.args = None
        record.exc_info = record.exc_text = record.stack_info = None
        if self._egress.holds_secret(record.getMessage()):
            record.msg, record.args = _BLOCKED, None
        return True


def set_up_logging(known: KnownSecrets) -> None:
    """Send the process's records to stderr through the filter."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    handler.addFilter(SecretFilter(known))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("r4_mcp").setLevel(logging.INFO)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # A broken handler must not print the record, arguments and all, to stderr.
    logging.raiseExceptions = False
