"""``ls``, ``get`` and ``edit``: from parsed arguments to what is printed.

What this file does not do: the work of a command.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Final

import anyio

from r4_mcp.cli.edit import edit
from r4_mcp.cli.edit_wishes import EditWishes
from r4_mcp.cli.get import get, print_value
from r4_mcp.cli.ls import ls
from r4_mcp.cli.printing import say, say_json
from r4_mcp.config import Settings
from r4_mcp.secret import KnownSecrets


def run(given: argparse.Namespace, settings: Settings, known: KnownSecrets) -> int:
    """Run one of the three; returns the exit status.

    Raises:
        R4Error: As the command says.
    """
    _RUN[given.command](given, settings, known)
    return 0


def _ls(given: argparse.Namespace, settings: Settings, known: KnownSecrets) -> None:
    listed = anyio.run(partial(ls, settings, known, given.reference, local=given.local))
    if given.json:
        say_json(listed.payload, known)
    else:
        say(listed.lines, known)


def _get(given: argparse.Namespace, settings: Settings, known: KnownSecrets) -> None:
    print_value(anyio.run(partial(get, settings, known, given.reference, local=given.local, yes=given.yes)))


def _edit(given: argparse.Namespace, settings: Settings, known: KnownSecrets) -> None:
    websites = () if given.no_websites else None if given.website is None else tuple(given.website)
    wishes = EditWishes(given.name, given.type, websites, tuple(given.field_type), tuple(given.add), tuple(given.remove))
    say([anyio.run(partial(edit, settings, known, given.reference, wishes, local=given.local, yes=given.yes))], known)


_RUN: Final = {"ls": _ls, "get": _get, "edit": _edit}
