"""What an edit of a host's configuration comes to, whatever its language.

What this file does not do: edit. ``json_edit`` and ``toml_edit`` do, and both keep every byte that is not our entry's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

Entry = dict[str, object]
"""One server as a host reads it: command, arguments, and little else."""


class UneditableError(ValueError):
    """A text can't be edited safely. It says where and why, never what stands there.

    It does not leave this package: ``install`` knows the file, and tells it as a ``ConfigurationError``.
    """


@dataclass(frozen=True, slots=True)
class Found:
    """The entry that a text holds under our name.

    Attributes:
        value: What it says; anything, since others may have written it.
        line: Where it begins; None where it has no lines of its own.
        lines: How many lines it takes.
    """

    value: object
    line: int | None
    lines: int


@dataclass(frozen=True, slots=True)
class Edited:
    """A text after an edit.

    Attributes:
        text: The whole of it.
        added: The part that is ours, for people; nothing of others.
        line: The line at which that part begins.
    """

    text: str
    added: str
    line: int


class Editor(Protocol):
    """One language of configuration files. Texts have no byte order mark; every method refuses a text that it can't read."""

    def find(self, text: str) -> Found | None:
        """Return our entry.

        Raises:
            UneditableError: The text is not of the language, or its section is no table of servers.
        """

    def insert(self, text: str, entry: Entry) -> Edited:
        """Add our entry to a text that has none.

        Raises:
            UneditableError: As for ``find``; or it can't be added without touching something else.
        """

    def remove(self, text: str) -> str:
        """Take our entry out of a text that has it; an emptied section stays.

        Raises:
            UneditableError: As for ``find``; or it can't be taken out without touching something else.
        """

    def replace(self, text: str, entry: Entry) -> Edited:
        """Put our entry in the place of the one of the same name.

        Raises:
            UneditableError: As for ``insert`` and ``remove``.
        """
