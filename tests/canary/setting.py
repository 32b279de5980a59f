"""The setting of a sweep: a clock that goes when it is told to, short pauses, small new keys, few pages.

What this file does not do: replace a part of the product. It sets numbers that the product reads.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Final
from unittest.mock import patch

from r4_mcp.cli import wiring
from r4_mcp.machine import client, contract
from r4_mcp.machine.contract import Endpoint
from r4_mcp.vault import key_file, signer

_PAUSE: Final = 0.0001
_PAGES: Final = 5
_BITS: Final = 2048
_HURRY: Final = 0.25
"""Seconds of every deadline where the service is silent."""


@dataclass
class Clock:
    """Stands in for the module ``time`` where the process is wired: seconds since 1970, set from here."""

    now: float = 1_790_000_000.0

    def time(self) -> float:
        """Return the time, in seconds since 1970."""
        return self.now


@contextmanager
def set_up(clock: Clock) -> Iterator[None]:
    """Give the product this clock, and make it wait and compute less."""
    with ExitStack() as stack:
        for module, name, value in (
            (wiring, "time", clock),
            (client, "_BACKOFF_SECONDS", _PAUSE),
            (signer, "_JITTER_SECONDS", _PAUSE),
            (key_file, "NEW_BITS", _BITS),
            (contract, "MAX_PAGES", _PAGES),
        ):
            stack.enter_context(patch.object(module, name, value))
        # It is not installed, and httpcore looks for it on the disk several times a request.
        stack.enter_context(patch.dict(sys.modules, {"sniffio": None}))
        yield


@contextmanager
def hurried() -> Iterator[None]:
    """Shorten every deadline of the machine API."""
    with ExitStack() as stack:
        for name, endpoint in vars(contract).items():
            if isinstance(endpoint, Endpoint):
                stack.enter_context(patch.object(contract, name, replace(endpoint, seconds=_HURRY)))
        yield
