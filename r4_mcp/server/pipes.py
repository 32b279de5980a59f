"""The stdio transport on the event loop's own pipes: no worker thread for each line.

What this file does not do: speak MCP. Lines come in as messages, messages go out as lines.

Rules:
1. Only where both ends are pipes or sockets that nothing else writes to; a file, a terminal, a shared stderr or Windows has the
   SDK's own transport. (A pipe is made non-blocking for everybody who shares it.)
2. While serving, descriptor 0 is the null device and 1 is stderr, so that a stray print or a child's output misses the protocol.
3. A line that is too long for any call ends the connection: there is no way to find the next one in good faith.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

MAX_LINE: Final = 64 * 1024 * 1024
"""Bytes of one message: a hundred fields of the largest size, escaped."""

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_log: Final = logging.getLogger(__name__)

Incoming = MemoryObjectReceiveStream[SessionMessage | Exception]
Outgoing = MemoryObjectSendStream[SessionMessage]


@asynccontextmanager
async def stdio() -> AsyncIterator[tuple[Incoming, Outgoing]]:
    """Serve over this process's stdin and stdout until stdin ends."""
    if not can_use_pipes():
        async with stdio_server() as (incoming, outgoing):
            yield incoming, outgoing
        return
    wire_in, wire_out = os.dup(_STDIN), os.dup(_STDOUT)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, _STDIN)
    os.close(null)
    os.dup2(_STDERR, _STDOUT)
    try:
        async with _streams(wire_in, wire_out) as streams:
            yield streams
    finally:
        os.dup2(wire_in, _STDIN)
        os.dup2(wire_out, _STDOUT)
        os.close(wire_in)
        os.close(wire_out)


def can_use_pipes() -> bool:
    """Say whether rule 1 lets this process use its pipes."""
    if sys.platform == "win32":
        return False
    try:
        ends = [os.fstat(descriptor) for descriptor in (_STDIN, _STDOUT)]
        shared = os.fstat(_STDERR)
    except OSError:
        return False
    pipes = all(stat.S_ISFIFO(end.st_mode) or stat.S_ISSOCK(end.st_mode) for end in ends)
    return pipes and all((end.st_dev, end.st_ino) != (shared.st_dev, shared.st_ino) for end in ends)


@asynccontextmanager
async def _streams(wire_in: int, wire_out: int) -> AsyncIterator[tuple[Incoming, Outgoing]]:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=MAX_LINE)
    # The transports close what they are given; the descriptors themselves are restored afterwards.
    read_end = os.fdopen(os.dup(wire_in), "rb", buffering=0)
    write_end = os.fdopen(os.dup(wire_out), "wb", buffering=0)
    reading, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), read_end)
    writing, flow = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, write_end)
    # Zero: ``drain`` waits until everything is out, so that an answer is never left behind at the end.
    writing.set_write_buffer_limits(0)
    writer = asyncio.StreamWriter(writing, flow, None, loop)
    incoming_send, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, outgoing_receive = anyio.create_memory_object_stream[SessionMessage](0)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_read, lines, incoming_send)
            tasks.start_soon(_write, outgoing_receive, writer)
            yield incoming, outgoing
    finally:
        reading.close()
        writing.close()
        for descriptor in (wire_in, wire_out):
            os.set_blocking(descriptor, True)


async def _read(lines: asyncio.StreamReader, incoming: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
    async with incoming:
        while True:
            try:
                line = await lines.readline()
            except ValueError:
                _log.error("a message of more than %d bytes ends the connection", MAX_LINE)
                return
            if not line:
                return
            try:
                message: SessionMessage | Exception = SessionMessage(
                    types.jsonrpc_message_adapter.validate_json(line.decode("utf-8", "replace"), by_name=False)
                )
            except ValidationError as error:
                # The SDK answers a message that is none, as its own transport has it.
                message = error
            try:
                await incoming.send(message)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return


async def _write(outgoing: MemoryObjectReceiveStream[SessionMessage], writer: asyncio.StreamWriter) -> None:
    async with outgoing:
        async for message in outgoing:
            if _says_that_it_closed(message):
                continue
            writer.write(message.message.model_dump_json(by_alias=True, exclude_unset=True).encode("utf-8") + b"\n")
            await writer.drain()


def _says_that_it_closed(message: SessionMessage) -> bool:
    # When its client has gone, the SDK answers calls that were under way with this error. The client may still read the last
    # lines, and some break at an answer that they no longer wait for.
    answer = message.message
    return isinstance(answer, types.JSONRPCError) and answer.error.code == types.CONNECTION_CLOSED
