"""The embedded vault's file: SQLite, opened once per operation, written in whole transactions.

What this file does not do: know what the rows mean.

Rules:
1. A new file is built aside and published complete, so that two processes at first use meet one file, never half a schema.
2. Each operation has its own connection: threads and processes share the file, not objects.
3. A write is one ``BEGIN IMMEDIATE`` transaction: it commits when the block ends, and leaves no trace when the block raises.
4. The folder is 0700 and the file 0600; SQLite gives its WAL and shared-memory files the mode of the file.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from r4_mcp.emulator import change_log, schema
from r4_mcp.emulator.fresh import new_id
from r4_mcp.emulator.private_files import FILE_MODE, draft_path, private_folder, publish_draft
from r4_mcp.errors import AlreadyExistsError, FileAccessError

FILE_NAME: Final = "vault.sqlite3"
BUSY_SECONDS: Final = 15.0
"""How long one writer waits for another."""


class Store:
    """One embedded vault on disk. Holds no connection, so it needs no closing; make it with ``open``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def open(cls, directory: Path) -> Store:
        """Open the vault in a folder, making both at first use.

        Args:
            directory: Its folder; made with mode 0700.

        Raises:
            FileAccessError: The folder or file is unusable, open to others, or of another schema version.
        """
        private_folder(directory)
        path = directory / FILE_NAME
        if not path.exists():
            # Another process may publish first (rule 1); both files would be empty, so either will do.
            with suppress(AlreadyExistsError):
                _publish_empty(path)
        store = cls(path)
        try:
            if path.stat().st_mode & 0o077:
                raise FileAccessError(f"{path} is open to other users", next_step=f"chmod 600 {path}")
            with store.read() as db:
                (version,) = db.execute("PRAGMA user_version").fetchone()
        except (OSError, sqlite3.DatabaseError):
            raise FileAccessError(f"{path} is not a readable embedded vault") from None
        if version != schema.VERSION:
            raise FileAccessError(f"{path} has schema version {version}, this program knows {schema.VERSION}")
        return store

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Give a connection that sees one unchanging state."""
        with closing(self._connect()) as db:
            db.execute("BEGIN")
            yield db

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Give a connection that holds the write lock; commits at the end of the block (rule 3)."""
        with closing(self._connect()) as db:
            db.execute("BEGIN IMMEDIATE")
            yield db
            # Not reached when the block raised: closing without COMMIT rolls back.
            db.execute("COMMIT")

    def _connect(self) -> sqlite3.Connection:
        # mode=rw: a vanished file is an error, not a new empty vault.
        db = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA synchronous = NORMAL")
        return db


def fact(db: sqlite3.Connection, name: str) -> str | None:
    """Return one of the store's own facts (tenant id, seed marker)."""
    row = db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row["value"])


def set_fact(db: sqlite3.Connection, name: str, value: str) -> None:
    """Record one of the store's own facts."""
    db.execute(
        "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
    )


def _publish_empty(path: Path) -> None:
    draft = draft_path(path)
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE))
    with closing(sqlite3.connect(draft, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(f"BEGIN; {schema.SCRIPT} {change_log.SCRIPT} COMMIT;")
        db.execute(f"PRAGMA user_version = {schema.VERSION:d}")
        set_fact(db, "tenant_id", new_id())
        set_fact(db, "org_id", new_id())
    publish_draft(draft, path)
