"""Whether git would leave a file alone: it neither tracks the path nor could pick it up.

What this file does not do: change a repository, or trust one that belongs to somebody else.

Rules:
1. Where a folder above has a ``.git``, the ``git`` program answers; without an answer the path is refused.
2. git runs without this user's settings and environment. So a repository of another user is refused by git itself (its
   ``safe.directory`` rule), and ignore rules that only this user's settings have do not count: others clone without them.
3. A repository's own settings can name programs. The one that these two commands would start, the file system monitor, is
   switched off, and so is fetching.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from r4_mcp.errors import SecretFileRefusedError

PROGRAM_FOLDERS: Final = "/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin"
"""Where ``git`` is looked for: not on this process's PATH, which a project's own tools may lead."""

GIT_SECONDS: Final = 10.0

_ENVIRONMENT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "PATH": PROGRAM_FOLDERS,
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_DISCOVERY_ACROSS_FILESYSTEM": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "none",
    }
)


def require_ignored(folder: Path, name: str) -> None:
    """Let a path pass that git leaves alone.

    Args:
        folder: The real path of an existing folder.
        name: The file's name in it.

    Raises:
        SecretFileRefusedError: git tracks it, does not ignore it, or can't say.
    """
    above = (folder, *folder.parents)
    if any(part.name.casefold() == ".git" for part in above):
        raise SecretFileRefusedError("the path lies inside a repository's own folder")
    if not any(os.path.lexists(part / ".git") for part in above):
        return
    git = shutil.which("git", path=PROGRAM_FOLDERS)
    if git is None:
        raise SecretFileRefusedError(
            "the path lies in a git repository, and there is no git program to ask whether it is ignored"
        )
    # Neither a pattern nor magic: the one command is told so, the other reads none of them behind a folder.
    if _answer(git, folder, "--literal-pathspecs", "ls-files", "--error-unmatch", "--", name):
        raise SecretFileRefusedError("git tracks that path", next_step="Choose another path: what git tracks is shared.")
    if not _answer(git, folder, "check-ignore", "--quiet", "--", f"./{name}"):
        raise SecretFileRefusedError(
            "git does not ignore that path", next_step="Ask the user to add it to .gitignore, or choose a path that is ignored."
        )


def _answer(git: str, folder: Path, *arguments: str) -> bool:
    argv = [git, "-c", "core.fsmonitor=false", *arguments]
    try:
        found = subprocess.run(  # noqa: S603 - a fixed program; the name stands behind --
            argv,
            cwd=folder,
            env=dict(_ENVIRONMENT),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        raise SecretFileRefusedError("git did not say whether it ignores that path") from None
    if found.returncode not in {0, 1}:
        raise SecretFileRefusedError("git does not answer for that folder: the repository is damaged, or another user's")
    return found.returncode == 0
