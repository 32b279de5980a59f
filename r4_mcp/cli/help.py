"""Help: what an exit status means, examples of every command, and how wrong usage is told.

What this file does not do: define a command; ``parser`` does.

Rules:
1. Wrong usage never repeats what was typed: it may be a value that somebody meant to store.
2. Everything fits in 80 columns.
3. Help is laid out when it is asked for: a framework may start a process for every tool call, and start-up is felt.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from typing import Final, NoReturn

EXIT_STATUS: Final = {
    0: "Done. For doctor and audit --verify: all is well.",
    1: "Refused or failed, explained on stderr. For doctor and audit --verify: something is wrong, told on stdout.",
    2: "Wrong usage; nothing was done.",
    130: "Interrupted with Ctrl-C.",
}
"""What the program's exit status means."""

_COLUMNS: Final = 80
_BESIDE: Final = 34
"""Columns of an example beside which there is room for what it does."""

_TYPED: Final = re.compile(r"(invalid choice|invalid \w+ value|ignored explicit argument):? .*?(?= \(choose from|$)")


class _Parser(argparse.ArgumentParser):
    """A parser whose help has examples, and whose refusals say what to do next. Its commands' parsers are of the same class."""

    def format_help(self) -> str:
        """Return the help (rules 2 and 3)."""
        from r4_mcp.cli.examples import EXAMPLES  # noqa: PLC0415 - rule 3

        command = self.prog.partition(" ")[2]
        self.formatter_class = argparse.RawDescriptionHelpFormatter
        self.description = _filled(self.description or "", 0)
        if command in EXAMPLES:
            self.epilog = _examples(EXAMPLES[command])
        if not command:
            self.epilog = "\n\n".join((self.epilog or "", _settings_table(), _exit_table()))
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Tell wrong usage on stderr (rule 1), and exit with status 2."""
        self.print_usage(sys.stderr)
        told = _TYPED.sub(r"\1", message)
        next_step = f"next: `{self.prog} --help` shows what it takes, with examples."
        self.exit(2, "\n".join((_filled(f"{self.prog}: {told}", 0), next_step, "")))


def new_parser(program: str, description: str) -> argparse.ArgumentParser:
    """Return an empty parser."""
    return _Parser(program, description=description)


def describe_commands(parser: argparse.ArgumentParser) -> None:
    """Give every command that has no description its line in the list of commands for one."""
    for told, command in _commands(parser):
        command.description = command.description or f"{told[:1].upper()}{told[1:]}."


def _examples(pairs: Iterable[tuple[str, str]]) -> str:
    return "\n".join(["examples:", *(line for typed, does in pairs for line in _example(typed, does))])


def _example(typed: str, does: str) -> Iterator[str]:
    if len(typed) <= _BESIDE:
        yield f"  {typed:<{_BESIDE}}  {does}"
    else:
        yield f"  {typed}"
        yield f"  {'':<{_BESIDE}}  {does}"


def _settings_table() -> str:
    from r4_mcp.config import SETTINGS  # noqa: PLC0415 - rule 3

    lines = (line for name, meaning in SETTINGS.items() for line in (f"  {name}", _filled(meaning, 6)))
    return "\n".join(["settings (environment):", *lines])


def _exit_table() -> str:
    return "\n".join(["exit status:", *(_filled(meaning, 7, f"  {status:<5}") for status, meaning in EXIT_STATUS.items())])


def _filled(text: str, columns: int, beginning: str | None = None) -> str:
    indent = " " * columns
    return textwrap.fill(
        text,
        _COLUMNS,
        initial_indent=indent if beginning is None else beginning,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to look at a parser
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001 - as above
            for name, command in action.choices.items():
                yield helps.get(name, ""), command
                yield from _commands(command)
