"""The commands that the documents tell people to type.

What this file does not do: run one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[2]
DOCUMENTS: Final = ("README.md", "manifests/README.md", "r4_mcp/README.md", ".github/CONTRIBUTING.md", ".github/SECURITY.md")

_BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN: Final = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_COMMENT: Final = re.compile(r"\s+# .*$")
_SHELLS: Final = frozenset({"console", "sh", "bash", "shell", "zsh"})


def shell_lines(document: str) -> Iterator[str]:
    """Yield each command of a document's shell blocks, in order, without its comment.

    In a session (``console``) these are the lines after a ``$``; in another block, all of them.
    """
    for kind, block in _BLOCK.findall((REPOSITORY / document).read_text()):
        if kind not in _SHELLS:
            continue
        for line in block.splitlines():
            typed = line.removeprefix("$ ") if line.startswith("$ ") else "" if kind == "console" else line
            if typed and not typed.startswith("#"):
                yield _COMMENT.sub("", typed)


def spoken_of(document: str) -> Iterator[str]:
    """Yield each command of ours that stands in a sentence or a table of a document."""
    text = _BLOCK.sub("", (REPOSITORY / document).read_text())
    yield from (span for span in _SPAN.findall(text) if span.startswith("r4-mcp "))
