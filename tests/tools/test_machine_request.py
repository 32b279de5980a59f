"""``machine_request`` through the door: hidden until it is listed, strict about what is sent, and quiet about what comes back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import mcp_types as types
import pytest
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from r4_mcp.cli.audit import entries
from r4_mcp.core.wire import FieldType
from r4_mcp.machine.contract import ALL_ENDPOINTS
from r4_mcp.policy.raw_answer import MARKS
from tests.doors import ERAS, POLICY, Era, Person, World, in_memory, local_environment, subprocess, write_private
from tests.switchboard import Exchange

from .schemas import check_result

ID: Final = "a" * 24
CANARY: Final = "canary-zebra"
SECRET: Final = "secret".join(MARKS)
ALL_OF_IT: Final = [f"{method} {'/*' * depth}" for method in ("GET", "POST", "PUT", "PATCH", "DELETE") for depth in range(1, 9)]

every_era = pytest.mark.parametrize("era", ERAS)


def listing(world: World, *patterns: str, more: str = "") -> None:
    """Write the operator's policy."""
    write_private(world.home / "policy.toml", f"[machine_request]\nallow = {json.dumps(patterns, indent=0)}\n{more}\n{POLICY}")


def service(world: World, answers: Mapping[str, Response | Callable[[], Response]]) -> None:
    """Let the machine API have more endpoints: ``METHOD /path`` → answer. Everything else is the emulator's."""

    async def answer(exchange: Exchange) -> Response | None:
        found = answers.get(exchange.line)
        return found() if callable(found) and not isinstance(found, Response) else found

    world.tap.intercept = answer


def raw_lines(world: World) -> list[str]:
    """Return the raw requests that were made: those that are none of the contract's."""
    roots = {endpoint.path.split("/")[1] for endpoint in ALL_ENDPOINTS}
    return [line for line in world.tap.lines() if line.split("/")[1] not in roots]


def audited(world: World) -> str:
    """Return the last line of the audit log as a person reads it, and as it stands in the file."""
    folder = world.home / "audit"
    return list(entries(folder))[-1] + "\n" + (folder / "audit.jsonl").read_text().splitlines()[-1]


@every_era
@pytest.mark.parametrize("text", [POLICY, "[machine_request]\nallow = []\n", "", "[machine_request]\nallow = ['no pattern']\n"])
async def test_it_is_hidden_unless_the_policy_lists_something(text: str, era: Era, world: World) -> None:
    """Not listed, and called it does not exist; a closed policy lists nothing."""
    write_private(world.home / "policy.toml", text)
    async with in_memory(world.environment, era) as door:
        assert "machine_request" not in {tool.name for tool in (await door.client.list_tools()).tools}
        await door.refused("machine_request", "unknown_tool", method="GET", path="/webhook")
    assert world.tap.lines() == []
    assert "unknown" in audited(world)


async def test_it_appears_and_vanishes_with_the_policy(world: World) -> None:
    """Like the rules, the list follows the file; under R4_READ_ONLY only patterns that read count."""
    service(world, {"GET /webhook": JSONResponse({})})
    async with in_memory(world.environment) as door:
        for patterns, visible in ((["GET /webhook"], True), ([], False), (["POST /webhook"], True)):
            listing(world, *patterns)
            assert ("machine_request" in {tool.name for tool in (await door.client.list_tools()).tools}) is visible
    async with in_memory({**world.environment, "R4_READ_ONLY": "1"}) as door:
        assert "machine_request" not in {tool.name for tool in (await door.client.list_tools()).tools}
        listing(world, "POST /webhook", "GET /webhook")
        assert "machine_request" in {tool.name for tool in (await door.client.list_tools()).tools}
        await door.ok("machine_request", method="GET", path="/webhook")
        told = await door.refused("machine_request", "denied", method="POST", path="/webhook")
        assert "R4_READ_ONLY" in told["message"]
    assert raw_lines(world) == ["GET /webhook"]


