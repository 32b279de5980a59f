"""Texts as hosts and their users write them, made by Hypothesis."""

from __future__ import annotations

import json
import re

from hypothesis import strategies as st

from r4_mcp.cli.hosts.edit import Entry

ENTRY: Entry = {"command": "/opt/r4/bin/r4-mcp", "args": ["serve", "--profile", "work"], "env": {"R4_HOME": "/home/ada/.r4"}}
SECTION, NAME = "mcpServers", "r4"

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | names
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=12
)
servers = st.dictionaries(names.filter(lambda name: name != NAME), values, max_size=4)
documents = st.dictionaries(names.filter(lambda name: name != SECTION), values, max_size=4)

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^\s"\[\]{}:,]+')
_SPACES = [" ", "\t", "\n", "\r\n", "", "", ' /* , } " */ ', ' // { " ,\n', "/**/"]


@st.composite
def configurations(draw: st.DrawFn, *, comments: bool, newline: str = "\n") -> str:
    """Draw a configuration without our entry: with the section or not, on one line or many, with comments or not."""
    document: dict[str, object] = dict(draw(documents))
    if draw(st.booleans()):
        document[SECTION] = draw(servers)
    order = draw(st.permutations(list(document)))
    document = {name: document[name] for name in order}
    text = json.dumps(document, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 2, 4, "\t"])))
    if comments:
        text = draw(dressed(text))
    return text.replace("\r\n", "\n").replace("\n", newline)


@st.composite
def dressed(draw: st.DrawFn, text: str) -> str:
    """Draw white space and comments between the tokens of a JSON text, and commas before closing brackets."""
    tokens = _TOKEN.findall(text)
    parts: list[str] = []
    for index, token in enumerate(tokens):
        parts.append(draw(st.sampled_from(_SPACES)))
        before = tokens[index - 1] if index else ""
        if token in {"}", "]"} and before not in {"{", "[", ""} and draw(st.booleans()):
            parts.append("," + draw(st.sampled_from(_SPACES)))
        parts.append(token)
    return "".join([*parts, draw(st.sampled_from(_SPACES))])
