"""The honest service: each place carries its value, in its encoding, and the answer shows none."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Final
from urllib.parse import parse_qsl

import pytest

from r4_mcp.errors import DestinationRefusedError, InvalidArgumentError, PlaceholderError
from r4_mcp.sinks.answer import Text, Withheld
from r4_mcp.sinks.destination import cover, parse
from r4_mcp.sinks.http import HttpSink
from r4_mcp.sinks.masking import mark
from r4_mcp.sinks.request import MAX_REQUEST, BasicAuth, BearerAuth, FormBody, JsonBody, TextBody, compose
from r4_mcp.sinks.use import Use

from .services import SLOT, Received, as_json, send, serving, text_of, whole
from .values import OTHER, PLAIN, REFERENCE, VALUE, secret

ONE: Final = {REFERENCE: PLAIN}
DIFFICULT: Final = {REFERENCE: VALUE}


async def echo(received: Received, writer: asyncio.StreamWriter) -> None:
    """Answer with the whole request, as debugging endpoints do."""
    told = json.dumps({"line": received.line, "headers": received.headers, "body": received.body.decode()}).encode()
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(told), told))


async def test_a_header_carries_a_value() -> None:
    """Raw, with text around it; and the echo of it is masked."""
    async with serving(echo) as service:
        answer = await send(service.base_url, ONE, headers=[("X-Api-Key", f"key={SLOT}")])
    assert service.received[0].headers["x-api-key"] == f"key={PLAIN}"
    assert mark(REFERENCE) in text_of(answer)
    assert PLAIN not in repr(answer)


async def test_a_bearer_token() -> None:
    """The scheme is ours, the token is the value."""
    async with serving(echo) as service:
        answer = await send(service.base_url, ONE, auth=BearerAuth(SLOT))
    assert service.received[0].headers["authorization"] == f"Bearer {PLAIN}"
    assert PLAIN not in repr(answer)


async def test_basic_credentials() -> None:
    """Any characters, colons in the password included; the echo of the base64 is masked too."""
    values = {REFERENCE: VALUE + ":" + VALUE}
    async with serving(echo) as service:
        answer = await send(service.base_url, values, auth=BasicAuth("operator", SLOT))
    scheme, encoded = service.received[0].headers["authorization"].split(" ")
    assert scheme == "Basic"
    assert base64.b64decode(encoded).decode() == f"operator:{VALUE}:{VALUE}"
    assert encoded not in repr(answer)
    assert mark(REFERENCE) in text_of(answer)


async def test_a_query_value_is_percent_encoded() -> None:
    """After the query that the URL has, and nothing in the value can end it."""
    async with serving(echo) as service:
        answer = await send(f"{service.base_url}/find?a=1", DIFFICULT, query=[("q&=", f"x {SLOT}&b=2"), ("c", "")])
    target = service.received[0].line.split(" ")[1]
    assert parse_qsl(target.split("?", 1)[1], keep_blank_values=True) == [("a", "1"), ("q&=", f"x {VALUE}&b=2"), ("c", "")]
    assert mark(REFERENCE) in text_of(answer)


async def test_a_form_value_is_form_encoded() -> None:
    """As a browser would send it."""
    async with serving(echo) as service:
        body = FormBody([("user", "a b"), ("password", SLOT)])
        answer = await send(service.base_url, DIFFICULT, method="POST", body=body)
    received = service.received[0]
    assert received.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qsl(received.body.decode()) == [("user", "a b"), ("password", VALUE)]
    assert mark(REFERENCE) in text_of(answer)


async def test_a_json_string_is_escaped() -> None:
    """At any depth, and nothing in the value can leave its string."""
    async with serving(echo) as service:
        given = {"login": {"password": f"<{SLOT}>", "tries": [1, 2.5, None, True, SLOT]}}
        answer = await send(service.base_url, DIFFICULT, method="POST", body=JsonBody(given))
    expected = {"login": {"password": f"<{VALUE}>", "tries": [1, 2.5, None, True, VALUE]}}
    assert json.loads(service.received[0].body) == expected
    assert mark(REFERENCE) in text_of(answer)


async def test_a_text_is_sent_as_it_is() -> None:
    """With its length, and without placeholders."""
    async with serving(echo) as service:
        await send(service.base_url, method="PUT", body=TextBody("{{ not ours }} é"))
    assert service.received[0].body.decode() == "{{ not ours }} é"


async def test_two_values_go_to_two_places() -> None:
    """Each by its own reference; each shown by its own."""
    values = {REFERENCE: PLAIN, OTHER: "another-Value-0123"}
    async with serving(echo) as service:
        answer = await send(service.base_url, values, headers=[("x-a", SLOT), ("x-b", f"{{{{{OTHER}}}}}")])
    assert service.received[0].headers["x-b"] == "another-Value-0123"
    assert {mark(REFERENCE), mark(OTHER)} <= set(text_of(answer).split('"'))


async def test_a_one_time_code_gives_status_and_headers_alone() -> None:
    """Whatever the service says, six digits can't be masked; a header that holds them is left out."""
    headers = ("location: /welcome?code=492039", "etag: 7", "content-type: text/plain")
    async with serving(whole(b"your code was 492039", *headers)) as service:
        answer = await send(service.base_url, {REFERENCE: "492039"}, method="POST", body=JsonBody(SLOT), one_time=True)
    assert json.loads(service.received[0].body) == "492039"
    assert answer.body == Withheld()
    assert answer.status == 200
    assert [name for name, _ in answer.headers] == ["etag", "content-type"]


