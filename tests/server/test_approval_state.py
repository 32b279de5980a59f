"""The state of a question, over raw JSON-RPC from 2026-07-28 on: a client brings it back whole, once, in time, or not at all."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import pytest
from mcp.server.request_state import AESGCMRequestStateCodec

from r4_mcp.policy.approvals import APPROVAL_SECONDS, derived_key
from r4_mcp.secret import KnownSecrets, SecretKind
from r4_mcp.server.app import NAME
from tests.doors import CALL_SECONDS, World

from .test_approval import nothing_happens
from .test_raw_stdio import INITIALIZE, META, Wire

pytestmark = pytest.mark.stdio

YES: Final = {"approval": {"action": "accept", "content": {"approve": True}}}
FORM: Final[dict[str, Any]] = {"elicitation": {"form": {}}}
CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"


class Client(Wire):
    """A client that brings whatever it likes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        super().__init__(process)
        self._number = 100

    async def call(self, tool: str = "rotate_key", /, able: Mapping[str, Any] = FORM, **params: object) -> dict[str, Any]:
        """Call a tool with these members beside its name; returns the whole answer."""
        self._number += 1
        whole = {"name": tool, "arguments": {}, "_meta": {**META, CAPABILITIES: able}, **params}
        return await self.request(self._number, "tools/call", whole)

    async def question(self) -> str:
        """Call for a rotation; returns the sealed state of the question."""
        asked = (await self.call())["result"]
        assert asked["resultType"] == "input_required"
        assert list(asked["inputRequests"]) == ["approval"]
        state: str = asked["requestState"]
        return state

    async def next(self) -> dict[str, Any]:
        """Return the next message, whatever it is."""
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), CALL_SECONDS)
        message: dict[str, Any] = json.loads(line)
        return message

    async def bring(self, state: object, responses: object = YES) -> dict[str, Any]:
        """Come back with a state and answers."""
        return await self.call(requestState=state, inputResponses=responses)


