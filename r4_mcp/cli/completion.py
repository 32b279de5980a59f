"""``r4-mcp completion``: a script that teaches a shell this command line.

What this file does not do: complete vaults and items. That would start a process that asks the service at every press of Tab.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Final

import shtab

_PLACES: Final = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY}
"""What an option's word in the help says of its value."""


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the script, made from the parser itself.

    Args:
        parser: The whole command line.
        shell: ``bash``, ``zsh`` or ``fish``.
    """
    for action in _actions(parser):
        if action.metavar in _PLACES:
            action.complete = _PLACES[action.metavar]  # type: ignore[attr-defined]  # where shtab looks for it
    return shtab.complete(parser, shell)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to look at a parser; shtab does the same
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            for command in action.choices.values():
                yield from _actions(command)