@every_era
async def test_a_listed_read_is_answered_and_shown_filtered(era: Era, world: World) -> None:
    """Numbers, names and plain texts stay; ciphertext, keys, signed addresses and secrets are placeholders."""
    with_more = {
        "webhooks": [
            {
                "id": ID,
                "url": "https://example.com/r4",
                "signingSecret": "0011aabb",
                "attempts": 3,
                "price": 0.5,
                "content": f"https://files.example.com/{ID}?sig=abc",
                "value": '{"v":3,"iv":"AAAA","t":"BBBB","d":"CCCC"}',
            }
        ],
        "count": 1,
    }
    service(world, {f"GET /webhook/{ID}": JSONResponse(with_more)})
    listing(world, "GET /webhook/*")
    async with in_memory(world.environment, era) as door:
        answer = await door.ok("machine_request", method="GET", path=f"/webhook/{ID}?page=2&limit=10")
    check_result("machine_request", answer)
    assert (answer["status"], answer["replaced"]) == (200, 3)
    assert json.loads(answer["body"]) == {
        "webhooks": [
            {
                "id": ID,
                "url": "https://example.com/r4",
                "signingSecret": SECRET,
                "attempts": 3,
                "price": 0.5,
                "content": "address with a credential, 58 characters".join(MARKS),
                "value": "ciphertext, 41 characters".join(MARKS),
            }
        ],
        "count": 1,
    }
    sent = [exchange for exchange in world.tap.exchanges if "webhook" in exchange.path]
    assert [(exchange.line, exchange.query, exchange.body) for exchange in sent] == [
        (f"GET /webhook/{ID}", "page=2&limit=10", b"")
    ]
    assert "GET /webhook/* (default: raw_read)" in audited(world)
    assert not {ID, "page"} & set(audited(world).replace("/", " ").replace("=", " ").split())


async def test_a_secret_that_was_read_is_replaced_in_an_answer(world: World) -> None:
    """As a text, inside one, as a name; the service may keep it under any name."""
    listing(world, "GET /audit")
    async with in_memory(world.environment) as door:
        value = (await door.ok("read_secret", reference="r4://Engineering/Sentry"))["value"]
        service(world, {"GET /audit": JSONResponse({"a": value, "b": [f"was {value}"], value: 1})})
        answer = await door.ok("machine_request", method="GET", path="/audit")
        assert value not in json.dumps(answer)
        assert json.loads(answer["body"]) == {"a": SECRET, "b": [SECRET], "name 3".join(MARKS): 1}


@every_era
async def test_a_write_asks_and_the_person_sees_what_is_sent(era: Era, world: World) -> None:
    """The yes is for this request: method, path and body are in the question, and the body arrives as it was."""
    made = JSONResponse({"id": ID}, status_code=201)
    service(world, {"POST /webhook": made})
    listing(world, "POST /webhook")
    body = {"url": "https://example.com/r4", "events": ["vault.shared"], "retries": 3, "ratio": 0.5, "on": True, "none": None}
    person = Person()
    async with in_memory(world.environment, era, person) as door:
        answer = await door.ok("machine_request", method="POST", path="/webhook?dry=1", body=body)
    assert (answer["status"], json.loads(answer["body"])) == (201, {"id": ID})
    (asked,) = person.asked
    assert "POST /webhook?dry=1" in asked.message
    assert json.dumps(body, separators=(",", ":")) in asked.message
    (sent,) = [exchange for exchange in world.tap.exchanges if exchange.line == "POST /webhook"]
    assert json.loads(sent.body) == body
    assert "POST /webhook (default: raw_write)" in audited(world)
    assert "example.com" not in audited(world)


