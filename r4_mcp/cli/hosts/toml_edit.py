"""One table more or less in a TOML text; every other byte stays.

What this file does not do: read or write files, or decide what is written.

Rules:
1. A new table is appended: that is valid wherever a table of servers can be extended at all.
2. What is taken out is the lines of our own tables, up to their last key; comments and empty lines behind them belong to what
   follows and stay.
3. Each result is read again (``tomllib``) and must say what the text said before, our entry apart. Where it does not, because
   the servers are an inline table or are spread over dotted keys, nothing is changed and a person is asked to do it.

A library that writes TOML back was tried (``tomlkit`` 0.15): it takes the comment behind a removed table away with it, and adds
bare line feeds to a text of CR LF lines.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from r4_mcp.cli.hosts.edit import Edited, Entry, Found, UneditableError

_HEADER: Final = re.compile(r"^[ \t]*\[", re.MULTILINE)
_PLACE: Final = re.compile(r"line ([0-9]+), column ([0-9]+)")

Tables = dict[str, object]


@dataclass(frozen=True, slots=True)
class TomlEditor:
    """Edits the table ``[section.name]`` of a TOML text; both are bare keys.

    Attributes:
        section: The table that holds the servers.
        name: The name of our entry.
    """

    section: str
    name: str

    def find(self, text: str) -> Found | None:
        """Return our entry, as ``Editor`` says."""
        servers = self._servers(_parse(text))
        if self.name not in servers:
            return None
        blocks = list(self._blocks(text))
        line = text.count("\n", 0, blocks[0][0]) + 1 if blocks else None
        return Found(servers[self.name], line, sum(text[start:end].rstrip().count("\n") + 1 for start, end in blocks))

    def insert(self, text: str, entry: Entry) -> Edited:
        """Add our entry, as ``Editor`` says."""
        before = _parse(text)
        newline = "\r\n" if "\r\n" in text else "\n"
        gap = "" if not text.strip() else newline if text.endswith("\n") else newline * 2
        lines = [f"[{self.section}.{self.name}]", *(f"{key} = {_value(value)}" for key, value in entry.items())]
        added = newline.join(lines) + newline
        after = text + gap + added
        wanted = {**before, self.section: {**self._servers(before), self.name: entry}}
        return Edited(self._proven(after, wanted), added, (text + gap).count("\n") + 1)

    def remove(self, text: str) -> str:
        """Take our entry out, as ``Editor`` says."""
        before = _parse(text)
        servers = {name: server for name, server in self._servers(before).items() if name != self.name}
        after = text
        for start, end in reversed(list(self._blocks(text))):
            begin = start
            if end == len(after) and after[:begin].endswith(("\n\n", "\n\r\n")):
                begin -= 2 if after[:begin].endswith("\r\n") else 1
            after = after[:begin] + after[end:]
        return self._proven(after, {**before, self.section: servers})

    def replace(self, text: str, entry: Entry) -> Edited:
        """Put our entry in the place of the old one, at the end, as ``Editor`` says."""
        return self.insert(self.remove(text), entry)

    def _servers(self, tables: Tables) -> Tables:
        servers = tables.get(self.section, {})
        if not isinstance(servers, dict):
            raise UneditableError(f"{self.section} is no table")
        return servers

    def _proven(self, text: str, wanted: Tables) -> str:
        """Return a text that says what it should (rule 3)."""
        try:
            proven = self._without_empty(_parse(text)) == self._without_empty(wanted)
        except UneditableError:
            proven = False
        if not proven:
            raise UneditableError(f"{self.section} is written in a form that can't be changed without touching other servers")
        return text

    def _without_empty(self, tables: Tables) -> Tables:
        """Return what a text says, with no section where it holds no server: the last table takes it along."""
        return {name: table for name, table in tables.items() if name != self.section or table != {}}

    def _blocks(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where our tables stand (rule 2). What only looks like a header, inside a long string, fails the proof."""
        starts = [found.start() for found in _HEADER.finditer(text)]
        for start, end in pairwise([*starts, len(text)]):
            if self._is_ours(text[start:end].split("\n", 1)[0].rstrip("\r")):
                last = start
                for line in re.finditer(r"[^\n]*\n?", text[start:end]):
                    if line.group().strip() and not line.group().lstrip().startswith("#"):
                        last = start + line.end()
                yield start, last

    def _is_ours(self, header: str) -> bool:
        try:
            tables = tomllib.loads(header)
        except tomllib.TOMLDecodeError:
            return False
        servers = tables.get(self.section)
        return isinstance(servers, dict) and self.name in servers


def _parse(text: str) -> Tables:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # Its text may quote a key; only the place is taken.
        place = _PLACE.search(str(error))
        where = f"line {place[1]}, column {place[2]}" if place else "its end"
        raise UneditableError(f"it is not TOML: {where} is where reading it fails") from None
    except RecursionError:
        raise UneditableError("it is not TOML that can be read: it nests too deeply") from None


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(member)}" for key, member in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_value(member) for member in value) + "]"
    # A JSON string is a basic string of TOML, DEL apart.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
