"""Stands between our code and the operating system and network of a mortal process's machine.

What this file does not do: decide when it dies. Nothing of ours is replaced: only functions of the standard library and of the
HTTP library, and only for files below the process's roots.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpcore
import pytest

from .dying import WRITING, Call, KilledError, Moment, Mortal

_NAMED_ARGUMENT: Final = {"replace": 1, "unlink": 0, "mkdir": 0}
"""The functions that change a name, and which of their arguments it is."""


@contextmanager
def living(process: Mortal) -> Iterator[None]:
    """Let everything that this Python process does below the roots, and every request, be the mortal process's."""
    try:
        with pytest.MonkeyPatch.context() as patch:
            _Descriptors(process).watch(patch)
            for kind, argument in _NAMED_ARGUMENT.items():
                patch.setattr(os, kind, _name_change(process, kind, argument))
            patch.setattr(httpcore.AsyncConnectionPool, "handle_async_request", _sender(process))
            yield
    finally:
        # With the real functions back in place.
        process.bury()


class _Descriptors:
    """The calls that work on open files.

    Args:
        process: Whose files they are.
    """

    def __init__(self, process: Mortal) -> None:
        self._process = process
        self._open, self._close, self._sync = os.open, os.close, os.fsync
        self._fdopen, self._write, self._flock = os.fdopen, os.write, fcntl.flock

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        """Take the place of the real ones."""
        patch.setattr(os, "open", self.open)
        patch.setattr(os, "close", self.close)
        patch.setattr(os, "fsync", self.sync)
        patch.setattr(os, "fdopen", self.fdopen)
        patch.setattr(fcntl, "flock", self.flock)

    def open(self, path: str | Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        """Open a file."""
        process = self._process

        def effect() -> int:
            return process.opened(self._open(path, flags, mode, dir_fd=dir_fd), Path(path), flags)

        if not process.is_ours(path):
            return self._open(path, flags, mode, dir_fd=dir_fd)
        if not flags & WRITING:
            return effect()
        return process.act(Call("open" if Path(path).exists() else "create", _short(Path(path))), effect)

    def close(self, descriptor: int) -> None:
        """Close a file, whoever is dead: nobody waits for the lock of the dead."""
        path = self._process.name_of(descriptor)
        wrote = self._process.closing(descriptor)
        self._close(descriptor)
        if wrote:
            self._process.act(Call("close", _short(path)), lambda: None)

    def sync(self, descriptor: int) -> None:
        """Sync a file: the kernel's own sync is left out, since it costs time, and the mortal process keeps count itself."""
        path = self._process.name_of(descriptor)
        if path is None:
            self._sync(descriptor)
            return
        self._process.act(Call("fsync", _short(path)), lambda: self._process.synced(descriptor))

    def fdopen(self, descriptor: int, mode: str = "r", *, closefd: bool = True) -> Any:  # noqa: ANN401 - as the real one
        """Give a file object."""
        if self._process.name_of(descriptor) is None or "w" not in mode:
            return self._fdopen(descriptor, mode, closefd=closefd)
        return _Writing(self._process, descriptor, self._write)

    def flock(self, descriptor: int, operation: int) -> None:
        """Lock a file."""
        self._process.require_life()
        self._flock(descriptor, operation)


class _Writing:
    """A file object whose writes go straight to the file, since the dead flush no buffers.

    Args:
        process: Whose file it is.
        descriptor: The open file.
        write: The real ``os.write``.
    """

    def __init__(self, process: Mortal, descriptor: int, write: Callable[[int, bytes], int]) -> None:
        self._process = process
        self._descriptor = descriptor
        self._write = write

    def write(self, content: bytes) -> int:
        """Write everything, or half of it and die."""
        process, name = self._process, _short(self._process.name_of(self._descriptor))
        deadly = process.begin(Call("write", name))
        torn = deadly and process.moment is Moment.TORN
        written = self._write(self._descriptor, content[: len(content) // 2] if torn else content)
        process.end(deadly=deadly)
        return written

    def flush(self) -> None:
        """Do nothing: nothing is held back."""
        self._process.require_life()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._descriptor)


def _name_change(process: Mortal, kind: str, argument: int) -> Callable[..., object]:
    real: Callable[..., object] = getattr(os, kind)

    def change(*arguments: str | Path, **rest: object) -> object:
        path = Path(arguments[argument])
        if not process.is_ours(path):
            return real(*arguments, **rest)

        def effect() -> object:
            if kind == "replace" or (kind == "unlink" and path.exists()):
                process.will_undo(path)
            return real(*arguments, **rest)

        return process.act(Call(kind, _short(path)), effect)

    return change


def _sender(process: Mortal) -> Callable[..., object]:
    real = httpcore.AsyncConnectionPool.handle_async_request

    async def send(pool: httpcore.AsyncConnectionPool, request: httpcore.Request) -> httpcore.Response:
        path = request.url.target.partition(b"?")[0].decode("ascii")
        deadly = process.begin(Call(request.method.decode("ascii"), path.rpartition("/machine")[2]))
        response = await real(pool, request)
        try:
            process.end(deadly=deadly)
        except KilledError:
            await response.aclose()
            raise
        return response

    return send


def _short(path: Path | None) -> str:
    """Name a file without the random part of temporary names."""
    if path is None:
        return "?"
    return f"{path.name[: -len('.0123456789ab')]} (temporary)" if path.name.startswith(".") else path.name
