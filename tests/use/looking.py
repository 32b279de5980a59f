"""Looking for the values in everything that a call leaves behind.

What this file does not do: know how. The masker finds every spelling that it promises to find; what it would change, leaks.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from r4_mcp.secret import KnownSecrets, SecretKind
from r4_mcp.sinks.masking import Masker
from tests.doors import Door, World

from .services import VALUES


def require_nowhere(world: World, door: Door, caplog: pytest.LogCaptureFixture) -> None:
    """Fail where a value stands in an answer, the log, what R4 was sent, or a file below the home."""
    for what, text in _everything(world, door, caplog):
        require_absent(text, what)


def require_absent(text: str, what: str) -> None:
    """Fail where a value stands in a text."""
    known = KnownSecrets()
    masker = Masker({f"value {number}": known.text(value, SecretKind.FIELD) for number, value in enumerate(VALUES)})
    assert masker.text(text) == text.encode("utf-8", "replace").decode(), f"a value stands in {what}"


def _everything(world: World, door: Door, caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    texts = [("the transcript", raw) for raw in door.raw]
    texts.append(("the log", caplog.text))
    texts += [(f"a request to R4: {exchange.line}", exchange.body.decode("latin-1")) for exchange in world.tap.exchanges]
    texts += [(str(path), path.read_bytes().decode("latin-1")) for path in _files(world.home)]
    return texts


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
