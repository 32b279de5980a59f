"""The grammar of ``ls``, ``get``, ``edit`` and ``completion``: what people look, read and change with.

What this file does not do: run anything.
"""

from __future__ import annotations

import argparse
from typing import Final

SHELLS: Final = ("bash", "zsh", "fish")
"""Shells that ``completion`` writes for."""

ITEM_TYPES: Final = ("LOGIN", "API_KEY", "DATABASE", "SSH_KEY", "SERVER", "SECURE_NOTE", "CREDIT_CARD", "CUSTOM")
"""The types of items, spelled out: importing them from where they are defined costs start-up."""


def add_people(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> tuple[argparse.ArgumentParser, ...]:
    """Add the commands that need a vault; returns their parsers, for the options that every command has."""
    ls = commands.add_parser("ls", help="list vaults, a vault's items, or an item's fields; never values")
    ls.add_argument("reference", nargs="?", metavar="REF", help="r4://vault or r4://vault/item; without it all vaults")
    add_json(ls)
    get = commands.add_parser(
        "get",
        help="show one field to a person",
        description=(
            "Show one field. At a terminal it asks first; to a pipe it prints the bare value and a line break. The reveal "
            "budget and the exposure ledger are about models and don't change; the audit log notes it. What the policy denies "
            "to models is shown only after a yes that is typed."
        ),
    )
    get.add_argument("reference", metavar="REF", help="r4://vault/item/field, or r4://vault/item with one secret field")
    get.add_argument("--yes", action="store_true", help="don't ask, unless the policy denies it to models")
    return ls, get, _add_edit(commands)


def _add_edit(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    edit = commands.add_parser(
        "edit",
        help="change an item's name, type, websites and fields, as no model may",
        description=(
            "Change an item. It shows what would change, and asks. Values are typed without an echo, or piped. The change is "
            "signed with this agent's key, so websites count as the agent's afterwards, not as set by a person."
        ),
    )
    edit.add_argument("reference", metavar="REF", help="r4://vault/item")
    edit.add_argument("--name", help="the item's new name")
    edit.add_argument("--type", choices=ITEM_TYPES, metavar="TYPE", help=f"its new type: {', '.join(ITEM_TYPES)}")
    sites = edit.add_mutually_exclusive_group()
    sites.add_argument("--website", action="append", metavar="URL", help="its websites from now on; repeat for several")
    sites.add_argument("--no-websites", action="store_true", help="take all websites away")
    edit.add_argument(
        "--field-type", action="append", default=[], metavar="NAME=TYPE", help="a field's new type; its value stays"
    )
    edit.add_argument("--add", action="append", default=[], metavar="NAME[:TYPE]", help="add a field, PASSWORD by default")
    edit.add_argument("--remove", action="append", default=[], metavar="NAME", help="remove a field")
    edit.add_argument("--yes", action="store_true", help="don't ask")
    return edit


def add_completion(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add ``completion``; returns its parser."""
    completion = commands.add_parser("completion", help="print a script that completes this command line in a shell")
    completion.add_argument("shell", choices=SHELLS)
    return completion


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json`` to a command that lists."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
