"""Somebody who reads the documents and types what stands there: a home, a profile, vaults, and programs of their own.

What this file does not do: say what should happen; ``test_commands`` does.

Rules:
1. The home, and where the commands are typed, are folders of the test. Nothing of the machine's user is read or written.
2. What the documents take for granted is there: a host, an agent with a profile, the vaults and the project that they name.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from r4_mcp.core.wire import Classification, FieldType, ItemType, ProjectId
from r4_mcp.emulator.drafts import FieldDraft
from r4_mcp.emulator.embedded import open_embedded
from r4_mcp.machine.contract import Level
from r4_mcp.secret import KnownSecrets, SecretKind
from tests.cli.profiles import Credentials, encrypted, new_agent, write_config, write_profile
from tests.cli.running import Ended, at_terminal
from tests.doors import BITS, World, write_private

TOKEN: Final = "the-token-of-no-account"  # noqa: S105 - of an emulator
PROGRAM: Final = '#!/bin/sh\nenv | grep -E "^(TOKEN|APP_[A-Z_]*)=" | sort\n'


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        world: The R4 of their profile.
        home: ``HOME``.
        folder: Where they type.
        fresh: An agent that is not set up yet.
    """

    world: World
    home: Path
    folder: Path
    fresh: Credentials

    @property
    def environment(self) -> dict[str, str]:
        """The environment of their shell: the installed command comes first on ``PATH``."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return {"HOME": str(self.home), "PATH": path, "TERM": "dumb"}

    def types(self, line: str, *answers: tuple[str, str], **variables: str) -> Ended:
        """Type one line at a terminal.

        Args:
            line: For bash.
            answers: What to wait for, and what to type then.
            variables: More of the environment.
        """
        return at_terminal(("bash", "-c", line), environment={**self.environment, **variables}, typed=answers, folder=self.folder)


def new_reader(world: World, folder: Path) -> Reader:
    """Make a reader whose default profile is the world's agent (rule 2)."""
    reader = Reader(world, folder / "reader", folder / "typing", new_agent(world))
    state = reader.home / ".r4"
    state.mkdir(mode=0o700, parents=True)
    reader.folder.mkdir()
    (reader.home / ".cursor").mkdir()
    members = world.agent_members()
    api_key = f"{members['accessKey']}.{members['accessSecret']}"
    write_profile(state, "default", api_key, members["privateKey"], baseUrl=world.base_url)
    write_config(state, defaultProfile="default")
    open_embedded(state / "local", KnownSecrets(), bits=BITS)
    world.add_item("Production", "Database", ("password", FieldType.PASSWORD, TOKEN))
    project = world.seeded.operator.create_project("Storefront", members=[members["agentId"]])
    _fill(world, "Work", "Example", "GitHub")
    _fill(world, "Storefront", "Stripe", project=project)
    for name in ("deploy", "serve"):
        write_private(reader.folder / name, PROGRAM, 0o700)
    return reader


def encrypt_key(reader: Reader) -> Path:
    """Encrypt the key of the reader's default profile; returns its path."""
    path = reader.home / ".r4" / "profiles" / "default" / "private-key.pem"
    return write_private(path, encrypted(reader.world.seeded.agent_key))


def _fill(world: World, vault: str, *items: str, project: ProjectId | None = None) -> None:
    operator = world.seeded.operator
    made = operator.create_vault(vault, Classification.INTERNAL, project)
    operator.grant(world.agent_members()["agentId"], made, Level.WRITE)
    for item in items:
        value = world.known.text(TOKEN, SecretKind.FIELD)
        draft = FieldDraft("token", FieldType.SECRET, value, exported=project is not None)
        operator.create_item(made, item, ItemType.CUSTOM, [], [draft])
