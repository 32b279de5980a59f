"""Strict JSON, as JSON or with comments and trailing commas, read into nodes that know where they stand in the text.

What this file does not do: change a text, or show one. An error names a line and a column, never what is there: configurations
of other programs hold secrets. (PyPI's libraries that keep comments are young and have few users; what is needed here is one
scan.)

Rules:
1. Without the extension the grammar is RFC 8259's, nothing more: no ``NaN``, no control character in a string, no text after the
   value. With it, ``//`` and ``/* */`` comments count as white space, and one comma may follow the last member or element.
2. Nesting is bounded, so that a text can't exhaust the stack.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

MAX_DEPTH: Final = 200
"""Objects and arrays within each other; hosts nest fewer than ten."""

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_LINE_COMMENT: Final = re.compile(r"//[^\n\r]*")
_BLOCK_COMMENT: Final = re.compile(r"/\*.*?\*/", re.DOTALL)
_STRING: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_SCALAR: Final = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


class JsonSyntaxError(ValueError):
    """The text is not of the grammar (rule 1).

    Args:
        expected: What should stand there, in our own words.
        text: The whole text, from which only the place is taken.
        offset: Where, in characters.
    """

    def __init__(self, expected: str, text: str, offset: int) -> None:
        super().__init__(expected)
        self.expected = expected
        self.line = line_of(text, offset)
        self.column = offset - (text.rfind("\n", 0, offset) + 1) + 1


def line_of(text: str, offset: int) -> int:
    """Return the number of the line, from 1, on which a character stands."""
    return text.count("\n", 0, offset) + 1


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its place: ``text[start:end]``."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Gap:
    """A place between two things.

    Attributes:
        at: Behind the last comment, comma, value or bracket; white space may follow.
        ends_line: Whether a comment ends there that needs the line break after it.
    """

    at: int
    ends_line: bool


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an object, or one element of an array, whose key is empty.

    Attributes:
        key: Its decoded name.
        lead: What stands before it.
        start: Where it begins: at its name, or at the element.
        node: Its value.
        comma: Where the comma after it stands, or None.
    """

    key: str
    lead: Gap
    start: int
    node: Node
    comma: int | None


@dataclass(frozen=True, slots=True)
class Container(Node):
    """An object or an array.

    Attributes:
        is_object: Which of the two.
        members: What it holds, in the text's order.
        tail: Where a further member may begin, before the closing bracket.
    """

    is_object: bool
    members: tuple[Member, ...]
    tail: Gap

    def of(self, key: str) -> list[Member]:
        """Return the members of a name: one, none, or several in a text that no two readers understand alike."""
        return [member for member in self.members if member.key == key]


def scan(text: str, *, comments: bool) -> Node:
    """Read a text.

    Args:
        text: The whole text, without a byte order mark.
        comments: Whether comments and trailing commas are allowed.

    Raises:
        JsonSyntaxError: Rule 1 or 2.
    """
    return _Scanner(text, comments=comments).document()


class _Scanner:
    def __init__(self, text: str, *, comments: bool) -> None:
        self._text = text
        self._comments = comments
        self._at = 0
        self._gap = 0
        self._gap_ends_line = False

    def document(self) -> Node:
        self._skip()
        node = self._value(MAX_DEPTH)
        self._skip()
        if self._at != len(self._text):
            raise self._problem("nothing more after the value")
        return node

    def _problem(self, expected: str) -> JsonSyntaxError:
        return JsonSyntaxError(expected, self._text, self._at)

    def _here(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self) -> None:
        """Pass white space and comments; the gap stays behind the last comment, or where this began."""
        self._gap, self._gap_ends_line = self._at, False
        while True:
            self._match(_SPACE)
            if not self._comments or self._here() != "/":
                return
            self._gap_ends_line = bool(self._match(_LINE_COMMENT))
            if not (self._gap_ends_line or self._match(_BLOCK_COMMENT)):
                raise self._problem("a comment that ends")
            self._gap = self._at

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found.group()

    def _value(self, depth: int) -> Node:
        start = self._at
        here = self._here()
        if here in {"{", "["}:
            return self._container(depth)
        if not self._match(_STRING if here == '"' else _SCALAR):
            raise self._problem("a string that ends and holds no line break" if here == '"' else "a value")
        return Node(start, self._at)

    def _container(self, depth: int) -> Container:
        if depth == 0:
            raise self._problem(f"at most {MAX_DEPTH} levels")
        start = self._at
        is_object = self._here() == "{"
        closing = "}" if is_object else "]"
        members: list[Member] = []
        self._at += 1
        self._skip()
        while self._here() != closing:
            if members and members[-1].comma is None:
                raise self._problem(f"a comma or {closing}")
            members.append(self._member(depth, closing, is_object=is_object))
        if members and members[-1].comma is not None and not self._comments:
            raise self._problem("no comma before it" if is_object else "an element, or no comma before it")
        tail = Gap(self._gap, self._gap_ends_line)
        self._at += 1
        return Container(start, self._at, is_object, tuple(members), tail)

    def _member(self, depth: int, closing: str, *, is_object: bool) -> Member:
        lead, start, key = Gap(self._gap, self._gap_ends_line), self._at, ""
        if is_object:
            name = self._match(_STRING)
            if not name:
                raise self._problem(f"a name in double quotes, or {closing}")
            key = json.loads(name) if "\\" in name else name[1:-1]
            self._skip()
            if self._here() != ":":
                raise self._problem("a colon")
            self._at += 1
            self._skip()
        node = self._value(depth - 1)
        self._skip()
        comma = self._at if self._here() == "," else None
        if comma is not None:
            self._at += 1
            self._skip()
        return Member(key, lead, start, node, comma)


def plain(text: str, node: Node) -> object:
    """Return a node as the plain Python value that ``json`` would give; of members of one name the last counts, as there."""
    if not isinstance(node, Container):
        return json.loads(text[node.start : node.end])
    if node.is_object:
        return {member.key: plain(text, member.node) for member in node.members}
    return [plain(text, member.node) for member in node.members]