async def test_a_person_sees_the_whole_body(world: World) -> None:
    """What can't be seen is escaped, and nothing is cut off: else the end of a long body would be approved unseen."""
    listing(world, "POST /webhook")
    person = Person(types.ElicitResult(action="decline"))
    async with in_memory(world.environment, answer=person) as door:
        await door.refused(
            "machine_request", "denied", method="POST", path="/webhook", body={"a": "\u200b" * 5_000, "b": "the end"}
        )
    (asked,) = person.asked
    assert asked.message.startswith("Send POST /webhook to R4? Its body: ")
    assert asked.message.endswith('"b":"the end"}')
    assert asked.message.count("\\u{200b}") == 5_000


async def test_a_no_sends_nothing_and_nobody_to_ask_is_told_the_way_out(world: World) -> None:
    """Nor does anything in the arguments stand in for a person."""
    listing(world, "DELETE /webhook/*")
    async with in_memory(world.environment, answer=Person(types.ElicitResult(action="decline"))) as door:
        await door.refused("machine_request", "denied", method="DELETE", path="/webhook/1")
    async with in_memory(world.environment) as door:
        told = await door.refused("machine_request", "approval_required", method="DELETE", path="/webhook/1")
        assert "[defaults]" in told["next_step"]
    assert raw_lines(world) == []


async def test_the_operator_may_allow_writes_and_deny_reads(world: World) -> None:
    """By the defaults of the two actions."""
    service(world, {"PUT /webhook/1": Response(status_code=204)})
    listing(world, "PUT /webhook/*", "GET /webhook/*", more='[defaults]\nraw_write = "allow"\nraw_read = "deny"')
    async with in_memory(world.environment) as door:
        answer = await door.ok("machine_request", method="PUT", path="/webhook/1", body={"on": False})
        assert answer == {"status": 204, "body": None, "replaced": 0}
        told = await door.refused("machine_request", "denied", method="GET", path="/webhook/1")
        assert "default: raw_read" in told["message"]
    assert raw_lines(world) == ["PUT /webhook/1"]


@pytest.mark.parametrize("endpoint", ALL_ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
async def test_what_has_a_tool_is_refused_whatever_is_listed(endpoint: Any, calm: World) -> None:  # noqa: ANN401 - a row
    """The operator lists everything there is: the path of every endpoint is refused all the same, and nothing is sent."""
    listing(calm, *ALL_OF_IT, more='[defaults]\nraw_write = "allow"')
    path = "/".join(ID if part.startswith("{") else part for part in endpoint.path.split("/"))
    calm.tap.exchanges.clear()
    async with in_memory(calm.environment) as door:
        told = await door.refused("machine_request", "denied", method=endpoint.method, path=path)
        assert "other tools" in told["message"]
    assert calm.tap.lines() == []
    assert "no listed request" in audited(calm)
    assert path not in audited(calm)


BAD: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "dot segments": ({"path": "/webhook/../vault"}, "path"),
    "encoded dot segments": ({"path": "/webhook/%2e%2e/vault"}, "path"),
    "an absolute URL": ({"path": f"https://{CANARY}.example.com/webhook"}, "path"),
    "a host": ({"path": f"//{CANARY}.example.com/webhook"}, "path"),
    "a host header": ({"path": f"/webhook HTTP/1.1\r\nHost: {CANARY}"}, "path"),
    "a line break": ({"path": "/webhook\r\nX-Api-Key: x"}, "path"),
    "a line break in the query": ({"path": "/webhook?a=b\r\nX: y"}, "query"),
    "a fragment": ({"path": "/webhook#a"}, "path"),
    "an empty path": ({"path": ""}, "path"),
    "a path of 10 KB": ({"path": "/" + "a" * 10_240}, "path"),
    "another method": ({"method": CANARY}, "method"),
    "a small method": ({"method": "get"}, "method"),
    "a list as a body": ({"method": "POST", "body": [CANARY]}, "body"),
    "a text as a body": ({"method": "POST", "body": CANARY}, "body"),
    "a body for GET": ({"body": {"a": CANARY}}, "body"),
    "a body of 100 KB": ({"method": "POST", "body": {"a": CANARY * 10_000}}, "body"),
    "a deep body": ({"method": "POST", "body": json.loads('{"a":' * 40 + "1" + "}" * 40)}, "body"),
    "headers": ({"headers": {"Host": CANARY}}, "not one of this tool's"),
}