@pytest.mark.parametrize("one_time", [True, False])
@pytest.mark.parametrize("value", ["1234", "12345678"])
async def test_a_value_that_can_not_be_masked_withholds_the_body(value: str, *, one_time: bool) -> None:
    """Short ones always; longer ones if they are one-time codes."""
    async with serving(whole(b"hello")) as service:
        answer = await send(service.base_url, {REFERENCE: value}, auth=BasicAuth("a", SLOT), one_time=one_time)
    assert isinstance(answer.body, Withheld if one_time or len(value) < 8 else Text)


async def test_a_value_is_not_read_for_placeholders() -> None:
    """A value that holds a placeholder is sent as it is."""
    async with serving(echo) as service:
        await send(service.base_url, {REFERENCE: f"{{{{{OTHER}}}}}"}, headers=[("x-key", SLOT)])
    assert service.received[0].headers["x-key"] == f"{{{{{OTHER}}}}}"


@pytest.mark.parametrize(
    "value", ["a\r\nx-evil: 1", "line\n", "\rline", "null\0", " space", "space ", "é" * 8, "\x7f" * 8, "", "\ud800" * 8]
)
async def test_a_header_refuses_what_it_can_not_carry(value: str) -> None:
    """Nothing is sent, and nothing is cleaned: a cleaned password is a wrong password."""
    async with serving(echo) as service:
        with pytest.raises(PlaceholderError) as caught:
            await send(service.base_url, {REFERENCE: value, OTHER: PLAIN}, headers=[("x-a", SLOT), ("x-b", f"{{{{{OTHER}}}}}")])
        with pytest.raises(PlaceholderError):
            await send(service.base_url, {REFERENCE: value}, auth=BearerAuth(SLOT))
    assert service.received == []
    assert len(value) < 8 or value not in caught.value.message


@pytest.mark.parametrize(("username", "password"), [("a:b", "c"), ("a", "b\nc"), ("a\0", "b"), ("a", "\ud800")])
async def test_basic_credentials_refuse_what_they_can_not_carry(username: str, password: str) -> None:
    """A colon in the name would move a part of it into the password."""
    values = {REFERENCE: username, OTHER: password}
    async with serving(echo) as service:
        with pytest.raises(PlaceholderError):
            await send(service.base_url, values, auth=BasicAuth(SLOT, f"{{{{{OTHER}}}}}"))
    assert service.received == []


async def test_half_a_surrogate_pair_is_sent_nowhere() -> None:
    """UTF-8 has no way to write it."""
    async with serving(echo) as service:
        for body in (JsonBody(SLOT), FormBody([("a", SLOT)])):
            with pytest.raises(PlaceholderError) as caught:
                await send(service.base_url, {REFERENCE: "\ud800" * 8}, method="POST", body=body)
        with pytest.raises(PlaceholderError):
            await send(service.base_url, {REFERENCE: "\ud800" * 8}, query=[("a", SLOT)])
        assert caught.value.__context__ is None
    assert service.received == []


async def test_a_request_that_is_too_large_is_not_sent() -> None:
    """Counted with its values."""
    async with serving(echo) as service:
        with pytest.raises(InvalidArgumentError):
            await send(service.base_url, {REFERENCE: "x" * MAX_REQUEST}, method="POST", body=JsonBody(SLOT))
    assert service.received == []


async def test_a_value_goes_only_where_it_was_proven_for() -> None:
    """A proof for another path of the same host is none."""
    async with serving(echo) as service:
        there, here = (parse(f"{service.base_url}{path}", loopback_http=True) for path in ("/there", "/here"))
        request = compose("GET", here, auth=BearerAuth(SLOT))
        for uses in ({}, {REFERENCE: Use(secret(PLAIN), cover(there, REFERENCE, [service.base_url]))}):
            with pytest.raises(ValueError, match="proven"):
                await HttpSink().send(request, uses)
        with pytest.raises(DestinationRefusedError):
            cover(here, REFERENCE, [f"{service.base_url}/there"])
    assert service.received == []


async def test_what_is_sent_beside_the_request_is_ours() -> None:
    """Host, length, encoding; no cookie, no compression, no library's name."""
    async with serving(echo) as service:
        answer = await send(f"{service.base_url}/a%20b?c", headers=[("Accept", "text/csv"), ("Cookie", "a=b")])
    assert service.received[0].line == "GET /a%20b?c HTTP/1.1"
    assert service.received[0].headers == {
        "host": f"127.0.0.1:{service.port}",
        "accept-encoding": "identity",
        "accept": "text/csv",
        "cookie": "a=b",
        "user-agent": "r4-mcp",
    }
    assert isinstance(as_json(answer), dict)
