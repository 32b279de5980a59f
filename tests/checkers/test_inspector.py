"""The official Inspector finds no error in the tools' schemas, in both protocol eras."""

from __future__ import annotations

import json
import re

import pytest

from .environments import node_program
from .running import SERVER, VISIBLE_TOOLS, User, outcomes

pytestmark = pytest.mark.checkers


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_inspector_finds_no_error_in_the_schemas(user: User, era: str) -> None:
    """Its strict lint ends with status 6 where there is an error; warnings are counted, not refused."""
    inspector = [*node_program("inspector"), "--cli", "--protocol-era", era]
    ended = user.run(*inspector, "--method", "tools/list", "--strict", *SERVER)
    assert ended.status == 0, ended.err
    assert re.search(r"^0 errors, ", ended.err, re.MULTILINE), ended.err[-500:]
    listed = {tool["name"] for tool in json.loads(ended.out)["tools"]}
    assert listed == set(VISIBLE_TOOLS)


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_inspector_calls_a_tool(user: User, era: str) -> None:
    """Its text is the compact JSON of its structured content."""
    inspector = [*node_program("inspector"), "--cli", "--protocol-era", era]
    ended = user.run(*inspector, "--method", "tools/call", "--tool-name", "list_vaults", *SERVER)
    assert ended.status == 0, ended.err
    result = json.loads(ended.out)
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
    assert outcomes(user.state) == [("list_vaults", "ok")]


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_inspector_shows_an_error_that_fits_the_output_schema(user: User, era: str) -> None:
    """An error has structured content, and no complaint about it hides what it says."""
    inspector = [*node_program("inspector"), "--cli", "--protocol-era", era]
    # The option takes whatever follows it, up to the next one.
    asked = ["--tool-arg", "reference=r4://Nowhere/nothing/none", "--method", "tools/call", "--tool-name", "read_secret"]
    ended = user.run(*inspector, *asked, *SERVER)
    result = json.loads(ended.out)
    assert result["isError"] is True, ended.err
    assert result["structuredContent"]["code"] == "not_found"
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
    assert outcomes(user.state) == [("read_secret", "not_found")]