@asynccontextmanager
async def client(environment: Mapping[str, str]) -> AsyncIterator[Client]:
    """Start the real server; the first request decides the era."""
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "r4_mcp", "serve")
    process = await asyncio.create_subprocess_exec(*command, env=dict(environment), stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        yield Client(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def told(answer: dict[str, Any], code: str) -> str:
    """Return the message of a refusal by us with this code."""
    result = answer["result"]
    assert result["isError"], result
    payload: dict[str, str] = json.loads(result["content"][0]["text"])
    assert payload["code"] == code, payload
    return payload["message"]


def assert_not_a_state(answer: dict[str, Any], what: str) -> None:
    """The boundary refused a state, with one message for every reason."""
    assert "error" in answer, (what, answer)
    error = answer["error"]
    assert (error["code"], error["message"]) == (-32602, "Invalid or expired requestState"), what


def rotations(world: World) -> int:
    """Return how many rotations were sent."""
    return world.tap.lines().count("POST /vault/public-key")


async def test_a_state_counts_once_in_whichever_process(world: World) -> None:
    """One process asks, another takes the answer; then neither takes it again, nor does one that starts later."""
    async with client(world.environment) as asking, client(world.environment) as acting:
        state = await asking.question()
        rotated = (await acting.bring(state))["result"]
        assert not rotated["isError"], rotated
        async with client(world.environment) as later:
            for one in (acting, asking, later):
                assert "used before" in told(await one.bring(state), "denied")
    assert rotations(world) == 1
    assert rotated["structuredContent"]["vaults"] == len(world.seeded.vaults)


async def test_of_two_processes_at_once_one_takes_the_answer(world: World) -> None:
    """The same yes in two processes at the same moment: one rotation."""
    async with AsyncExitStack() as stack:
        both = [await stack.enter_async_context(client(world.environment)) for _ in range(2)]
        state = await both[0].question()
        await both[1].question()
        answers = await asyncio.gather(*(one.bring(state) for one in both))
    results = sorted((answer["result"] for answer in answers), key=lambda result: result["isError"])
    assert [result["isError"] for result in results] == [False, True]
    assert "used before" in told({"result": results[1]}, "denied")
    assert rotations(world) == 1


async def test_a_state_that_was_tampered_with_is_refused(world: World) -> None:
    """One character changed anywhere, cut, grown, or no text at all: the one refusal; the untouched one still counts."""
    async with client(world.environment) as one:
        state = await one.question()
        places = {0, 1, 2, 3, 8, 9, 24, 25, len(state) // 2, len(state) - 22, len(state) - 1}
        bad: dict[str, object] = {f"character {at} changed": changed(state, at) for at in sorted(places)}
        bad |= {
            "the last character gone": state[:-1],
            "one more character": state + "A",
            "empty": "",
            "its form alone": "v1.",
            "no base64": "v1.%%%%",
            "a number": 7,
            "an object": {"nonce": "0" * 32, "subject": ["rotate"]},
            "our own JSON, unsealed": json.dumps({"nonce": "0" * 32, "subject": ["rotate", world.seeded.agent_key_id]}),
        }
        with nothing_happens(world):
            for what, forged in bad.items():
                answer = await one.bring(forged)
                if isinstance(forged, str):
                    assert_not_a_state(answer, what)
                else:
                    assert "error" in answer, what
        assert not (await one.bring(state))["result"]["isError"]


def changed(text: str, at: int) -> str:
    """Return a text with another character at one place."""
    return text[:at] + ("B" if text[at] == "A" else "A") + text[at + 1 :]


async def test_a_state_belongs_to_its_call(world: World) -> None:
    """Brought with another tool, other arguments, or as another agent, it is refused before anything runs."""
    other_id, other = world.new_agent()
    assert other_id != world.seeded.credentials.agent_id
    async with client(world.environment) as one, client(other) as stranger:
        state = await one.question()
        with nothing_happens(world):
            for tool in ("list_vaults", "whoami", "no_such_tool"):
                assert_not_a_state(await one.call(tool, requestState=state, inputResponses=YES), tool)
            for arguments in ({"approve": True}, {"vault": "Production"}):
                answer = await one.call(arguments=arguments, requestState=state, inputResponses=YES)
                assert_not_a_state(answer, str(arguments))
            assert_not_a_state(await stranger.bring(state), "another agent")


def seal(world: World, secret: str, **claims: object) -> str:
    """Seal claims as the server does that has this API key; by default those of an honest question."""
    known = KnownSecrets()
    key = derived_key(known.text(secret, SecretKind.API_KEY), "r4-mcp request state v1", known)
    inner = {"nonce": "0" * 32, "subject": ["rotate", world.seeded.agent_key_id]}
    now = time.time()
    arguments = base64.urlsafe_b64encode(hashlib.sha256(b"{}").digest()[:16]).decode().rstrip("=")
    honest = {
        "v": 1,
        "iat": now,
        "exp": now + APPROVAL_SECONDS,
        "m": "tools/call",
        "t": "rotate_key",
        "a": arguments,
        "aud": NAME,
    }
    form = {**honest, "s": json.dumps(inner), **claims}
    # reveal: seen by the codec that plays the server only.
    return AESGCMRequestStateCodec([key.reveal()]).seal(json.dumps(form).encode())


FORGED: Final[dict[str, Callable[[], dict[str, object]]]] = {
    "expired": lambda: {"iat": time.time() - 2 * APPROVAL_SECONDS, "exp": time.time() - 1},
    "without an end": lambda: {"exp": None},
    "of the future": lambda: {"iat": time.time() + 3600, "exp": time.time() + 7200},
    "of another server": lambda: {"aud": "another"},
    "of another method": lambda: {"m": "prompts/get"},
    "of another version": lambda: {"v": 2},
}


async def test_the_seal_is_not_enough(world: World) -> None:
    """Sealed with the right key, but expired, of the future, or of another server: refused. The same one, honest, is taken."""
    members = world.agent_members()
    secret = f"{members['accessKey']}.{members['accessSecret']}"
    async with client(world.environment) as one:
        with nothing_happens(world):
            for what, claims in FORGED.items():
                assert_not_a_state(await one.bring(seal(world, secret, **claims())), what)
            assert_not_a_state(await one.bring(seal(world, secret + "x")), "of another API key")
        # So the table above was refused for what it says, and not for how it was made.
        taken = (await one.bring(seal(world, secret)))["result"]
        assert not taken["isError"], taken
    assert rotations(world) == 1


async def test_an_answer_to_nothing_is_ignored(world: World) -> None:
    """Answers without a state, with a null one, or to another question: the question is asked, and a state of our own comes."""
    async with client(world.environment) as one:
        state = await one.question()
        with nothing_happens(world):
            asked = [
                await one.call(inputResponses=YES),
                await one.bring(None),
                await one.bring(state, {}),
                await one.bring(state, {"another": YES["approval"]}),
                await one.call(requestState=state),
            ]
        for answer in asked:
            assert answer["result"]["resultType"] == "input_required"
            assert answer["result"]["requestState"] != state


async def test_an_answer_of_another_kind_is_a_no(world: World) -> None:
    """A list of roots, or a text that a model wrote, is not what was asked for."""
    sampled = {"role": "assistant", "content": {"type": "text", "text": '{"approve": true}'}, "model": "m"}
    async with client(world.environment) as one:
        state = await one.question()
        with nothing_happens(world):
            of_another_kind: tuple[dict[str, Any], ...] = ({"roots": []}, sampled)
            for reply in of_another_kind:
                assert "not one to the question" in told(await one.bring(state, {"approval": reply}), "denied")
            not_a_yes: tuple[dict[str, Any], ...] = ({"action": "decline"}, {"action": "accept", "content": {"approve": "true"}})
            for reply in not_a_yes:
                assert "did not approve" in told(await one.bring(state, {"approval": reply}), "denied")
            for junk in ("yes", [True], {"action": "maybe"}, {"approve": True}):
                assert (await one.bring(state, {"approval": junk}))["error"]["code"] == -32602, junk


UNABLE: Final[dict[str, dict[str, Any]]] = {
    "nothing": {},
    "url mode only": {"elicitation": {"url": {}}},
    "other things": {"sampling": {}, "roots": {}},
}
ABLE: Final[dict[str, dict[str, Any]]] = {
    "form mode": {"elicitation": {"form": {}}},
    "both modes": {"elicitation": {"form": {}, "url": {}}},
    "a bare word, as before there were modes": {"elicitation": {}},
}


@pytest.mark.parametrize("token", [None, 7])
async def test_progress_is_told_to_whoever_asked_for_it(world: World, token: int | None) -> None:
    """Only a call that carries a token gets notifications, and they carry it."""
    meta = {**META, CAPABILITIES: FORM} | ({} if token is None else {"progressToken": token})
    async with client(world.environment) as one:
        state = await one.question()
        answer = await one.call(_meta=meta, requestState=state, inputResponses=YES)
        assert not answer["result"]["isError"]
        heard = [json.loads(line) for line in one.heard.splitlines()]
    steps = [line["params"] for line in heard if line.get("method") == "notifications/progress"]
    total = 2 * len(world.seeded.vaults) + 1
    numbers = [] if token is None else range(1, total + 1)
    assert steps == [{"progressToken": token, "progress": done, "total": total} for done in numbers]


async def test_who_can_ask_is_what_the_request_says(world: World) -> None:
    """From 2026-07-28 on each request says what its client can; only form mode can carry a yes."""
    async with client(world.environment) as one:
        with nothing_happens(world):
            for what, able in ABLE.items():
                assert (await one.call(able=able))["result"]["resultType"] == "input_required", what
            for what, unable in UNABLE.items():
                message = told(await one.call(able=unable), "approval_required")
                assert "a person's yes" in message, what


@pytest.mark.parametrize("what", [*UNABLE, *ABLE])
async def test_who_can_ask_is_what_the_handshake_said(world: World, what: str) -> None:
    """Before that the handshake says it, once; a client that can is asked while its call waits."""
    able = {**UNABLE, **ABLE}[what]
    async with client(world.environment) as one:
        assert "result" in await one.request(0, "initialize", {**INITIALIZE, "capabilities": able})
        await one.say('{"jsonrpc":"2.0","method":"notifications/initialized"}')
        call = {"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": "rotate_key", "arguments": {}}}
        with nothing_happens(world):
            await one.say(json.dumps(call))
            heard = await one.next()
            if what in UNABLE:
                assert "a person's yes" in told(heard, "approval_required")
                return
            assert heard["method"] == "elicitation/create"
            no = {"jsonrpc": "2.0", "id": heard["id"], "result": {"action": "decline"}}
            await one.say(json.dumps(no))
            assert "did not approve" in told(await one.answer(9), "denied")
