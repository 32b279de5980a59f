"""One member more or less in a JSON text; every other byte stays.

What this file does not do: read or write files, or decide what is written.

Rules:
1. The layout is the text's own: its line breaks, its indentation, its habit of a comma after the last member, and one line where
   the object around it is one line.
2. Two members of one name on our way are refused: which of them a host takes is its own affair.
3. A comment of others is never inside what is taken out, unless it stands inside the entry itself.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from r4_mcp.cli.hosts.edit import Edited, Entry, Found, UneditableError
from r4_mcp.cli.hosts.jsonc import Container, JsonSyntaxError, Member, Node, line_of, plain, scan

_DEFAULT_INDENT: Final = "  "
_BLANK: Final = " \t\r\n"
_BREAK: Final = re.compile(r"\r\n|\n|\r")
_REST_OF_LINE: Final = re.compile(r"[ \t]*(?:\n|\r)")


@dataclass(frozen=True, slots=True)
class JsonEditor:
    """Edits ``{section: {name: entry}}`` inside a JSON text.

    Attributes:
        section: The member that holds the servers.
        name: The name of our entry.
        comments: Whether comments and trailing commas are allowed.
    """

    section: str
    name: str
    comments: bool

    def find(self, text: str) -> Found | None:
        """Return our entry, as ``Editor`` says."""
        if not text.strip(_BLANK):
            return None
        section = self._section(text, self._root(text))
        ours = None if section is None else self._one(text, section, self.name)
        if ours is None:
            return None
        lines = text.count("\n", ours.start, ours.node.end) + 1
        return Found(_value(text, ours.node), line_of(text, ours.start), lines)

    def insert(self, text: str, entry: Entry) -> Edited:
        """Add our entry, as ``Editor`` says."""
        if not text.strip(_BLANK):
            whole = json.dumps({self.section: {self.name: entry}}, indent=_DEFAULT_INDENT, ensure_ascii=False) + "\n"
            return Edited(text + whole, whole, line_of(text, len(text)))
        root = self._root(text)
        section = self._section(text, root)
        layout = _Layout.of(text, root)
        if section is None:
            return layout.append(root, 1, self.section, {self.name: entry}, one_line=layout.is_one_line(root))
        one_line = layout.is_one_line(section) or layout.is_one_line(root)
        return layout.append(section, 2, self.name, entry, one_line=one_line)

    def remove(self, text: str) -> str:
        """Take our entry out, as ``Editor`` says."""
        section, ours = self._ours(text)
        before = [member for member in section.members if member.start < ours.start]
        comma = ours.comma if ours.comma is not None or not before else before[-1].comma
        cuts = [(_cut_start(text, ours), ours.node.end)]
        if comma is not None:
            cuts.append((comma, comma + 1))
        for start, end in sorted(cuts, reverse=True):
            text = text[:start] + text[end:]
        if len(section.members) == 1:
            emptied = self._section(text, self._root(text))
            if emptied is not None and not text[emptied.start + 1 : emptied.end - 1].strip(_BLANK):
                text = text[: emptied.start] + "{}" + text[emptied.end :]
        return text

    def replace(self, text: str, entry: Entry) -> Edited:
        """Put our entry in the place of the old one, as ``Editor`` says."""
        section, ours = self._ours(text)
        layout = _Layout.of(text, self._root(text))
        own = _own_line_indent(text, ours)
        value = layout.value(entry, layout.unit * 2 if own is None else own, one_line=layout.is_one_line(section))
        added = text[ours.start - len(own or "") : ours.node.start] + value
        return Edited(text[: ours.node.start] + value + text[ours.node.end :], added, line_of(text, ours.start))

    def _ours(self, text: str) -> tuple[Container, Member]:
        section = self._section(text, self._root(text))
        ours = None if section is None else self._one(text, section, self.name)
        if section is None or ours is None:
            raise AssertionError  # Callers look with ``find`` first.
        return section, ours

    def _root(self, text: str) -> Container:
        try:
            root = scan(text, comments=self.comments)
        except JsonSyntaxError as error:
            kind = "JSON" if not self.comments else "JSON, comments allowed"
            raise UneditableError(
                f"it is not {kind}: line {error.line}, column {error.column} should have {error.expected}"
            ) from None
        if not isinstance(root, Container) or not root.is_object:
            raise UneditableError("it is JSON, but no object")
        return root

    def _section(self, text: str, root: Container) -> Container | None:
        member = self._one(text, root, self.section)
        if member is None:
            return None
        if not isinstance(member.node, Container) or not member.node.is_object:
            raise UneditableError(f"{self.section} on line {line_of(text, member.start)} is no object")
        return member.node

    def _one(self, text: str, around: Container, key: str) -> Member | None:
        found = around.of(key)
        if len(found) > 1:
            lines = " and ".join(str(line_of(text, member.start)) for member in found)
            raise UneditableError(f"{key} stands there more than once, on lines {lines} (rule 2)")
        return found[0] if found else None


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a text is laid out (rule 1)."""

    text: str
    newline: str
    unit: str

    @classmethod
    def of(cls, text: str, root: Container) -> _Layout:
        newline = _BREAK.search(text)
        first = _own_line_indent(text, root.members[0]) if root.members else None
        return cls(text, "\n" if newline is None else newline.group(), first or _DEFAULT_INDENT)

    def is_one_line(self, container: Container) -> bool:
        return bool(container.members) and _BREAK.search(self.text, container.start, container.end) is None

    def indent_of(self, container: Container, depth: int) -> str:
        last = _own_line_indent(self.text, container.members[-1]) if container.members else None
        return self.unit * depth if last is None else last

    def value(self, value: object, indent: str, *, one_line: bool) -> str:
        if one_line:
            return json.dumps(value, ensure_ascii=False)
        lines = json.dumps(value, indent=self.unit, ensure_ascii=False).split("\n")
        return (self.newline + indent).join(lines)

    def append(self, container: Container, depth: int, key: str, value: object, *, one_line: bool) -> Edited:
        """Add a member at the end of an object."""
        indent = self.indent_of(container, depth)
        ours = f"{json.dumps(key, ensure_ascii=False)}: {self.value(value, indent, one_line=one_line)}"
        last = container.members[-1] if container.members else None
        comma_before = "," if last is not None and last.comma is None else ""
        comma_after = "," if last is not None and last.comma is not None else ""
        tail = container.tail.at
        rest = self.text[tail : container.end - 1]
        if one_line:
            gap, end = (" " if last is not None else ""), ""
        else:
            gap = self.newline + indent
            end = "" if _BREAK.search(rest) else self.newline + self.unit * (depth - 1)
        middle = gap + ours + comma_after + end
        at = last.node.end if last is not None and comma_before else tail
        between = self.text[at:tail]
        text = self.text[:at] + comma_before + between + middle + self.text[tail:]
        line = line_of(self.text, tail) + gap.count("\n")
        return Edited(text, ours if one_line else indent + ours, line)


def _own_line_indent(text: str, member: Member) -> str | None:
    """Return the white space before a member that begins its line, or None where something else does."""
    begin = max(text.rfind("\n", 0, member.start), text.rfind("\r", 0, member.start)) + 1
    before = text[begin : member.start]
    return before if begin > 0 and not before.strip(" \t") else None


def _cut_start(text: str, ours: Member) -> int:
    """Return where the white space before our member begins, unless its line break still has to end a comment (rule 3)."""
    after = text[ours.node.end :] if ours.comma is None else text[ours.node.end : ours.comma] + text[ours.comma + 1 :]
    needed = _BREAK.match(text, ours.lead.at) if ours.lead.ends_line and not _REST_OF_LINE.match(after) else None
    return ours.lead.at if needed is None else needed.end()


def _value(text: str, node: Node) -> object:
    try:
        return plain(text, node)
    except ValueError:
        return None  # A number of thousands of digits; nothing that we wrote.
