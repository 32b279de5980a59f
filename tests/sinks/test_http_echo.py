"""The hostile service: it has the value by right, and sends it back in every way that the masker promises to catch."""

from __future__ import annotations

import asyncio
import base64
import gzip
import html
import json
import zlib
from collections.abc import Callable
from typing import Final

import pytest

from r4_mcp.errors import UnreachableError
from r4_mcp.sinks.answer import MAX_DECODED, MAX_HEADER, MAX_RECEIVED, MAX_SHOWN, MAX_TEXT, Binary, Text
from r4_mcp.sinks.masking import mark
from r4_mcp.sinks.request import BearerAuth

from .services import SLOT, Received, dripping, send, serving, text_of, whole
from .values import ENCODERS, PLAIN, REFERENCE, VALUE

PLACE: Final = {REFERENCE: PLAIN}
MARK: Final = mark(REFERENCE)
FILLER: Final = b"of little interest. "


@pytest.mark.parametrize("spelling", ENCODERS)
@pytest.mark.parametrize("size", [1, 100_000])
async def test_a_spelling_in_the_body_is_masked(spelling: str, size: int) -> None:
    """Whole, and split over chunks of one byte."""
    written = ENCODERS[spelling](PLAIN)
    async with serving(dripping(f"before {written} behind".encode(), size)) as service:
        answer = await send(service.base_url, PLACE, auth=BearerAuth(SLOT))
    assert text_of(answer).rstrip("=") == f"before {MARK} behind"


@pytest.mark.parametrize("alignment", range(3))
async def test_base64_in_the_body_is_masked_at_each_alignment(alignment: int) -> None:
    """The value inside a longer text that is encoded as a whole."""
    body = base64.b64encode(b"x" * alignment + PLAIN.encode() + b"yz")
    async with serving(whole(body)) as service:
        answer = await send(service.base_url, PLACE, auth=BearerAuth(SLOT))
    assert MARK in text_of(answer)
    assert len(text_of(answer)) < len(MARK) + 10


async def test_a_difficult_value_is_masked_in_documents_in_documents() -> None:
    """JSON, JSON in JSON, HTML, and HTML in JSON, in one answer."""
    texts = [VALUE, json.dumps({"a": VALUE}), json.dumps(json.dumps(VALUE, ensure_ascii=False)), html.escape(VALUE)]
    body = json.dumps({"all": texts}).encode()
    async with serving(whole(body, "content-type: application/json")) as service:
        answer = await send(service.base_url, {REFERENCE: VALUE}, query=[("q", SLOT)])
    assert text_of(answer).count(MARK) == len(texts)
    assert "Demo" not in text_of(answer)


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "windows-1252", "utf-16", "UTF-16LE", '"utf-16be"'])
async def test_other_character_sets_are_read_and_masked(charset: str) -> None:
    """As the service says, quoted or not."""
    body = f"é {VALUE} é".encode(charset.strip('"'))
    async with serving(whole(body, f"content-type: text/plain; charset={charset}")) as service:
        answer = await send(service.base_url, {REFERENCE: VALUE}, query=[("q", SLOT)])
    assert text_of(answer).removeprefix("\ufeff") == f"é {MARK} é"


@pytest.mark.parametrize("charset", ["iso-8859-1", "windows-1252", "ascii", "utf-16", "rot13", "base64", "unicode_escape", "no"])
@pytest.mark.parametrize("stray", [b"", b"\xff"])
async def test_a_lie_about_the_character_set_shows_nothing(charset: str, stray: bytes) -> None:
    """UTF-8 that is told to be something else; a stray byte makes it no UTF-8 at all."""
    body = VALUE.encode() + stray
    async with serving(whole(body, f"content-type: text/plain; charset={charset}")) as service:
        answer = await send(service.base_url, {REFERENCE: VALUE}, query=[("q", SLOT)])
    assert "Demo" not in repr(answer)
    assert isinstance(answer.body, Binary) or MARK in text_of(answer)


@pytest.mark.parametrize(
    ("coding", "encode"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda raw: zlib.compress(raw)[2:-4]),
        ("identity", bytes),
    ],
)
async def test_a_compressed_body_is_opened_and_masked(coding: str, encode: Callable[[bytes], bytes]) -> None:
    """Although it was asked not to be."""
    async with serving(dripping(encode(FILLER + PLAIN.encode()), 1, f"content-encoding: {coding}")) as service:
        answer = await send(service.base_url, PLACE, auth=BearerAuth(SLOT))
    assert text_of(answer) == FILLER.decode() + MARK


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("br", b"anything"),
        ("zstd", b"anything"),
        ("gzip, gzip", gzip.compress(gzip.compress(PLAIN.encode()))),
        ("gzip", PLAIN.encode()),
        ("deflate", PLAIN.encode()),
    ],
    ids=["br", "zstd", "gzip twice", "no gzip", "no deflate"],
)
async def test_what_can_not_be_opened_is_told_by_its_size(coding: str, body: bytes) -> None:
    """Another coding, two of them, or one that is not there."""
    async with serving(whole(body, f"content-encoding: {coding}")) as service:
        answer = await send(service.base_url, PLACE, auth=BearerAuth(SLOT))
    assert answer.body == Binary(len(body), is_cut=False)


@pytest.mark.parametrize("body", [b"\x89PNG\r\n\x1a\n" + PLAIN.encode(), b"\0" + PLAIN.encode(), b"\xff\xfe" + PLAIN.encode()])
async def test_a_binary_body_is_told_by_its_size(body: bytes) -> None:
    """Whatever type it says it has."""
    async with serving(whole(body, "content-type: text/html")) as service:
        answer = await send(service.base_url, PLACE, auth=BearerAuth(SLOT))
    assert answer.body == Binary(len(body), is_cut=False)


