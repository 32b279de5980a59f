"""How a model reads what its framework makes of a result: from the text in its prompt to the payload.

What this file does not do: forgive. Each reader knows one form, and fails on any other.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from typing import Any, Final

from tests.doors import compact

Payload = dict[str, Any]
Reader = Callable[[str], Payload]

_PRINTED: Final = re.compile(r"content=\[TextContent\(type='text', text=('.*?'), annotations=None, meta=None\)\]")


def plain(text: str) -> Payload:
    """Read the text as the server wrote it: compact JSON, nothing more."""
    payload: Payload = json.loads(text)
    assert text == compact(payload)
    return payload


def within_error(text: str) -> Payload:
    """Read the text as the server wrote it; an error is wrapped as ``{"error": text}`` (Pydantic AI)."""
    payload: Payload = json.loads(text)
    return plain(payload["error"]) if set(payload) == {"error"} else plain(text)


def whole_result(text: str) -> Payload:
    """Read the JSON of the whole result: text and structured content say the same (Google ADK)."""
    result: Payload = json.loads(text)
    (block,) = result["content"]
    payload = plain(block["text"])
    assert result["structuredContent"] == payload
    return payload


def printed_result(text: str) -> Payload:
    """Read the whole result as Python prints it (LlamaIndex)."""
    found = _PRINTED.search(text)
    assert found is not None, text
    return plain(ast.literal_eval(found[1]))
