"""The whole inventory: every tool, every schema, every hint."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any, Final

import mcp
import pytest

from r4_mcp.policy.model import Policy, Switches
from r4_mcp.server.app import build_server
from r4_mcp.server.dispatch import is_visible
from r4_mcp.tools import ALL_TOOLS
from r4_mcp.tools.tool import Tool
from tests.doors import ERAS, Era, World, in_memory

from .schemas import check_schema
from .snapshots import FOLDER, served, unconfigured

LISTING: Final = frozenset({"whoami", "list_projects", "list_vaults", "list_items", "search_items", "describe_item", "exposure"})
WRITING: Final = frozenset({"create_vault", "create_item", "update_item", "archive_item", "archive_vault", "rotate_key"})
DESTRUCTIVE: Final = frozenset(
    {"update_item", "archive_item", "archive_vault", "rotate_key", "machine_request", "http_request", "run_command"}
    | {"write_secret_file"}
)
UNLISTED: Final = frozenset({"machine_request", "run_command", "write_secret_file"})
"""Hidden where the policy lists nothing for them, as in every world here."""

every_tool = pytest.mark.parametrize("tool", ALL_TOOLS, ids=lambda tool: tool.name)


def nodes(schema: object) -> Iterator[dict[str, Any]]:
    """Walk every object of a JSON Schema."""
    if isinstance(schema, dict):
        yield schema
        for member in schema.values():
            yield from nodes(member)
    elif isinstance(schema, list):
        for member in schema:
            yield from nodes(member)


@every_tool
def test_every_tool_says_what_it_is(tool: Tool[Any]) -> None:
    """Name, title and a description of at most 400 characters that ends like a sentence."""
    assert tool.name.replace("_", "a").isalpha()
    assert tool.name.islower()
    assert tool.title
    assert 20 <= len(tool.description) <= 400
    assert tool.description.endswith(".")


@every_tool
def test_every_tool_sets_every_hint(tool: Tool[Any]) -> None:
    """The four annotations are on the wire, whatever their values."""
    annotations = json.loads((FOLDER / f"{tool.name}.json").read_text())["annotations"]
    assert set(annotations) == {"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}
    assert annotations["readOnlyHint"] is (tool.name in LISTING)
    assert annotations["destructiveHint"] is (tool.name in DESTRUCTIVE)
    assert annotations["openWorldHint"] is True


def test_reading_a_secret_is_neither_read_only_nor_destructive() -> None:
    """Hosts confirm read-only tools silently; a reveal should be seen."""
    read = next(tool for tool in ALL_TOOLS if tool.name == "read_secret")
    assert (read.read_only, read.destructive, read.reveals, read.writes) == (False, False, True, False)


def test_only_one_tool_may_show_a_plaintext() -> None:
    """``plaintext_at`` is the one location of the one tool that reveals."""
    assert {tool.name: tool.plaintext_at for tool in ALL_TOOLS if tool.plaintext_at} == {"read_secret": frozenset({("value",)})}
    assert {tool.name for tool in ALL_TOOLS if tool.reveals} == {"read_secret"}
    assert {tool.name for tool in ALL_TOOLS if tool.writes} == WRITING
    assert {tool.name for tool in ALL_TOOLS if not is_visible(tool, Switches(), Policy)} == UNLISTED


@every_tool
def test_every_input_object_is_closed_at_every_depth(tool: Tool[Any]) -> None:
    """``additionalProperties`` is false wherever there are properties."""
    schema = tool.input_schema()
    assert schema["type"] == "object"
    objects = [node for node in nodes(schema) if node.get("type") == "object"]
    assert objects
    assert all(node["additionalProperties"] is False for node in objects)


@every_tool
def test_every_schema_stands_alone(tool: Tool[Any]) -> None:
    """No reference, no definitions, valid JSON Schema; the output schema is an object that names its members."""
    for schema in (tool.input_schema(), tool.output_schema()):
        check_schema(schema)
        assert not any({"$ref", "$defs", "definitions"} & node.keys() for node in nodes(schema))
    output = tool.output_schema()
    assert output["type"] == "object"
    assert dataclasses.is_dataclass(tool.result)
    members = {field.name for field in dataclasses.fields(tool.result)}
    assert set(output["properties"]) == members
    # They are all there in every result (``check_result``); saying so for each would cost a tenth of the listing.
    assert not any("required" in node for node in nodes(output) if "properties" in node)


@every_tool
def test_every_text_argument_has_a_limit(tool: Tool[Any]) -> None:
    """A text without a maximum or an enumeration is an invitation."""
    properties = [member for node in nodes(tool.input_schema()) for member in [node.get("properties")] if member]
    for name, argument in ((name, argument) for group in properties for name, argument in group.items()):
        for option in argument.get("anyOf", [argument]):
            if option.get("type") == "string":
                assert "maxLength" in option or "enum" in option, name


def test_the_snapshots_are_what_is_served() -> None:
    """A changed word changes its snapshot: ``python -m tests.tools.snapshots`` writes them, and both are committed."""
    import anyio  # noqa: PLC0415 - the only use

    found = {path.stem: path.read_text() for path in FOLDER.iterdir()}
    texts = anyio.run(served)
    assert set(found) == set(texts) == {tool.name for tool in ALL_TOOLS}
    for name, text in texts.items():
        assert found[name] == text, f"the snapshot of {name} differs"


async def test_the_listing_is_small() -> None:
    """All tools together take at most 20 KB on the wire, and 1.1 KiB each on average."""
    async with mcp.Client(build_server(unconfigured())) as client:
        listed = await client.list_tools()
    size = len(json.dumps(listed.model_dump(mode="json", by_alias=True, exclude_none=True), separators=(",", ":")).encode())
    assert size <= 20_000
    assert size / len(listed.tools) <= 1.1 * 1024


@pytest.mark.parametrize(
    ("environment", "hidden"),
    [
        ({}, frozenset()),
        ({"R4_READ_ONLY": "1"}, WRITING),
        ({"R4_NO_REVEAL": "1"}, frozenset({"read_secret"})),
        ({"R4_READ_ONLY": "on", "R4_NO_REVEAL": "yes"}, WRITING | {"read_secret"}),
    ],
)
@pytest.mark.parametrize("era", ERAS)
async def test_a_switch_hides_exactly_its_tools(
    environment: dict[str, str], hidden: frozenset[str], era: Era, calm: World
) -> None:
    """A hidden tool is not listed, and calling it answers as if it did not exist; nothing is sent."""
    async with in_memory({**calm.environment, **environment}, era) as door:
        visible = {tool.name for tool in (await door.client.list_tools()).tools}
        assert visible == {tool.name for tool in ALL_TOOLS} - hidden - UNLISTED
        calm.tap.exchanges.clear()
        for name in sorted(hidden):
            await door.refused(name, "unknown_tool", reference="r4://Production/Stripe")
        assert calm.tap.lines() == []
        standing = await door.ok("whoami")
        assert standing["read_only"] is (hidden >= WRITING)
        assert standing["reveals"] is ("read_secret" not in hidden)


@pytest.mark.parametrize("switches", [Switches(read_only=True), Switches(no_reveal=True)])
def test_the_switches_hide_tools_even_where_nothing_is_configured(switches: Switches) -> None:
    """What the operator hid is hidden before anything else is known."""
    visible = {tool.name for tool in unconfigured(switches).tools}
    assert not visible & (WRITING if switches.read_only else {"read_secret"})
