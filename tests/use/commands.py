"""An item whose values programs are given, and the operator's list of those programs.

What this file does not do: play a part of ours. Programs are real: scripts in a folder of the test, run by this interpreter.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from r4_mcp.core.wire import Classification, FieldType, ItemType
from r4_mcp.emulator.drafts import FieldDraft
from r4_mcp.machine.contract import Level
from r4_mcp.secret import SecretKind
from tests.doors import POLICY, World, write_private

from .services import PASSWORD, PIN, SEED, TOKEN, USER

VAULT: Final = "Quay"
FIELDS: Final = {
    "Token": (FieldType.SECRET, TOKEN),
    "Password": (FieldType.PASSWORD, PASSWORD),
    "User": (FieldType.TEXT, USER),
    "Pin": (FieldType.SECRET, PIN),
    "Code": (FieldType.TOTP, SEED),
    "Odd": (FieldType.SECRET, "a value with a NUL\0inside"),
}


def ref(field: str, item: str = "Crane") -> str:
    """Return the reference of a field."""
    return f"r4://{VAULT}/{item}/{field}"


@dataclass(frozen=True, slots=True)
class Quay:
    """A vault with two items, and a folder of programs."""

    world: World
    folder: Path
    vault_id: str
    item_id: str
    other_id: str

    def program(self, code: str, *, name: str = "program.py") -> list[str]:
        """Write a script; returns how it is started. That it was is seen by a file that it makes first."""
        path = self.folder / name
        path.write_text(f"import os, sys\nopen({str(self.folder / 'started')!r}, 'a').write('.')\n{code}\n")
        return [sys.executable, "-I", str(path)]

    @property
    def started(self) -> int:
        """How many programs were started."""
        path = self.folder / "started"
        return len(path.read_text()) if path.exists() else 0

    def item(self, *, other: bool = False) -> str:
        """Return the reference of an item, by ids."""
        return f"r4://{self.vault_id}/{self.other_id if other else self.item_id}"

    def template(self, argv: Iterable[object], **members: object) -> str:
        """Return the lines that list a command; what is not said is of the item, by ``T`` or the standard input."""
        listed: dict[str, Any] = {"name": "crane", "argv": list(argv), "folder": "/", "secrets": [self.item()], "env": ["T"]}
        lines = [f"{key} = {_toml(value)}\n" for key, value in {**listed, "stdin": True, **members}.items()]
        return "[[run_command.allow]]\n" + "".join(lines)

    def allow(self, *templates: str, more: str = "") -> None:
        """Write the operator's policy."""
        write_private(self.world.home / "policy.toml", "".join(templates) + more + POLICY)


def quay(world: World, folder: Path, classification: Classification | None = Classification.INTERNAL) -> Quay:
    """Make the vault in a world; nothing is listed yet."""
    operator = world.seeded.operator
    vault_id = operator.create_vault(VAULT, classification)
    operator.grant(world.seeded.credentials.agent_id, vault_id, Level.WRITE)
    drafts = [FieldDraft(name, kind, world.known.text(value, SecretKind.FIELD)) for name, (kind, value) in FIELDS.items()]
    drafts.append(FieldDraft("File", FieldType.FILE, None))
    made = [operator.create_item(vault_id, name, ItemType.CUSTOM, [], drafts) for name in ("Crane", "Winch")]
    for _ in range(2):
        operator.create_item(vault_id, "Twin", ItemType.CUSTOM, [], drafts[:1])
    return Quay(world, folder, vault_id, made[0].item_id, made[1].item_id)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(member)}" for key, member in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
