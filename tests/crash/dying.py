"""A process that dies at a chosen call: it writes nothing and sends nothing afterwards, whatever its ``finally`` clauses try.

What this file does not do: know what the process works on, or judge what is left. It stands between our code and the operating
system and network of its machine; nothing of ours is replaced.

Rules:
1. The calls that count: creating a file or opening it to write, writing, syncing, closing, replacing, unlinking, making a folder,
   and each request. Reads of files are not counted: dying at one leaves what dying at the next call leaves.
2. Death is an exception outside of ``Exception``, and from then on every such call raises it too: ``finally`` clauses of a killed
   process do not run. Only closing works, since the kernel closes the files of the dead and so releases their locks.
3. In a power cut, what was not synced is lost: bytes of a file that was not, replacements and removals in a folder that was not.
   (POSIX promises no less; that a file system does better is its kindness.)
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

import httpx
import pytest

ResultT = TypeVar("ResultT")

_WRITING: Final = os.O_CREAT | os.O_WRONLY | os.O_RDWR
_CHANGING: Final = frozenset({"create", "write", "replace", "unlink", "mkdir", "POST", "DELETE"})


class KilledError(BaseException):
    """The process is gone. Not an ``Exception``: nothing that handles errors handles this."""


class Moment(Enum):
    """When the chosen call kills."""

    BEFORE = "before"
    TORN = "half way"
    AFTER = "after"


class Death(Enum):
    """What kills."""

    KILL = "kill -9"
    POWER_CUT = "power cut"


@dataclass(frozen=True)
class Call:
    """One call that counts (rule 1)."""

    kind: str
    target: str

    def __str__(self) -> str:
        return f"{self.kind} {self.target}"

    @property
    def is_request(self) -> bool:
        """Whether it went to the service."""
        return self.kind.isupper()

    @property
    def changes(self) -> bool:
        """Whether a kill after it leaves another world than a kill before it."""
        return self.kind in _CHANGING


@dataclass
class Mortal:
    """A process that counts its calls and dies at one of them.

    Attributes:
        roots: The folders whose files count.
        die_at: Number of the deadly call, from 1; 0 to live.
        moment: Before it, after it, or half way through a write.
        death: What kills.
        calls: The calls so far.
        dead: Whether it has died.
        at_risk: Whether something was unsynced when it died, so that a power cut leaves less than a kill.
    """

    roots: Sequence[Path]
    die_at: int = 0
    moment: Moment = Moment.BEFORE
    death: Death = Death.KILL
    calls: list[Call] = field(default_factory=list)
    dead: bool = False
    at_risk: bool = False
    _open: dict[int, Path] = field(default_factory=dict)
    _written: set[int] = field(default_factory=set)
    _unsynced: set[int] = field(default_factory=set)
    _undo: list[tuple[Path, Callable[[], None]]] = field(default_factory=list)
    _lock: Any = field(default_factory=threading.RLock)

    def begin(self, call: Call) -> bool:
        """Count a call; says whether it is the deadly one. Dies where it is deadly before it takes effect."""
        with self._lock:
            self.require_life()
            self.calls.append(call)
            deadly = len(self.calls) == self.die_at
            if deadly and self.moment is Moment.BEFORE:
                self.die()
            return deadly

    def end(self, *, deadly: bool) -> None:
        """Die after a deadly call, or with the process that died meanwhile."""
        with self._lock:
            if deadly:
                self.die()
            self.require_life()

    def require_life(self) -> None:
        """Refuse the calls of the dead (rule 2)."""
        if self.dead:
            raise KilledError

    def die(self) -> None:
        """Die now."""
        self.strike()
        raise KilledError

    def strike(self) -> None:
        """Be dead from now on."""
        with self._lock:
            self.dead = True

    def act(self, call: Call, effect: Callable[[], ResultT]) -> ResultT:
        """Make one call."""
        with self._lock:
            deadly = self.begin(call)
            result = effect()
            self.end(deadly=deadly)
            return result

    def is_ours(self, path: object) -> bool:
        """Say whether a path counts."""
        return isinstance(path, (str, os.PathLike)) and any(Path(path).is_relative_to(root) for root in self.roots)

    def opened(self, descriptor: int, path: Path, flags: int) -> int:
        """Note an open file."""
        self._open[descriptor] = path
        if flags & _WRITING:
            self._written.add(descriptor)
        if flags & os.O_EXCL:
            self._unsynced.add(os.fstat(descriptor).st_ino)
        return descriptor

    def closing(self, descriptor: int) -> bool:
        """Forget an open file; says whether it was open for writing."""
        self._open.pop(descriptor, None)
        wrote = descriptor in self._written
        self._written.discard(descriptor)
        return wrote

    def name_of(self, descriptor: int) -> Path | None:
        """Return the path of a file of ours."""
        return self._open.get(descriptor)

    def synced(self, descriptor: int) -> None:
        """Note that a file's bytes, or a folder's names, are safe."""
        path = self._open[descriptor]
        self._unsynced.discard(os.fstat(descriptor).st_ino)
        self._undo = [(folder, undo) for folder, undo in self._undo if folder != path]

    def will_undo(self, path: Path) -> None:
        """Keep what a name stands for, until its folder is synced."""
        before = path.read_bytes() if path.exists() else None

        def undo() -> None:
            path.unlink(missing_ok=True)
            if before is not None:
                path.write_bytes(before)
                path.chmod(0o600)

        self._undo.append((path.parent, undo))

    def bury(self) -> None:
        """Close what is still open, as the kernel does; after a power cut, lose what was not synced (rule 3)."""
        for descriptor in list(self._open):
            with suppress(OSError):
                os.close(descriptor)
        self._open.clear()
        unsynced = [path for root in self.roots for path in root.rglob("*") if self._is_unsynced(path)]
        self.at_risk = bool(unsynced or self._undo)
        if self.dead and self.death is Death.POWER_CUT:
            for path in unsynced:
                os.truncate(path, 0)
            for _, undo in reversed(self._undo):
                undo()

    def _is_unsynced(self, path: Path) -> bool:
        return path.is_file() and path.stat().st_ino in self._unsynced and path.stat().st_size > 0


class _Writing:
    """What ``os.fdopen`` gives for a file of ours: every write goes straight to the file, since the dead flush no buffers."""

    def __init__(self, process: Mortal, descriptor: int, write: Callable[[int, bytes], int]) -> None:
        self._process = process
        self._descriptor = descriptor
        self._write = write

    def write(self, content: bytes) -> int:
        process, name = self._process, _short(self._process.name_of(self._descriptor))
        deadly = process.begin(Call("write", name))
        torn = deadly and process.moment is Moment.TORN
        written = self._write(self._descriptor, content[: len(content) // 2] if torn else content)
        process.end(deadly=deadly)
        return written

    def flush(self) -> None:
        self._process.require_life()

    def fileno(self) -> int:
        return self._descriptor

    def __enter__(self) -> _Writing:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._descriptor)


@contextmanager
def living(process: Mortal) -> Iterator[None]:
    """Let everything that this Python process does below the roots, and every request, be the mortal process's."""
    try:
        with pytest.MonkeyPatch.context() as patch:
            _watch_descriptors(process, patch)
            _watch_names(process, patch)
            _watch_network(process, patch)
            yield
    finally:
        # With the real functions back in place.
        process.bury()


