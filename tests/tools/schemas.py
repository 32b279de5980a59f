"""Validation of results against their schemas."""

from __future__ import annotations

from typing import Any, Final

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no types

from r4_mcp.tools import ALL_TOOLS

OUTPUTS: Final = {tool.name: tool.output_schema() for tool in ALL_TOOLS}


def check_result(tool: str, payload: dict[str, Any]) -> None:
    """A result has the form that its tool promises."""
    Draft202012Validator(OUTPUTS[tool]).validate(payload)


def check_schema(schema: dict[str, Any]) -> None:
    """A schema is one."""
    Draft202012Validator.check_schema(schema)