async def test_bad_requests_are_refused_and_nothing_is_sent(world: World) -> None:
    """Each names its argument, and repeats nothing of it."""
    listing(world, *ALL_OF_IT)
    async with in_memory(world.environment, answer=Person()) as door:
        for what, (arguments, told) in BAD.items():
            refused = await door.refused(
                "machine_request", "invalid_argument", **{"method": "GET", "path": "/webhook", **arguments}
            )
            assert told in refused["message"], what
            assert CANARY not in json.dumps(refused), what
        for method, path in (("GET", "/webhook/1/2"), ("POST", "/attachment"), ("GET", "/Webhook")):
            listing(world, "GET /webhook", "GET /attachment")
            await door.refused("machine_request", "denied", method=method, path=path)
    assert world.tap.lines() == []


async def test_a_secret_of_digits_is_not_sent_as_a_number(world: World) -> None:
    """JSON has two ways of writing it."""
    listing(world, *ALL_OF_IT)
    digits = "8846173650124929"
    world.add_item("Engineering", "Door", ("Code", FieldType.SECRET, digits))
    async with in_memory(world.environment, answer=Person()) as door:
        await door.ok("read_secret", reference="r4://Engineering/Door")
        for body in ({"a": digits}, {"a": int(digits)}, {"a": [{"b": int(digits)}]}):
            await door.refused("machine_request", "secret_in_text", method="POST", path="/webhook", body=body)
    assert not [line for line in world.tap.lines() if line.startswith("POST /webhook")]


async def test_what_holds_a_secret_is_not_sent(world: World) -> None:
    """In the path, the query, a text or a key of the body, at any depth; one message for all, and a hit costs reveal budget."""
    listing(world, *ALL_OF_IT)
    shaped = "gh" + "p_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0dF3gH6"
    messages = set()
    async with in_memory(world.environment, answer=Person()) as door:
        value = (await door.ok("read_secret", reference="r4://Engineering/Sentry"))["value"]
        for text in (value, shaped):
            for body in ({"a": text}, {text: 1}, {"a": [{"b": f"x {text} y"}]}):
                told = await door.refused("machine_request", "secret_in_text", method="POST", path="/webhook", body=body)
                assert text not in json.dumps(told)
                messages.add(told["message"])
            for path in (f"/webhook/{text}", f"/webhook?q={text}"):
                told = await door.refused("machine_request", "secret_in_text", method="GET", path=path)
                assert text not in json.dumps(told)
    assert messages == {
        f"The argument body, text {number} holds something that is, or looks like, a secret; nothing was done."
        for number in (1, 2, 3)
    }
    assert raw_lines(world) == []


ANSWERS: Final[dict[str, tuple[Callable[[], Response], str, str]]] = {
    "attachment content": (lambda: Response(CANARY, media_type="application/pdf"), "unsupported_content", "report_gap"),
    "a page": (lambda: Response(f"<p>{CANARY}", media_type="text/html"), "unsupported_content", "report_gap"),
    "nearly JSON": (lambda: Response("{}", media_type="application/jsonp"), "unsupported_content", "report_gap"),
    "JSON that is none": (lambda: Response(CANARY, media_type="application/json"), "malformed_response", "operator"),
    "a body of no kind": (lambda: Response(CANARY), "malformed_response", "operator"),
    "a body of 300 KB": (lambda: Response(b" " * 300_000, media_type="application/json"), "response_too_large", "operator"),
    "a redirect": (lambda: RedirectResponse(f"https://{CANARY}.example.com/"), "redirect_refused", "R4_BASE_URL"),
    "a permission": (
        lambda: refusal(403, "permission_denied", requiredPermission="machine.webhook.all"),
        "permission_denied",
        "grant its API key machine.webhook.all",
    ),
    "a role": (lambda: refusal(403, "permission_denied"), "permission_denied", "administrator of the tenant"),
    "a permission that is none": (
        lambda: refusal(403, "permission_denied", requiredPermission=f"machine.{CANARY}"),
        "permission_denied",
        "operator who manages this agent",
    ),
    "another scope": (lambda: refusal(403, "agent_scope_required"), "permission_denied", "API key of an agent"),
    "bad input": (lambda: refusal(400, "invalid_request"), "request_rejected", "report_gap"),
    "a broken service": (lambda: PlainTextResponse(CANARY, status_code=500), "request_rejected", "report_gap"),
}