def _watch_descriptors(process: Mortal, patch: pytest.MonkeyPatch) -> None:
    real_open, real_close, real_sync, real_fdopen, real_write = os.open, os.close, os.fsync, os.fdopen, os.write
    real_flock = fcntl.flock

    def mortal_open(path: Any, flags: int, mode: int = 0o777, **rest: Any) -> int:
        def effect() -> int:
            return process.opened(real_open(path, flags, mode, **rest), Path(path), flags)

        if not process.is_ours(path):
            return real_open(path, flags, mode, **rest)
        if not flags & _WRITING:
            return effect()
        return process.act(Call("open" if Path(path).exists() else "create", _short(Path(path))), effect)

    def mortal_close(descriptor: int) -> None:
        path = process.name_of(descriptor)
        if path is None:
            real_close(descriptor)
            return
        wrote = process.closing(descriptor)
        # Rule 2: closed in any case, so that nobody waits for the lock of the dead.
        real_close(descriptor)
        if wrote:
            process.act(Call("close", _short(path)), lambda: None)

    def mortal_sync(descriptor: int) -> None:
        path = process.name_of(descriptor)
        if path is None:
            real_sync(descriptor)
            return

        # The kernel's own sync is left out: it costs time, and what is synced here is what rule 3 keeps.
        process.act(Call("fsync", _short(path)), lambda: process.synced(descriptor))

    def mortal_fdopen(descriptor: int, mode: str = "r", **rest: Any) -> Any:
        if process.name_of(descriptor) is None or "w" not in mode:
            return real_fdopen(descriptor, mode, **rest)
        return _Writing(process, descriptor, real_write)

    def mortal_flock(descriptor: int, operation: int) -> None:
        process.require_life()
        real_flock(descriptor, operation)

    patch.setattr(os, "open", mortal_open)
    patch.setattr(os, "close", mortal_close)
    patch.setattr(os, "fsync", mortal_sync)
    patch.setattr(os, "fdopen", mortal_fdopen)
    patch.setattr(fcntl, "flock", mortal_flock)


def _watch_names(process: Mortal, patch: pytest.MonkeyPatch) -> None:
    def watch(kind: str, named: int) -> None:
        """Watch a function that changes the name that is its argument number ``named``."""
        real = getattr(os, kind)

        def mortal(*paths: Any, **rest: Any) -> Any:
            path = paths[named]
            if not process.is_ours(path):
                return real(*paths, **rest)

            def effect() -> Any:
                if kind == "replace" or (kind == "unlink" and Path(path).exists()):
                    process.will_undo(Path(path))
                return real(*paths, **rest)

            return process.act(Call(kind, _short(Path(path))), effect)

        patch.setattr(os, kind, mortal)

    for kind, named in {"replace": 1, "unlink": 0, "mkdir": 0}.items():
        watch(kind, named)


def _watch_network(process: Mortal, patch: pytest.MonkeyPatch) -> None:
    real_send = httpx.AsyncHTTPTransport.handle_async_request

    async def mortal_send(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        deadly = process.begin(Call(request.method, request.url.path.rpartition("/machine")[2]))
        response = await real_send(transport, request)
        try:
            process.end(deadly=deadly)
        except KilledError:
            await response.aclose()
            raise
        return response

    patch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", mortal_send)


def _short(path: Path | None) -> str:
    """Name a file without the random part of temporary names."""
    if path is None:
        return "?"
    return f"{path.name[: -len('.0123456789ab')]} (temporary)" if path.name.startswith(".") else path.name
