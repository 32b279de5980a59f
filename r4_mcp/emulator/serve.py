"""The embedded vault as a program: one port on the loopback interface.

What this file does not do: parse a command line. It says on standard output where it listens, once, and nothing else there.

Rules:
1. It binds 127.0.0.1 only: the API key travels unencrypted.
2. The line is printed when connections are accepted, never before.
3. SIGINT and SIGTERM end it cleanly, with exit status 0.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import uvicorn

from r4_mcp.emulator import seed as seeding
from r4_mcp.emulator.agent_file import FILE_NAME
from r4_mcp.emulator.app import create_app
from r4_mcp.emulator.dispatch import Answering, answer
from r4_mcp.emulator.faults import find_fault
from r4_mcp.emulator.faults_liar import Liar
from r4_mcp.emulator.fresh import DEFAULT_BITS
from r4_mcp.emulator.store import Store
from r4_mcp.errors import ConfigurationError
from r4_mcp.secret import KnownSecrets

LOOPBACK: Final = "127.0.0.1"
_GRACE_SECONDS: Final = 3
_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def run(
    directory: Path,
    port: int,
    *,
    seed: bool,
    known: KnownSecrets | None = None,
    bits: int = DEFAULT_BITS,
    fault: str | None = None,
) -> None:
    """Serve the embedded vault of a folder until a signal ends it.

    Args:
        directory: The vault's folder; made at first use.
        port: TCP port; 0 takes a free one.
        seed: Whether to fill it with the demo's seed first.
        known: The process's known secrets; a new set if it has none.
        bits: Size of new RSA keys.
        fault: Name of the lie to tell, as soon as a client could notice it; None for an honest service.

    Raises:
        ConfigurationError: The folder is unusable, the port is taken, or there is no such fault.
    """
    known = KnownSecrets() if known is None else known
    chosen = None if fault is None else find_fault(fault)
    store = Store.open(directory)
    config_path = directory / FILE_NAME
    if seed:
        config_path = seeding.seed(store, directory, known, bits=bits).config_path
    answering = answer if chosen is None else Liar(store, directory, known, patient=chosen).answer
    # The protocol is named, else asyncio does not turn Nagle off, and each answer waits 40 ms for an acknowledgement.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except (OSError, OverflowError):
            raise ConfigurationError(f"port {port} of {LOOPBACK} can't be used") from None
        announcement = {
            "baseUrl": f"http://{LOOPBACK}:{listener.getsockname()[1]}",
            "dataDir": str(directory),
            "agentConfig": str(config_path) if config_path.exists() else None,
        }
        with _signals_only_stop():
            _AnnouncedServer(_config(store, answering), json.dumps(announcement)).run(sockets=[listener])


class _AnnouncedServer(uvicorn.Server):
    """A server that says where it listens once it does (rule 2)."""

    def __init__(self, config: uvicorn.Config, announcement: str) -> None:
        super().__init__(config)
        self._announcement = announcement

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            sys.stdout.write(self._announcement + "\n")
            sys.stdout.flush()


@contextmanager
def _signals_only_stop() -> Iterator[None]:
    # uvicorn stops on these signals and raises them again at the end; by then there is nothing left to stop (rule 3).
    previous = {number: signal.signal(number, lambda *_: None) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _config(store: Store, answering: Answering) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(store, answering),
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
