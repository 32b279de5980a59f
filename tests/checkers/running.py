"""A checker as people run it: a process with a home folder of its own, which starts the real server over stdio.

What this file does not do: judge what a checker says.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from r4_mcp.emulator.embedded import open_embedded
from r4_mcp.errors import InternalError
from r4_mcp.policy.audit_format import CURRENT
from r4_mcp.secret import KnownSecrets
from tests.cli.running import COMMAND, Ended
from tests.doors import BITS

SERVER: Final = (*COMMAND, "serve", "--local")
SECONDS: Final = 150.0
"""How long a checker may take."""


@dataclass(frozen=True)
class User:
    """Whoever runs a checker: a home folder with an embedded vault in it.

    The vault is found by ``HOME`` alone, because the official SDK hands a server that it starts no other variable of ours.

    Attributes:
        home: The home folder.
        work: Where the checker runs and may leave files.
    """

    home: Path
    work: Path

    @property
    def state(self) -> Path:
        """The default of ``R4_HOME``."""
        return self.home / ".r4"

    def run(self, command: Sequence[str]) -> Ended:
        """Run a checker to its end."""
        # Node's programs start others by the name `node`.
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

    def outcomes(self) -> list[str]:
        """Return how each call ended, by the server's own record of it."""
        lines = (self.state / "audit" / CURRENT).read_text().splitlines()
        return [outcome_of(line) for line in lines]


def outcome_of(line: str) -> str:
    """Return the outcome that a line of the audit log names."""
    import json  # noqa: PLC0415 - placeholder

    outcome: str = json.loads(line)["outcome"]
    return outcome
