"""An environment of its own for each checker and each client, fetched once and kept in a cache.

What this file does not do: run them, or decide what happens where one can't be fetched: it raises ``UnfetchedError``.

Rules:
1. An environment is named by what is asked for, so that another version is another environment.
2. It counts once it is marked as complete. One that isn't is made anew.
3. Packages of npm run no script when they are installed, but for ``node``, whose script fetches the platform's binary.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .versions import NODE, NPM, PYPI

SECONDS: Final = 240.0
"""How long fetching one environment may take."""

_QUIET: Final = ("--no-audit", "--no-fund", "--no-update-notifier", "--loglevel", "error")
_MARK: Final = "complete"


class UnfetchedError(Exception):
    """An environment can't be made here: the tool that makes it, or what it fetches, is missing."""


def cache_folder() -> Path:
    """Return the folder of all environments: ``$R4_CHECKERS_CACHE``, else one in the user's cache."""
    named = os.environ.get("R4_CHECKERS_CACHE")
    return Path(named).resolve() if named else Path.home() / ".cache" / "r4-mcp-checkers"


def python_programs(name: str) -> Path:
    """Return the folder of the programs of a Python environment, ``python`` among them.

    Raises:
        UnfetchedError: It can't be made here.
    """
    uv, wanted = _tool("uv"), PYPI[name]
    folder = _folder(name, wanted, sys.version)
    programs = folder / "bin"
    if not _is_complete(folder):
        _run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
        _run([uv, "pip", "install", "--quiet", "--python", str(programs / "python"), wanted])
        (folder / _MARK).touch()
    return programs


def node_program(name: str) -> list[str]:
    """Return the command that starts a program of npm: Node.js and the program's file.

    Raises:
        UnfetchedError: It can't be made here.
    """
    folder = _npm(name, "--ignore-scripts")
    return [str(node()), str((folder / "node_modules" / ".bin" / name).resolve())]


def node() -> Path:
    """Return a Node.js that is new enough: the machine's, else npm's.

    Raises:
        UnfetchedError: There is none, and npm's can't be fetched.
    """
    found = shutil.which("node")
    if found is not None:
        told = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=SECONDS, check=False).stdout
        version = re.match(r"v(\d+)\.(\d+)\.", told)
        if version is not None and (int(version[1]), int(version[2])) >= NODE:
            return Path(found)
    return _npm("node") / "node_modules" / ".bin" / "node"


def _npm(name: str, *options: str) -> Path:
    npm, wanted = _tool("npm"), NPM[name]
    folder = _folder(name, wanted)
    if not _is_complete(folder):
        folder.mkdir(parents=True)
        _run([npm, "install", "--prefix", str(folder), *options, *_QUIET, wanted])
        (folder / _MARK).touch()
    return folder


def _folder(name: str, *wanted: str) -> Path:
    digest = hashlib.sha256("\n".join(wanted).encode()).hexdigest()
    return cache_folder() / f"{name}-{digest[:12]}"


def _is_complete(folder: Path) -> bool:
    if (folder / _MARK).exists():
        return True
    shutil.rmtree(folder, ignore_errors=True)
    return False


def _tool(name: str) -> str:
    # Beside this Python first: an environment that isn't active has its programs off PATH.
    found = shutil.which(name, path=Path(sys.executable).parent) or shutil.which(name)
    if found is None:
        raise UnfetchedError(f"{name} is not installed")
    return found


def _run(command: Sequence[str]) -> None:
    program = Path(command[0]).name
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise UnfetchedError(f"{program} did not finish within {SECONDS:.0f} seconds for {command[-1]}") from None
    if done.returncode != 0:
        raise UnfetchedError(f"{program} could not fetch {command[-1]}: {done.stderr.strip()[-300:]}")
