"""A checker as people run it: a process with a home folder of its own, which starts the real server over stdio.

What this file does not do: judge what a checker says.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from r4_mcp.emulator.embedded import open_embedded
from r4_mcp.policy.audit_format import CURRENT
from r4_mcp.policy.model import DEFAULTS, Switches
from r4_mcp.secret import KnownSecrets
from r4_mcp.server.dispatch import is_visible
from r4_mcp.tools import ALL_TOOLS
from tests.cli.running import COMMAND, Ended
from tests.doors import BITS

SERVER: Final = (*COMMAND, "serve", "--local")
VISIBLE_TOOLS: Final = [tool.name for tool in ALL_TOOLS if is_visible(tool, Switches(), lambda: DEFAULTS)]
"""What is listed where the operator wrote no policy."""
SECONDS: Final = 150.0
"""How long a checker may take."""


@dataclass(frozen=True)
class User:
    """Whoever runs a checker.

    Attributes:
        home: The home folder, with an embedded vault in the default ``R4_HOME``. It is found by ``HOME`` alone: the official SDK
            hands a server that it starts no variable of ours.
        work: Where the checker runs and may leave files.
    """

    home: Path
    work: Path

    @property
    def state(self) -> Path:
        """The default ``R4_HOME``."""
        return self.home / ".r4"

    def run(self, *command: str) -> Ended:
        """Run a checker to its end."""
        # A program of npm starts others by the name `node`.
        path = os.pathsep.join([str(Path(command[0]).parent), os.environ["PATH"]])
        done = subprocess.run(
            command,
            cwd=self.work,
            env={"HOME": str(self.home), "PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def outcomes(state: Path) -> list[tuple[str, str]]:
    """Return each call's tool and how it ended, by the server's own record in its ``R4_HOME``."""
    lines = (state / "audit" / CURRENT).read_text().splitlines()
    return [(line["tool"], line["outcome"]) for line in map(json.loads, lines)]


def new_user(folder: Path) -> User:
    """Make a user; their embedded vault has a small key, which is quicker to make."""
    user = User(folder / "home", folder / "work")
    user.work.mkdir()
    user.state.mkdir(mode=0o700, parents=True)
    open_embedded(user.state / "local", KnownSecrets(), bits=BITS)
    return user
