"""``http_request`` through the door: services let us in, the model sees nothing, and nothing leaves that may not."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Final

import mcp_types as types
import pytest

from r4_mcp.core.wire import Classification
from r4_mcp.policy.use_http import MAX_REFERENCES
from r4_mcp.sinks.masking import mark
from tests.doors import ERAS, Era, Person, World, in_memory, subprocess, text_of, write_private
from tests.sinks.services import serving, whole
from tests.tools.schemas import check_result

from .looking import require_absent, require_nowhere
from .services import PIN, USER, VALUES, echo, gatekeeper, office, redirecting, reference, slot

CALLS: Final[dict[str, dict[str, Any]]] = {
    "/bearer": {"method": "GET", "auth": {"bearer": slot("Token")}},
    "/basic": {"method": "GET", "auth": {"username": slot("User"), "password": slot("Password")}},
    "/key": {"method": "DELETE", "headers": {"X-Harbour-Key": slot("Token")}},
    "/login": {"method": "POST", "json": {"user": slot("User"), "password": slot("Password")}},
    "/code": {"method": "GET", "headers": {"X-Code": slot("Code")}},
}
"""Path of the gatekeeper → the call that it lets in."""


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> None:
    """Take every log line."""
    # As the command line has it: libraries quote what they send, so only their warnings are kept.
    caplog.set_level(logging.WARNING)
    caplog.set_level(logging.DEBUG, "r4_mcp")


@pytest.mark.parametrize("era", ERAS)
async def test_services_let_us_in_and_nothing_shows_a_value(era: Era, world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Bearer, basic, a header, a JSON login where the policy opens it, a one-time code; used, and not shown."""
    async with office(world, gatekeeper) as there, in_memory(world.environment, era) as door:
        there.allow(there.opening("json"))
        for path, call in CALLS.items():
            answer = await door.ok("http_request", url=there.url(path), **call)
            check_result("http_request", answer)
            assert answer["status"] == 200, path
            assert answer["shown"] == ("withheld" if path == "/code" else "whole")
        ledger = await door.ok("exposure")
        assert {row["how"] for row in ledger["used"]} == {"http_request"}
        assert sum(row["count"] for row in ledger["used"]) == 7
        assert (ledger["shown"], ledger["to_rotate"]) == ([], [])
        require_nowhere(world, door, caplog)
    lines = [json.loads(line) for line in (world.home / "audit" / "audit.jsonl").read_text().splitlines()]
    uses = [line for line in lines if line["tool"] == "http_request"]
    assert len(uses) == 7, "one line for each field that a call used"
    assert {(line["outcome"], line["decision"], line["item"]) for line in uses} == {("ok", "allow", there.item_id)}


