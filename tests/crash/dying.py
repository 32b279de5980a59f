"""A process that dies at a chosen call: it writes nothing and sends nothing afterwards, whatever its ``finally`` clauses try.

What this file does not do: know what the process works on, judge what is left, or stand in its way; ``watching`` does that.

Rules:
1. The calls that count: creating a file or opening it to write, writing, syncing, closing, replacing, unlinking, making a folder,
   and each request. Reads of files are not counted: dying at one leaves what dying at the next call leaves.
2. Death is an exception outside of ``Exception``, and from then on every such call raises it too: ``finally`` clauses of a killed
   process do not run. Only closing works, since the kernel closes the files of the dead and so releases their locks.
3. In a power cut, what was not synced is lost: bytes of a file that was not, replacements and removals in a folder that was not.
   (POSIX promises no less; that a file system does better is its kindness.)
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final, TypeVar

ResultT = TypeVar("ResultT")

WRITING: Final = os.O_CREAT | os.O_WRONLY | os.O_RDWR
"""Flags of a file that is opened to be written."""

_HARMLESS: Final = frozenset({"open", "fsync", "close", "GET"})


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
        return self.kind not in _HARMLESS


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
        if flags & WRITING:
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
