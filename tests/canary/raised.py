"""Every exception that the product raises while it is watched, as a traceback printer with locals would show it.

What this file does not do: look for canaries, or change what is raised.

What is covered:
1. Every error of the project: its base class notes each one when it is made, and the exception that was being handled then (of
   pydantic, httpx, cryptography). Their tracebacks are read after the call, when they are whole.
2. Whatever leaves the server's own handlers, which the wire keeps, and what log records carry as ``exc_info``.
3. What reaches the event loop's exception handler, ``sys.unraisablehook`` or ``threading.excepthook``.
Not covered: foreign exceptions that were caught by foreign code, or by ours without an error of the project being made of them,
and what locals were before a function changed them.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from r4_mcp.errors import R4Error

PACKAGE: Final = "r4_mcp"


@dataclass(frozen=True, slots=True)
class Shown:
    """A part of what would be shown of an exception.

    Attributes:
        where: The exception's class and, for a local, the function and the variable.
        content: The text.
        local: Whether it is a local variable.
    """

    where: str
    content: bytes
    local: bool


@dataclass
class Raised:
    """Collects exceptions."""

    _noted: list[BaseException] = field(default_factory=list)

    def note(self, error: BaseException | None) -> None:
        """Keep an exception until it is taken."""
        if error is not None:
            self._noted.append(error)

    def taken(self) -> list[BaseException]:
        """Take the exceptions since the last time, each once, with those that they were made from."""
        found: dict[int, BaseException] = {}
        pending, self._noted = self._noted, []
        while pending:
            error = pending.pop()
            if id(error) not in found:
                found[id(error)] = error
                pending += [one for one in (error.__cause__, error.__context__) if one is not None]
                pending += error.exceptions if isinstance(error, BaseExceptionGroup) else ()
        return list(found.values())


@contextmanager
def collecting(raised: Raised) -> Iterator[None]:
    """Collect while the block runs; the loop's handler needs a running loop."""
    made = R4Error.__init__

    def noting(error: R4Error, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - whatever the classes take
        raised.note(error)
        raised.note(sys.exc_info()[1])
        made(error, *arguments, **named)

    def unhandled(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        raised.note(context.get("exception"))

    def unraisable(unraised: sys.UnraisableHookArgs) -> None:
        raised.note(unraised.exc_value)

    def in_thread(arguments: threading.ExceptHookArgs) -> None:
        raised.note(arguments.exc_value)

    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler(), sys.unraisablehook, threading.excepthook
    R4Error.__init__ = noting  # type: ignore[method-assign,assignment]  # the one place that every error of the project passes
    loop.set_exception_handler(unhandled)
    sys.unraisablehook, threading.excepthook = unraisable, in_thread
    try:
        yield
    finally:
        R4Error.__init__ = made  # type: ignore[method-assign]  # as above
        loop.set_exception_handler(before[0])
        sys.unraisablehook, threading.excepthook = before[1:]


def shown(error: BaseException) -> Iterator[Shown]:
    """Yield what would be shown of one exception: text, arguments, traceback, and every local of every frame of ours."""
    told = traceback.TracebackException(type(error), error, error.__traceback__, capture_locals=True, compact=True)
    name = type(error).__name__
    members = [repr(value) for value in vars(error).values()]
    lines = [frame.line or "" for frame in told.stack]
    text = "\n".join([str(error), repr(error), repr(error.args), *getattr(error, "__notes__", ()), *members, *lines])
    yield Shown(name, text.encode("utf-8", "surrogatepass"), local=False)
    for frame in told.stack:
        if f"/{PACKAGE}/" in frame.filename.replace("\\", "/"):
            room = frame.filename.replace("\\", "/").rpartition(f"/{PACKAGE}/")[2]
            for variable, value in (frame.locals or {}).items():
                where = f"{room}:{frame.name}:{variable}"
                yield Shown(where, value.encode("utf-8", "surrogatepass"), local=True)