async def test_an_archive_in_the_body_is_binary() -> None:
    """Compression inside the body is not opened, and not shown."""
    body = gzip.compress(PLAIN.encode())
    async with serving(whole(body, "content-type: application/gzip")) as service:
        answer = await send(service.base_url, PLACE, auth=BearerAuth(SLOT))
    assert answer.body == Binary(len(body), is_cut=False)


@pytest.mark.parametrize("over", [*range(len(PLAIN) + 2), 200])
@pytest.mark.parametrize("compressed", [False, True])
async def test_a_value_at_the_edge_of_a_cap_leaves_no_part(over: int, *, compressed: bool) -> None:
    """However much of it still came before bytes were no longer read."""
    cap = MAX_DECODED if compressed else MAX_RECEIVED
    body = b"." * (cap - over) + PLAIN.encode() + b"." * 300
    headers = ["content-encoding: gzip"] if compressed else []
    async with serving(whole(gzip.compress(body) if compressed else body, *headers)) as service:
        answer = await send(service.base_url, PLACE, auth=BearerAuth(SLOT))
    assert isinstance(answer.body, Text)
    assert answer.body.is_cut
    assert set(answer.body.text) == {"."}


@pytest.mark.parametrize("over", [*range(len(PLAIN) + 2), 200])
async def test_a_value_at_the_edge_of_the_shown_text_leaves_no_part(over: int) -> None:
    """It is masked before it is cut: what stays at the edge is a part of the reference."""
    body = b"." * (MAX_TEXT - over) + PLAIN.encode() + b"." * 300
    async with serving(whole(body)) as service:
        answer = await send(service.base_url, PLACE, auth=BearerAuth(SLOT))
    assert isinstance(answer.body, Text)
    assert answer.body.is_cut
    expected = ("." * (MAX_TEXT - over) + MARK + "." * 300).encode()[:MAX_TEXT]
    assert answer.body.text == expected.decode("utf-8", "ignore")


async def test_a_bomb_is_opened_to_its_cap() -> None:
    """One megabyte that would be a thousand."""
    async with serving(whole(gzip.compress(b"\n" * 200_000_000, 9), "content-encoding: gzip")) as service:
        answer = await send(service.base_url, PLACE, auth=BearerAuth(SLOT))
    assert answer.body == Text("\n" * MAX_TEXT, is_cut=True)


async def test_headers_are_chosen_masked_and_capped() -> None:
    """A cookie is never shown; the value is masked in what is, in any character set."""
    headers = [
        f"Location: https://evil.example/?got={PLAIN}",
        f"WWW-Authenticate: Basic realm={base64.b64encode(PLAIN.encode()).decode()}",
        f"ETag: {PLAIN * 200}{'x' * 5000}",
        f"Set-Cookie: session={PLAIN}",
        f"X-Echo: {PLAIN}",
        f"{PLAIN}: x",
        *(f"Link: <https://example.com/{number}>" for number in range(100)),
    ]
    async with serving(whole(b"", *headers, status=302)) as service:
        answer = await send(service.base_url, PLACE, auth=BearerAuth(SLOT))
    shown = dict(answer.headers)
    assert PLAIN not in repr(answer)
    assert shown["location"] == f"https://evil.example/?got={MARK}"
    assert MARK in shown["www-authenticate"]
    assert shown["etag"] == MARK + "x" * (MAX_HEADER - len(MARK))
    assert set(shown) == {"location", "www-authenticate", "etag", "link"}
    assert len(answer.headers) == MAX_SHOWN


async def test_a_value_with_other_letters_is_masked_in_a_header() -> None:
    """In UTF-8 and in Latin-1, which some servers send."""

    async def reply(_: Received, writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 200 OK\r\nlocation: /" + VALUE.encode() + b"\r\netag: " + VALUE.encode("latin-1")
        writer.write(head + b"\r\ncontent-length: 0\r\n\r\n")

    async with serving(reply) as service:
        answer = await send(service.base_url, {REFERENCE: VALUE}, query=[("q", SLOT)])
    assert dict(answer.headers) == {"location": f"/{MARK}", "etag": MARK}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("target", ["/again", "http://localhost:{port}/", "https://evil.example/"])
async def test_a_redirect_is_told_and_not_followed(status: int, target: str) -> None:
    """To itself, to another name of the same machine, to another host: one request, and nobody else has the value."""
    location = f"location: {target}?{PLAIN}"
    async with serving(whole(b"moved", location, status=status)) as service:
        answer = await send(service.base_url, PLACE, auth=BearerAuth(SLOT))
        await asyncio.sleep(0)
    assert len(service.received) == 1
    assert (answer.status, dict(answer.headers)["location"]) == (status, f"{target}?{MARK}")


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + PLAIN.encode(),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n" + PLAIN.encode(),
        b"HTTP/1.1 200 OK\r\nbad header " + PLAIN.encode() + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"x" * 200_000 + PLAIN.encode() + b"\r\n\r\n",
        b"SSH-2.0-" + PLAIN.encode() + b"\r\n\r\n",
        b"",
    ],
)
async def test_a_broken_answer_shows_nothing(raw: bytes) -> None:
    """Half a body, wrong framing, another protocol: one error of our own words, with no cause that quotes the bytes."""

    async def reply(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)

    async with serving(reply) as service:
        with pytest.raises(UnreachableError) as caught:
            await send(service.base_url, PLACE, auth=BearerAuth(SLOT))
    assert PLAIN not in f"{caught.value} {caught.value.__cause__} {caught.value.__suppress_context__}"
    assert caught.value.__suppress_context__