async def test_a_service_that_says_everything_back_shows_only_references(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Raw, in base64, in hex, in JSON, in a header."""
    async with office(world, echo) as there, in_memory(world.environment) as door:
        there.allow(there.opening("json", "query", "form"))
        for call in (
            {"method": "GET", "auth": {"bearer": slot("Token")}},
            {"method": "GET", "auth": {"username": slot("User"), "password": slot("Password")}},
            {"method": "GET", "query": {"q": slot("Password")}},
            {"method": "POST", "form": {"q": slot("Password")}, "headers": {"X-K": slot("Token")}},
            {"method": "POST", "json": {"deep": [slot("Password"), {"user": slot("User")}]}},
        ):
            answer = await door.ok("http_request", url=there.url("/"), **call)
            assert mark(reference("")[:-1])[:-1] in answer["body"]
        require_nowhere(world, door, caplog)


async def test_a_short_value_and_a_code_give_the_status_alone(world: World) -> None:
    """They can't be masked, so no body is shown, and no header that holds them."""
    async with office(world, echo) as there, in_memory(world.environment) as door:
        for field in ("Pin", "Code"):
            answer = await door.ok("http_request", method="GET", url=there.url(), auth={"bearer": slot(field)})
            assert (answer["status"], answer["body"], answer["shown"]) == (200, None, "withheld")
            assert not any(header.startswith("x-request-id") for header in answer["headers"])
            assert PIN not in json.dumps(answer["headers"])


async def test_no_redirect_is_followed(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Neither to another host nor to the same one; where it points to is shown masked."""
    async with serving(whole(b"elsewhere")) as other, office(world, redirecting(other.base_url)) as there:
        async with in_memory(world.environment) as door:
            answer = await door.ok("http_request", method="GET", url=there.url(), auth={"bearer": slot("Token")})
            assert answer["status"] == 307
            assert any(header.startswith(f"location: {other.base_url}?was=") for header in answer["headers"])
            require_nowhere(world, door, caplog)
        assert len(there.service.received) == 1
        assert other.received == []


REFUSED: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "no placeholder": ("invalid_argument", {"headers": {"X-A": "b"}}),
    "an unknown vault": ("not_found", {"auth": {"bearer": "{{r4://Nowhere/Item/Field}}"}}),
    "an unknown field": ("not_found", {"auth": {"bearer": slot("Nothing")}}),
    "half a placeholder": ("invalid_placeholder", {"auth": {"bearer": "{{r4://Engineering/Sentry"}}),
    "a placeholder in a placeholder": ("invalid_placeholder", {"auth": {"bearer": "{{r4://a/b/" + slot("Token") + "}}"}}),
    "a placeholder in a header's name": ("invalid_placeholder", {"headers": {slot("Token"): "x"}}),
    "a placeholder in a text": ("invalid_placeholder", {"method": "POST", "text": slot("Token")}),
    "a relative URL": ("destination_refused", {"url": "/bearer", "auth": {"bearer": slot("Token")}}),
    "user information": ("destination_refused", {"url": "https://a:b@127.0.0.1", "auth": {"bearer": slot("Token")}}),
    "http elsewhere": ("destination_refused", {"url": "http://example.com", "auth": {"bearer": slot("Token")}}),
    "another host": ("destination_refused", {"url": "https://example.com", "auth": {"bearer": slot("Token")}}),
    "a query that is not open": ("destination_refused", {"query": {"q": slot("Token")}}),
    "a form that is not open": ("destination_refused", {"method": "POST", "form": {"q": slot("Token")}}),
    "a JSON body that is not open": ("destination_refused", {"method": "POST", "json": {"q": slot("Token")}}),
    "one of two items not covered": (
        "destination_refused",
        {"auth": {"bearer": slot("Token")}, "headers": {"X-B": "{{r4://Engineering/Sentry/Auth%20Token}}"}},
    ),
    "a header twice": ("invalid_argument", {"headers": {"X-A": slot("Token"), "x-a": "b"}}),
    "a header that is ours": ("invalid_argument", {"headers": {"Host": "a.example", "X-A": slot("Token")}}),
    "two bodies": ("invalid_argument", {"method": "POST", "json": {}, "text": "a", "auth": {"bearer": slot("Token")}}),
    "a body for GET": ("invalid_argument", {"text": "a", "auth": {"bearer": slot("Token")}}),
    "half of basic": ("invalid_argument", {"auth": {"username": slot("User")}}),
    "two schemes": ("invalid_argument", {"auth": {"username": "a", "password": "b", "bearer": slot("Token")}}),
    "another method": ("invalid_argument", {"method": "TRACE", "auth": {"bearer": slot("Token")}}),
    "a list of headers": ("invalid_argument", {"headers": [slot("Token")]}),
    "a large request": ("invalid_argument", {"method": "POST", "text": "a " * 9_000, "auth": {"bearer": slot("Token")}}),
    "many references": (
        "invalid_argument",
        {"headers": {f"X-{number}": f"{{{{r4://a/b/{number}}}}}" for number in range(MAX_REFERENCES + 1)}},
    ),
}


async def test_what_is_wrong_is_refused_before_anything_is_sent(world: World) -> None:
    """Each with its code; the service hears of none of them, and no value is opened."""
    async with office(world, echo) as there, in_memory(world.environment) as door:
        for what, (code, call) in REFUSED.items():
            told = await door.refused("http_request", code, **{"method": "GET", "url": there.url(), **call})
            assert USER not in json.dumps(told), what
        ledger = await door.ok("exposure")
        assert ledger["used"] == []
        assert not any("wrapped-key" in line for line in world.tap.lines())
    assert there.service.received == []


async def test_a_refusal_names_the_item_its_hosts_and_the_way_to_add_one(world: World) -> None:
    """So that a person is asked for the right thing."""
    async with office(world, echo) as there, in_memory(world.environment) as door:
        told = await door.refused(
            "http_request", "destination_refused", method="GET", url="https://example.com", auth={"bearer": slot("Token")}
        )
        assert told["candidates"] == [there.url()]
        assert f"r4-mcp bind r4://{there.vault_id}/{there.item_id} URL" in told["next_step"]


async def test_a_value_that_was_read_is_not_carried_out_by_hand(world: World) -> None:
    """A text of the request that holds it is refused wherever it stands."""
    async with office(world, echo) as there, in_memory(world.environment) as door:
        value = (await door.ok("read_secret", reference=reference("Password")))["value"]
        for call in ({"headers": {"X-B": f"x {value}"}}, {"method": "POST", "json": {"a": [value]}}, {"query": {value: "a"}}):
            right = {"method": "GET", "url": there.url(), "auth": {"bearer": slot("Token")}}
            await door.refused("http_request", "secret_in_text", **{**right, **call})
    assert there.service.received == []


async def test_a_person_is_asked_about_the_whole_request(world: World) -> None:
    """Where the rules ask: once for all of its values, by reference; a no sends nothing."""
    ask = '[defaults.use]\nINTERNAL = "ask"\n'
    call = {"method": "GET", "auth": {"username": slot("User"), "password": slot("Password")}}
    no = Person(types.ElicitResult(action="decline"))
    async with office(world, gatekeeper) as there:
        there.allow(ask)
        async with in_memory(world.environment, answer=no) as door:
            await door.refused("http_request", "denied", url=there.url("/basic"), **call)
        async with in_memory(world.environment) as door:
            told = await door.refused("http_request", "approval_required", url=there.url("/basic"), **call)
            assert "--action use" in told["next_step"]
        assert there.service.received == []
        person = Person()
        async with in_memory(world.environment, answer=person) as door:
            assert (await door.ok("http_request", url=there.url("/basic"), **call))["status"] == 200
        (asked,) = person.asked
        assert all(part in asked.message for part in (there.url("/basic"), reference("User"), reference("Password")))
        assert not any(value in asked.message for value in VALUES)


RULES: Final = {
    "a rule forbids the item": ('[[rule]]\naction = "use"\ndecision = "deny"\nvault = "{vault}"\nitem = "{item}"\n', "denied"),
    "a rule forbids the sink": ('[[rule]]\naction = "use"\ndecision = "deny"\nsink = "http_request"\n', "denied"),
    "a rule forbids the host": ('[[rule]]\naction = "use"\ndecision = "deny"\nhost = "127.0.0.1"\n', "denied"),
    "a rule about another host": ('[[rule]]\naction = "use"\ndecision = "deny"\nhost = "example.com"\n', None),
    "a rule about another sink": ('[[rule]]\naction = "use"\ndecision = "deny"\nsink = "run"\n', None),
    "a rule about a type": ('[[rule]]\naction = "use"\ndecision = "deny"\nfield_type = "SECRET"\n', "denied"),
    "a default": ('[defaults.use]\nINTERNAL = "deny"\n', "denied"),
    "reveals are another matter": ('[[rule]]\naction = "reveal"\ndecision = "deny"\n', None),
    "a deny beside an allow": (
        (
            '[[rule]]\naction = "use"\ndecision = "allow"\nclassification = "INTERNAL"\nvault = "{vault}"\nitem = "{item}"\n'
            '[[rule]]\naction = "use"\ndecision = "deny"\nsink = "http_request"\n'
        ),
        "denied",
    ),
}


@pytest.mark.parametrize("what", RULES)
async def test_each_use_is_decided_by_rule(what: str, world: World) -> None:
    """By item, sink, host, type and class; nothing that the model says lifts a deny."""
    text, code = RULES[what]
    async with office(world, gatekeeper) as there, in_memory(world.environment) as door:
        there.allow(text.format(vault=there.vault_id, item=there.item_id))
        call = {"url": there.url("/bearer"), **CALLS["/bearer"]}
        if code is None:
            await door.ok("http_request", **call)
        else:
            await door.refused("http_request", code, **call)
    assert len(there.service.received) == (code is None)


@pytest.mark.parametrize(
    ("classification", "more", "code"),
    [
        (Classification.PUBLIC, "", None),
        (None, "", None),
        (Classification.CONFIDENTIAL, "", "approval_required"),
        (Classification.CUI, "", "denied"),
        (
            Classification.CONFIDENTIAL,
            '[[rule]]\naction = "use"\ndecision = "allow"\nclassification = "CONFIDENTIAL"\nhost = "127.0.0.1"\n',
            None,
        ),
        (
            Classification.CONFIDENTIAL,
            '[[rule]]\naction = "use"\ndecision = "allow"\nclassification = "CONFIDENTIAL"\nhost = "example.com"\n',
            "approval_required",
        ),
    ],
)
async def test_the_class_decides_where_no_rule_does(
    classification: Classification | None, more: str, code: str | None, world: World
) -> None:
    """As for reveals, with a table of its own; a rule for a host opens a class for that host alone."""
    async with office(world, gatekeeper, classification=classification) as there, in_memory(world.environment) as door:
        there.allow(more)
        call = {"url": there.url("/bearer"), **CALLS["/bearer"]}
        if code is None:
            await door.ok("http_request", **call)
        else:
            await door.refused("http_request", code, **call)
    assert len(there.service.received) == (code is None)


@pytest.mark.stdio
async def test_the_real_program_shows_nothing_either(world: World, tmp_path: Path) -> None:
    """A subprocess over stdio, as hosts start it; its stderr is looked through too."""
    async with office(world, echo) as there:
        async with subprocess(world.environment, stderr=tmp_path / "stderr") as door:
            answer = await door.ok("http_request", method="GET", url=there.url(), auth={"bearer": slot("Token")})
            assert mark(reference("Token")) in answer["body"]
        require_absent("\n".join(door.raw), "the transcript")
        require_absent((tmp_path / "stderr").read_text(), "stderr")


@pytest.mark.parametrize(("broken", "code"), [("ledger", "file_access"), ("policy", "denied"), ("trust store", "file_access")])
async def test_what_can_not_be_noted_or_judged_is_not_used(broken: str, code: str, world: World) -> None:
    """A damaged ledger, policy or memory: nothing is sent."""
    async with office(world, echo) as there, in_memory(world.environment) as door:
        call = {"method": "GET", "url": there.url(), "auth": {"bearer": slot("Token")}}
        await door.ok("http_request", **call)
        if broken == "policy":
            write_private(world.home / "policy.toml", "[http_request]\nloopback_http = 1\n")
        else:
            (path,) = world.home.rglob("exposure-*.json" if broken == "ledger" else "*trust*.json")
            path.write_text("{}")
        refused = await door.result("http_request", call)
        assert json.loads(text_of(refused))["code"] == code
    assert len(there.service.received) == 1