def refusal(status: int, code: str, **members: str) -> Response:
    """Refuse as the machine API does."""
    return JSONResponse({"error": {"code": code, "message": CANARY, **members}}, status_code=status)


@pytest.mark.parametrize("what", ANSWERS)
async def test_an_answer_that_is_no_result_is_explained(what: str, world: World) -> None:
    """With its code and its next step; nothing of its body is repeated."""
    made, code, step = ANSWERS[what]
    service(world, {"GET /attachment/1": made})
    listing(world, "GET /attachment/*")
    async with in_memory(world.environment) as door:
        told = await door.refused("machine_request", code, method="GET", path="/attachment/1")
    assert step in told["next_step"]
    assert CANARY not in json.dumps(told)


async def test_json_by_another_name_is_json(world: World) -> None:
    """RFC 6839 names, parameters, any case."""
    listing(world, "GET /webhook")
    async with in_memory(world.environment) as door:
        for kind in ("application/json; charset=utf-8", "application/problem+json", "Application/JSON"):
            service(world, {"GET /webhook": Response("[1]", headers={"content-type": kind})})
            assert (await door.ok("machine_request", method="GET", path="/webhook"))["body"] == "[1]"


async def test_what_the_service_does_not_have_is_absent(world: World) -> None:
    """The emulator's own 404: compare with the documentation, not with a listing of vaults."""
    listing(world, "GET /webhook")
    async with in_memory(world.environment) as door:
        told = await door.refused("machine_request", "absent", method="GET", path="/webhook")
    assert "documentation" in told["next_step"]
    assert raw_lines(world) == ["GET /webhook"]


@pytest.mark.parametrize(("method", "times"), [("GET", 3), ("POST", 1), ("PUT", 1), ("PATCH", 1), ("DELETE", 1)])
async def test_only_a_read_is_tried_again(method: str, times: int, world: World) -> None:
    """Nobody knows whether a write arrived."""
    service(world, {f"{method} /webhook": lambda: refusal(503, "busy")})
    listing(world, f"{method} /webhook", more='[defaults]\nraw_write = "allow"')
    async with in_memory(world.environment) as door:
        await door.refused("machine_request", "request_rejected", method=method, path="/webhook")
    assert raw_lines(world) == [f"{method} /webhook"] * times


async def test_nothing_configured_is_said(tmp_path: Path) -> None:
    """The tool is there, since the operator listed something; there is nobody to ask."""
    write_private(tmp_path / "policy.toml", '[machine_request]\nallow = ["GET /webhook"]\n')
    async with in_memory({"R4_HOME": str(tmp_path)}) as door:
        await door.refused("machine_request", "not_configured", method="GET", path="/webhook")


@pytest.mark.stdio
@every_era
async def test_the_real_server_has_it_with_the_embedded_vault_too(era: Era, world: World, tmp_path: Path) -> None:
    """Listed, it is there; the embedded vault has no such endpoint and says so."""
    environment = local_environment(world)
    listing(world, "GET /webhook")
    async with subprocess(environment, "--local", stderr=tmp_path / "stderr", era=era) as door:
        assert "machine_request" in {tool.name for tool in (await door.client.list_tools()).tools}
        await door.refused("machine_request", "absent", method="GET", path="/webhook")
        await door.refused("machine_request", "denied", method="GET", path="/vault")
