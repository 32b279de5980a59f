"""Errors of what is no tool: each class has a JSON-RPC code, one sentence, a next step, and candidates where there are any."""

from __future__ import annotations

from typing import Any, Final

import jsonschema  # type: ignore[import-untyped]  # it comes with mcp, its stubs don't
import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from r4_mcp import errors
from r4_mcp.server.dispatch import Outcome
from r4_mcp.server.explain import NEXT_STEPS, explain
from r4_mcp.server.protocol import RESOURCE_NOT_FOUND, answered
from r4_mcp.tools import ALL_TOOLS
from r4_mcp.tools.tool import Tool
from tests.doors import World

from .test_raw_stdio import CANARY, META, wired

CALLERS: Final = (errors.CallerError, errors.AbsentError, errors.SecretInTextError)
"""Errors after which the caller calls again in another way."""

CANDIDATES: Final = ("r4://a", "r4://b")


def outcome_of(kind: type[errors.R4Error]) -> Outcome:
    """Return what a refusal of this class comes to."""
    more: dict[str, Any] = {"status": 400} if issubclass(kind, errors.ServiceError) else {}
    if kind is errors.AmbiguousReferenceError:
        more["candidates"] = CANDIDATES
    return Outcome(explain(kind("it happened", **more)).payload(), is_error=True)


@pytest.mark.parametrize("kind", NEXT_STEPS, ids=lambda kind: kind.__name__)
def test_every_error_is_told_whole(kind: type[errors.R4Error]) -> None:
    """The caller's own are invalid parameters, everything else is internal; the explanation is the data."""
    outcome = outcome_of(kind)
    with pytest.raises(MCPError) as caught:
        answered(outcome)
    told = caught.value.error
    assert told.code == (types.INVALID_PARAMS if issubclass(kind, CALLERS) else types.INTERNAL_ERROR)
    assert told.message == "It happened."
    assert told.data == outcome.payload
    assert (told.data["code"], told.data["message"], bool(told.data["next_step"])) == (kind.code, told.message, True)
    assert told.data.get("candidates") == (list(CANDIDATES) if kind is errors.AmbiguousReferenceError else None)


def test_what_is_no_error_is_its_payload() -> None:
    """As it is."""
    assert answered(Outcome({"a": 1}, is_error=False)) == {"a": 1}


def test_no_code_of_ours_is_one_that_the_sdk_gives_another_meaning() -> None:
    """The handshake era's number for what is not there, and the two of JSON-RPC."""
    assert RESOURCE_NOT_FOUND not in {types.INVALID_PARAMS, types.INTERNAL_ERROR, types.CONNECTION_CLOSED, types.REQUEST_TIMEOUT}


LISTS: Final = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")


@pytest.mark.stdio
@pytest.mark.parametrize("modern", [True, False], ids=["modern", "legacy"])
async def test_a_cursor_that_nobody_gave_is_an_invalid_parameter(world: World, *, modern: bool) -> None:
    """In each list, an empty one too; with the next step, and without the cursor."""
    extra: dict[str, object] = {"_meta": META} if modern else {}
    async with wired(world, modern=modern) as wire:
        for number, (method, cursor) in enumerate(((method, cursor) for method in LISTS for cursor in (CANARY, "")), start=10):
            error = (await wire.request(number, method, {"cursor": cursor, **extra}))["error"]
            assert (error["code"], error["data"]["code"]) == (types.INVALID_PARAMS, "invalid_argument"), method
            assert error["data"]["next_step"]
        for number, method in enumerate(LISTS, start=30):
            assert "result" in await wire.request(number, method, extra), method
        logged = await wire.close()
    assert CANARY not in wire.heard + logged


@pytest.mark.parametrize("tool", ALL_TOOLS, ids=lambda tool: tool.name)
def test_a_failed_call_fits_the_tools_own_output_schema(tool: Tool[Any]) -> None:
    """Clients that check the structured content of errors too let it through, whatever the error."""
    schema = tool.output_schema()
    for kind in NEXT_STEPS:
        jsonschema.validate(outcome_of(kind).payload, schema)
    # It is a schema all the same: no member of a result may be half a number.
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({next(iter(schema["properties"])): 0.5}, schema)


MALFORMED: Final[dict[str, tuple[str, dict[str, object]]]] = {
    "a URI that is a number": ("resources/read", {"uri": 919191}),
    "a URI that is a list": ("resources/read", {"uri": [CANARY]}),
    "a URI that is none": ("resources/read", {"uri": CANARY}),
    "no URI": ("resources/read", {CANARY: CANARY}),
    "a cursor that is an object": ("resources/list", {"cursor": {CANARY: CANARY}}),
    "a cursor of nobody": ("resources/list", {"cursor": CANARY}),
    "arguments that are a text": ("prompts/get", {"name": "find-and-use-a-secret", "arguments": CANARY}),
    "an argument that is a number": ("prompts/get", {"name": "find-and-use-a-secret", "arguments": {"query": 919191}}),
    "a prompt of nobody": ("prompts/get", {"name": CANARY}),
    "a reference of no kind": ("completion/complete", {"ref": {"type": CANARY}, "argument": {"name": "vault", "value": CANARY}}),
    "no argument": ("completion/complete", {"ref": {"type": "ref/resource", "uri": CANARY}}),
}


@pytest.mark.stdio
@pytest.mark.parametrize("modern", [True, False], ids=["modern", "legacy"])
async def test_malformed_requests_are_refused_and_not_repeated(world: World, *, modern: bool) -> None:
    """Whatever a client sends: an error, nothing of it on stdout or stderr, and the server stays up."""
    extra: dict[str, object] = {"_meta": META} if modern else {}
    async with wired(world, modern=modern) as wire:
        for number, (what, (method, params)) in enumerate(MALFORMED.items(), start=10):
            answer = await wire.request(number, method, {**params, **extra})
            assert "error" in answer, what
        answer = await wire.request(99, "resources/read", {"uri": "r4-index://vaults", **extra})
        assert answer["result"]["contents"]
        logged = await wire.close()
    for said in (wire.heard, logged):
        assert CANARY not in said
        assert "919191" not in said
        assert "Traceback" not in said
