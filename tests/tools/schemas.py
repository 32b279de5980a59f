"""Validation of results against their schemas."""

from __future__ import annotations

from typing import Any, Final

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no types
from pydantic import TypeAdapter

from r4_mcp.tools import ALL_TOOLS

OUTPUTS: Final = {tool.name: tool.output_schema() for tool in ALL_TOOLS}
WHOLE: Final = {tool.name: TypeAdapter(tool.result).json_schema(mode="serialization") for tool in ALL_TOOLS}
"""With every member required, which the schemas of the listing leave out."""


def check_result(tool: str, payload: dict[str, Any]) -> None:
    """A result has the form that its tool promises, and every member."""
    Draft202012Validator(OUTPUTS[tool]).validate(payload)
    Draft202012Validator(WHOLE[tool]).validate(payload)


def check_schema(schema: dict[str, Any]) -> None:
    """A schema is one."""
    Draft202012Validator.check_schema(schema)
