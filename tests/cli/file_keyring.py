"""A backend of the ``keyring`` library that keeps its entries in a file of a test.

What this file does not do: replace the library. It is chosen as its users choose one: by ``PYTHON_KEYRING_BACKEND``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordSetError


def keyring_environment(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a keyring that keeps its entries in a file."""
    return {
        "PYTHON_KEYRING_BACKEND": "tests.cli.file_keyring.FileKeyring",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "R4_TEST_KEYRING": str(tmp_path / "keyring.json"),
    }


class FileKeyring(KeyringBackend):
    """Keeps entries in the file that ``R4_TEST_KEYRING`` names; it is locked while ``<file>.locked`` is there."""

    priority = 1.0

    def get_password(self, service: str, username: str) -> str | None:
        """Return an entry."""
        if _file().with_suffix(".locked").exists():
            raise KeyringLocked
        return _entries().get(f"{service} {username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        """Store an entry."""
        if _file().with_suffix(".full").exists():
            raise PasswordSetError
        _file().write_text(json.dumps({**_entries(), f"{service} {username}": password}))

    def delete_password(self, service: str, username: str) -> None:
        """Remove an entry; the tests need none of this."""
        raise NotImplementedError


def _file() -> Path:
    return Path(os.environ["R4_TEST_KEYRING"])


def _entries() -> dict[str, str]:
    entries: dict[str, str] = json.loads(_file().read_text()) if _file().exists() else {}
    return entries
