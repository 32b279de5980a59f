"""Processes to be killed: started by the tests as ``python -m tests.crash.victims KEY_FILE``.

One process imports everything once and forks a victim for each order, so that a victim costs milliseconds. Orders are JSON lines
on standard input: ``{"work": …, "environment": …}``; the answer is the victim's process id. ``{"work": "end"}`` waits for that
victim and answers what it said, or null where it was killed before it could say anything.

What this file does not do: kill, or judge.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TextIO

import anyio
from cryptography.hazmat.primitives.asymmetric import rsa

from r4_mcp.cli.wiring import open_service
from r4_mcp.config import read_settings
from r4_mcp.core.keys import load_private_key
from r4_mcp.core.wire import VaultId
from r4_mcp.secret import KnownSecrets
from r4_mcp.vault.runtime import VaultRuntime
from tests.vault.rooms import draft

from .losses import rotate
from .small_world import read_everything

NEW: Final = "Killed"
VALUE: Final = "a value of the kill tests"
_PIPE_SIZE: Final = 65_536


async def _rotate(rooms: VaultRuntime, _: Mapping[str, str]) -> object:
    return (await rotate(rooms)).fingerprint


async def _create_item(rooms: VaultRuntime, order: Mapping[str, str]) -> object:
    await rooms.recovery.settle(writes=True, needs_key=True)
    return (await rooms.writer.create_item(VaultId(order["vault"]), draft(NEW, VALUE))).item.checkpoint.item_id


async def _create_vault(rooms: VaultRuntime, _: Mapping[str, str]) -> object:
    await rooms.recovery.settle(writes=True, needs_key=True)
    return (await rooms.writer.create_vault(NEW, None, None)).id


async def _recover(rooms: VaultRuntime, _: Mapping[str, str]) -> object:
    await rooms.recovery.settle(writes=True, needs_key=True)
    assert rooms.rotation.unresolved is None
    return await read_everything(rooms.reader)


WORK: Final = {"rotate": _rotate, "create-item": _create_item, "create-vault": _create_vault, "recover": _recover}


def _generator(key_file: Path) -> Callable[..., rsa.RSAPrivateKey]:
    """Replace the library's key generator, for speed alone: most kills would hit it, and it touches nothing."""
    key = load_private_key(key_file.read_bytes())

    def draw(public_exponent: int, key_size: int) -> rsa.RSAPrivateKey:
        assert (public_exponent, key_size) == (65537, 3072)
        return key.rsa

    return draw


async def _obey(order: Mapping[str, Any]) -> object:
    known = KnownSecrets()
    async with open_service(read_settings(order["environment"], known), known) as service:
        assert service.runtime is not None
        return await WORK[order["work"]](service.runtime, order)


def _fork(order: Mapping[str, Any]) -> tuple[int, int]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    # The victim. It leaves by ``_exit``: nothing of the parent's is cleaned up twice.
    status = 1
    try:
        said = anyio.run(_obey, order)
        os.write(writing, json.dumps(said).encode())
        status = 0
    finally:
        os._exit(status)


def main(key_file: Path, orders: TextIO, answers: TextIO) -> None:
    """Obey orders until there are none."""
    rsa.generate_private_key = _generator(key_file)
    pid, reading = 0, -1
    for line in orders:
        order = json.loads(line)
        if order["work"] == "end":
            # Not before it is asked for, so that the id is nobody else's while somebody may kill it.
            os.waitpid(pid, 0)
            said = os.read(reading, _PIPE_SIZE)
            os.close(reading)
            answers.write((said.decode() or "null") + "\n")
        else:
            pid, reading = _fork(order)
            answers.write(f"{pid}\n")
        answers.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.stdin, sys.stdout)
