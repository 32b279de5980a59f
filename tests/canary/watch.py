"""The watch: everything that leaves the product or stays behind, sink by sink, since the last look.

What this file does not do: judge. It hands over bytes; whoever looks knows what may stand where.

Rules:
1. Log records are taken raw, from every logger at DEBUG, with their exceptions; and as the product's own handler writes them.
2. Streams are watched where they end: file descriptors 1 and 2, and the objects that Python prints to.
3. The working directory, the folder for temporary files and the user's home are folders of the watch's own while it watches.
4. A file is looked at again when its inode, size or time of change differ.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, TextIO

from r4_mcp.cli.logs import set_up_logging
from r4_mcp.secret import KnownSecrets

from .raised import Raised, collecting, shown

LOGGERS: Final = ("r4_mcp", "httpx", "httpcore", "mcp", "asyncio", "anyio", "uvicorn")
"""Set to DEBUG beside the root, although the product's own set-up silences most of them."""


class Sink(StrEnum):
    """Where bytes can go."""

    RESULT = "JSON-RPC from the server"
    REQUEST = "JSON-RPC from the client"
    SERVICE = "HTTP to the service"
    LOG = "log record"
    OUTPUT = "stdout"
    ERRORS = "stderr"
    HOME = "file in the agent's home"
    WORK = "file in the working directory"
    TEMPORARY = "temporary file"
    USER = "file in the user's home"
    KEYS = "file of keys"
    STORE = "file of the service"
    FILED = "file that was asked for"
    EXCEPTION = "exception"
    LOCALS = "local of an exception's traceback"


@dataclass(frozen=True, slots=True)
class Seen:
    """What is new in one place of a sink.

    Attributes:
        sink: The sink.
        place: Where in it, without content; what may stand there depends on it.
        parts: Bytes, each with a closer place.
    """

    sink: Sink
    place: str
    parts: tuple[tuple[str, bytes], ...]

    @classmethod
    def one(cls, sink: Sink, place: str, content: bytes) -> Seen:
        """Return a place of one part."""
        return cls(sink, place, ((place, content),))


class _Records(logging.Handler):
    """Keeps every record, and the exception that it carries (rule 1)."""

    def __init__(self, raised: Raised) -> None:
        super().__init__(logging.DEBUG)
        self.kept: list[tuple[str, bytes]] = []
        self._raised = raised

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        text = f"{record.getMessage()}\n{record.msg!r}\n{record.args!r}\n{record.exc_text}\n{record.stack_info}"
        self.kept.append((record.name, text.encode("utf-8", "surrogatepass")))
        if record.exc_info:
            self._raised.note(record.exc_info[1])


@dataclass
class Watch:
    """What is watched.

    Attributes:
        folder: Holds the watch's own folders and streams.
        raised: Collects exceptions.
    """

    folder: Path
    raised: Raised = field(default_factory=Raised)
    _records: _Records = field(init=False)
    _read: dict[Sink, int] = field(default_factory=dict)
    _stamps: dict[Path, tuple[int, int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._records = _Records(self.raised)
        for part in ("work", "temporary", "user"):
            (self.folder / part).mkdir(mode=0o700)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch while the block runs."""
        with ExitStack() as stack:
            stack.enter_context(self._streams())
            stack.enter_context(self._folders())
            stack.enter_context(self._logging())
            stack.enter_context(collecting(self.raised))
            yield

    def listen(self, known: KnownSecrets) -> None:
        """Set logging up as a process with these secrets does, and beside it keep every record raw (rule 1)."""
        root = logging.getLogger()
        root.handlers.clear()
        set_up_logging(known)
        # First: the product's filter rewrites the record that it looks at.
        root.handlers.insert(0, self._records)
        root.setLevel(logging.DEBUG)
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.DEBUG)

    def taken(self, folders: Iterable[tuple[Sink, Path]] = ()) -> Iterator[Seen]:
        """Take what is new in every sink.

        Args:
            folders: Further folders to look at, such as the agent's home.
        """
        kept, self._records.kept = self._records.kept, []
        yield Seen(Sink.LOG, "", tuple(kept))
        sys.stdout.flush()
        sys.stderr.flush()
        for sink in (Sink.OUTPUT, Sink.ERRORS):
            with (self.folder / sink.name).open("rb") as file:
                file.seek(self._read.get(sink, 0))
                content = file.read()
                self._read[sink] = file.tell()
            yield Seen.one(sink, "", content)
        own = {Sink.WORK: "work", Sink.TEMPORARY: "temporary", Sink.USER: "user"}
        for sink, folder in [*((sink, self.folder / part) for sink, part in own.items()), *folders]:
            yield from self._changed(sink, folder)
        for error in self.raised.taken():
            parts = list(shown(error))
            for sink, local in ((Sink.EXCEPTION, False), (Sink.LOCALS, True)):
                yield Seen(sink, type(error).__name__, tuple((part.where, part.content) for part in parts if part.local is local))

    def _changed(self, sink: Sink, folder: Path) -> Iterator[Seen]:
        for path in folder.rglob("*"):
            where = str(path.relative_to(folder))
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue  # A database's own files come and go while it is asked; what stays is looked at.
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
            if self._stamps.get(path) != stamp:
                self._stamps[path] = stamp
                # A name can say as much as a content.
                content = _read(path)
                yield Seen(sink, where, (("name", where.encode("utf-8", "surrogateescape")), (where, content)))

    @contextmanager
    def _streams(self) -> Iterator[None]:
        with ExitStack() as stack:
            for descriptor, sink, redirect in ((1, Sink.OUTPUT, redirect_stdout), (2, Sink.ERRORS, redirect_stderr)):
                file = stack.enter_context((self.folder / sink.name).open("w", buffering=1))
                stack.enter_context(_diverted(descriptor, file))
                stack.enter_context(redirect(file))
            yield

    @contextmanager
    def _folders(self) -> Iterator[None]:
        before = Path.cwd(), tempfile.tempdir, os.environ.get("HOME")
        os.chdir(self.folder / "work")
        tempfile.tempdir = str(self.folder / "temporary")
        os.environ["HOME"] = str(self.folder / "user")
        try:
            yield
        finally:
            os.chdir(before[0])
            tempfile.tempdir = before[1]
            if before[2] is None:
                del os.environ["HOME"]
            else:
                os.environ["HOME"] = before[2]

    @contextmanager
    def _logging(self) -> Iterator[None]:
        root = logging.getLogger()
        loggers = [root, *map(logging.getLogger, LOGGERS)]
        before = root.handlers[:], [logger.level for logger in loggers], logging.raiseExceptions
        try:
            yield
        finally:
            root.handlers[:] = before[0]
            for logger, level in zip(loggers, before[1], strict=True):
                logger.setLevel(level)
            logging.raiseExceptions = before[2]


@contextmanager
def _diverted(descriptor: int, file: TextIO) -> Iterator[None]:
    kept = os.dup(descriptor)
    os.dup2(file.fileno(), descriptor)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(kept, descriptor)
        os.close(kept)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.is_file() else b""
    except FileNotFoundError:
        return b""  # As above: gone since it was seen.
