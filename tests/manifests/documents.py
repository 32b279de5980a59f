"""What the README says in the words of the code: the tables of tools and settings, and the session on its first screen.

What this file does not do: touch a line that a person wrote. What is derived stands between two markers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from r4_mcp.config import SETTINGS
from r4_mcp.policy.model import DEFAULTS, Switches
from r4_mcp.server.dispatch import is_visible
from r4_mcp.tools import ALL_TOOLS
from r4_mcp.tools.tool import Tool

from .session import condensed

README: Final = Path(__file__).parents[2] / "README.md"

_NONE: Final = "\N{EN DASH}"
_PART: Final = re.compile(r"(?P<begin><!-- derived: (?P<name>[a-z]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)


def readme(parts: Mapping[str, str]) -> str:
    """Return the README with parts of it written anew.

    Args:
        parts: By the name that a part's marker gives; a part that is not named here stays as it is.
    """
    return _PART.sub(lambda part: part["begin"] + parts.get(part["name"], kept(part["name"])) + part["end"], README.read_text())


def kept(name: str) -> str:
    """Return a part as it stands in the README."""
    return {part["name"]: part[0][len(part["begin"]) : -len(part["end"])] for part in _PART.finditer(README.read_text())}[name]


def session(printed: str) -> dict[str, str]:
    """Return the part that shows a session, from what the demo printed."""
    return {"session": f"```console\n{condensed(printed)}```\n"}


def tables() -> dict[str, str]:
    """Return the derived tables, by the names of their parts."""
    return {"tools": tools(), "settings": settings()}


def tools() -> str:
    """Return the table of tools: arguments from the schema, the description that models read, and what hides a tool."""
    rows = ((f"`{tool.name}`", _arguments(tool), tool.description, _hidden(tool)) for tool in ALL_TOOLS)
    return _table(("tool", "arguments", "what its description tells the model", "hidden"), rows)


def settings() -> str:
    """Return the table of settings."""
    return _table(("variable", "meaning"), ((f"`{name}`", meaning) for name, meaning in SETTINGS.items()))


def _table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (titles, tuple("---" for _ in titles), *rows)
    return "".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines)


def _arguments(tool: Tool[Any]) -> str:
    schema = tool.input_schema()
    required = schema.get("required", [])
    return ", ".join(f"`{name}`" if name in required else f"`{name}?`" for name in schema["properties"]) or _NONE


def _hidden(tool: Tool[Any]) -> str:
    if not is_visible(tool, Switches(), lambda: DEFAULTS):
        return "until the policy lists something for it"
    switches = {"R4_READ_ONLY": Switches(read_only=True), "R4_NO_REVEAL": Switches(no_reveal=True)}
    return ", ".join(f"`{name}`" for name, switch in switches.items() if not is_visible(tool, switch, lambda: DEFAULTS)) or _NONE
