"""Where what others write goes: masked into a capped text, or masked and passed on.

What this file does not do: run programs, read answers, or let a byte by that was not masked.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Final, Protocol

from r4_mcp.sinks.masking import Masker

MAX_CAPTURED: Final = 65_536
"""Bytes of a program's stream that are kept, after masking."""


class Output(Protocol):
    """Takes one stream. What it raises ends the program whose stream it is, and comes to the caller in a group."""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""

    def end(self, *, is_cut: bool) -> None:
        """Take note that nothing follows; ``is_cut`` where more would have, so that half a value may stand at the end."""


class Capture:
    """Keeps the beginning of a stream, masked.

    Args:
        masker: Knows the values.
        cap: Bytes that are kept.
    """

    def __init__(self, masker: Masker, cap: int = MAX_CAPTURED) -> None:
        self._stream = masker.stream()
        self._cap = cap
        self._kept = bytearray()
        self._is_cut = False
        self.octets = 0
        """Bytes that came, kept or not."""

    def feed(self, chunk: bytes) -> None:
        """Mask and keep; past the cap, only count."""
        self.octets += len(chunk)
        if len(self._kept) <= self._cap:
            self._kept += self._stream.feed(chunk)

    def end(self, *, is_cut: bool) -> None:
        """Keep the rest, unless it may be half a value."""
        self._is_cut = is_cut
        if not is_cut and len(self._kept) <= self._cap:
            self._kept += self._stream.finish()

    @property
    def text(self) -> str:
        """What was kept. Bytes that are no UTF-8 are shown as replacement characters; half a character at a cut is not shown."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        return decoder.decode(bytes(self._kept[: self._cap]), final=not self.is_cut)

    @property
    def is_cut(self) -> bool:
        """Whether there was more than ``text`` shows."""
        return self._is_cut or len(self._kept) > self._cap


class Forward:
    """Passes a stream on as it comes, masked, for a person who watches.

    Args:
        masker: Knows the values.
        write: Takes the masked bytes.
    """

    def __init__(self, masker: Masker, write: Callable[[bytes], object]) -> None:
        self._stream = masker.stream()
        self._write = write

    def feed(self, chunk: bytes) -> None:
        """Mask and pass on what is decided."""
        self._pass_on(self._stream.feed(chunk))

    def end(self, *, is_cut: bool) -> None:
        """Pass on the rest, unless it may be half a value."""
        if not is_cut:
            self._pass_on(self._stream.finish())

    def _pass_on(self, masked: bytes) -> None:
        if masked:
            self._write(masked)
