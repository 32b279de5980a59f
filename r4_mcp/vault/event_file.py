"""One private file that holds a state and what happened since, shared by several processes: an event costs one sync.

What this file does not do: know what a state or an event is; its ``Form`` does.

Rules:
1. The first line is a state, each further line an event; the state of the file is the first with the others folded into it, in
   their order. ``append`` returns when its events are synced.
2. Only the first line is replaced: whole, together with all events that were folded into it, once there are ``MAX_EVENTS``.
3. What stands behind the last newline is what a writer left that died before it was answered: it counts for nothing, and the next
   event takes its place. Anything else that is not of its form is damage. A first line without its newline is damage too, since
   it is never written but whole.
4. What is parsed is remembered with its bytes, which are read anew each time: bytes are compared, since a stamp may lie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from r4_mcp.errors import MalformedError
from r4_mcp.vault.locked_file import LockedFile

StateT = TypeVar("StateT")

MAX_EVENTS: Final = 256
"""Events that are parsed where a process begins; to fold them takes two syncs and a new file."""


@dataclass(frozen=True, slots=True)
class Form(Generic[StateT]):
    """What the lines of a file are.

    Attributes:
        empty: Makes the state of no file.
        parse: Reads a state; raises ``MalformedError`` for what is none.
        dump: Writes a state, without a newline.
        fold: Changes a state by an event; raises ``MalformedError`` for what is none.
    """

    empty: Callable[[], StateT]
    parse: Callable[[bytes], StateT]
    dump: Callable[[StateT], bytes]
    fold: Callable[[StateT, bytes], None]


@dataclass(slots=True)
class _Known(Generic[StateT]):
    """What is remembered (rule 4): whole lines, how many of them are events, and their state."""

    raw: bytes
    events: int
    state: StateT


class EventFile(Generic[StateT]):
    """A state and its events. One thread at a time uses it, under its lock.

    Args:
        path: The file; its folder is made (0700) when first written.
        max_size: Bytes that it may have.
        form: What its lines are.
    """

    def __init__(self, path: Path, max_size: int, form: Form[StateT]) -> None:
        self.path = path
        self._file = LockedFile(path, max_size)
        self._form = form
        self._known: _Known[StateT] | None = None

    def locked(self) -> AbstractContextManager[None]:
        """Hold the lock that all processes share; raises as ``LockedFile.locked``."""
        return self._file.locked()

    def look(self) -> StateT:
        """Return the state as it is now, without the lock and for any thread.

        Raises:
            FileAccessError: It can't be read.
            MalformedError: Rule 3.
        """
        raw = self._file.read()
        return self._form.empty() if raw is None else self._parsed(raw).state

    def read(self) -> StateT:
        """Return the state; the caller holds the lock and does not change it.

        Raises:
            FileAccessError: It can't be read.
            MalformedError: Rule 3.
        """
        raw, known, self._known = self._file.read(), self._known, None
        if raw is None:
            return self._form.empty()
        if known is not None and raw.startswith(known.raw):
            self._follow(known, raw)
        else:
            known = self._parsed(raw)
        self._known = known
        return known.state

    def append(self, events: Sequence[bytes]) -> None:
        """Let events happen (rules 1 and 2); the caller holds the lock and has read.

        Args:
            events: Lines without their newlines.

        Raises:
            FileAccessError: They could not be written, and did not happen.
        """
        known = self._known
        if known is None or known.events + len(events) > MAX_EVENTS:
            state = self._form.empty() if known is None else known.state
            # A state that was changed and not written is not remembered.
            self._known = None
            for event in events:
                self._form.fold(state, event)
            self.replace(state)
            return
        lines = b"".join(event + b"\n" for event in events)
        self._file.append(len(known.raw), lines)
        self._follow(known, known.raw + lines)

    def replace(self, state: StateT) -> None:
        """Replace everything by a state; the caller holds the lock.

        Raises:
            FileAccessError: It could not be written; the old file is whole.
        """
        self._known = None
        content = self._form.dump(state) + b"\n"
        self._file.replace(content)
        self._known = _Known(content, 0, state)

    def set_aside(self, suffix: str) -> Path:
        """Rename a damaged file; raises as ``LockedFile.set_aside``."""
        return self._file.set_aside(suffix)

    def _parsed(self, raw: bytes) -> _Known[StateT]:
        first, newline, _ = raw.partition(b"\n")
        if not newline:
            raise MalformedError("its first line has no end")
        known = _Known(first + newline, 0, self._form.parse(first))
        self._follow(known, raw)
        return known

    def _follow(self, known: _Known[StateT], raw: bytes) -> None:
        whole = raw[: raw.rindex(b"\n") + 1]
        for event in whole[len(known.raw) :].split(b"\n")[:-1]:
            self._form.fold(known.state, event)
            known.events += 1
        known.raw = whole
