"""Lies about bytes: JSON that is not strict, bodies without end, answers that drip, pages that loop, redirects.

What this file does not do: sign. Nothing here gets as far as a signature.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final

from r4_mcp.core.encoding import Json, compact_json
from r4_mcp.emulator.dispatch import RawReply
from r4_mcp.emulator.faults_liar import Answer, Asked, Fault, Lie, raw_reply
from r4_mcp.emulator.fresh import new_id, timestamp
from r4_mcp.emulator.refusal import Reply
from r4_mcp.machine.contract import LIST_ITEMS, LIST_VAULTS, MIB

HUGE: Final = 200 * MIB
_DRIP_SECONDS: Final = 0.05
_DRIPS: Final = 1200
_JSON: Final = {"content-type": "application/json"}


def _respelled(respell: Callable[[bytes], bytes]) -> Lie:
    """Answer a listing truthfully, in another spelling."""

    def lie(asked: Asked) -> Answer:
        reply = asked.honest()
        if asked.endpoint is not LIST_ITEMS or not isinstance(reply.body, dict):
            return reply
        return raw_reply(respell(compact_json(reply.body).encode("utf-8")))

    return lie


def _with_member(member: bytes) -> Lie:
    return _respelled(lambda body: b"{" + member + b"," + body[1:])


def _streaming(status: int, headers: dict[str, str], chunks: Callable[[], AsyncIterator[bytes]]) -> Lie:
    def lie(asked: Asked) -> Answer:
        return RawReply(status, {**_JSON, **headers}, chunks) if asked.endpoint is LIST_ITEMS else asked.honest()

    return lie


async def _spaces(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // (64 * 1024)):
        yield b" " * (64 * 1024)


async def _bomb() -> AsyncIterator[bytes]:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = b" " * MIB
    for _ in range(HUGE // MIB):
        packed = packer.compress(block)
        if packed:
            yield packed
    yield packer.flush()


async def _drip() -> AsyncIterator[bytes]:
    for _ in range(_DRIPS):
        yield b" "
        await asyncio.sleep(_DRIP_SECONDS)


async def _silence() -> AsyncIterator[bytes]:
    await asyncio.sleep(_DRIP_SECONDS * _DRIPS)
    yield b""


def _paging(page_of: Callable[[int], int], total: int) -> Lie:
    """List the vaults in pages; ``page_of`` is what the answer calls the page that was asked for."""

    def lie(asked: Asked) -> Reply:
        reply = asked.honest()
        if asked.endpoint is not LIST_VAULTS:
            return reply
        number = page_of(int(asked.incoming.query.get("page", "1")))
        unsigned: dict[str, Json] = {"isEncrypted": True, "encryptionKeyId": None, "dataClassification": None, "itemCount": 0}
        vault: Json = {"id": new_id(), "name": f"Vault {number}", "createdAt": timestamp(), **unsigned}
        return Reply(200, {"data": [vault], "pagination": {"page": number, "limit": 1, "total": total, "totalPages": total}})

    return lie


def _same_page(asked: Asked) -> Reply:
    reply = asked.honest()
    if asked.endpoint is not LIST_VAULTS or not isinstance(reply.body, dict):
        return reply
    where: Json = {"page": int(asked.incoming.query.get("page", "1")), "limit": 100, "total": 9, "totalPages": 3}
    return Reply(200, {"data": reply.body["vaults"], "pagination": where})


def _redirecting(status: int) -> Lie:
    def lie(asked: Asked) -> Answer:
        return raw_reply(b"", status, {"location": f"{asked.liar.elsewhere}/api/v1/machine{asked.endpoint.path}"})

    return lie


_SPELLINGS: Final = (
    ("json-duplicate-key", "A listing has a key twice.", _with_member(b'"vaultId":"000000000000000000000000"')),
    ("json-nan", "A listing holds NaN.", _with_member(b'"x":NaN')),
    ("json-infinity", "A listing holds -Infinity.", _with_member(b'"x":-Infinity')),
    ("json-fraction", "A listing counts in fractions.", _respelled(lambda body: body.replace(b'"count":', b'"count":0.0,"n":'))),
    ("json-minus-zero", "A listing holds -0.", _with_member(b'"x":-0')),
    ("json-huge-integer", "A listing holds an integer of 100,000 digits.", _with_member(b'"x":' + b"9" * 100_000)),
    ("json-deep", "A listing is nested 40 deep.", _with_member(b'"x":' + b"[" * 40 + b"]" * 40)),
    ("json-very-deep", "A listing is nested 100,000 deep.", _with_member(b'"x":' + b"[" * 100_000 + b"]" * 100_000)),
    ("json-lone-surrogate", "A listing holds half of a surrogate pair.", _with_member(b'"x":"\\ud800"')),
    ("json-surrogate-bytes", "A listing holds a surrogate in UTF-8.", _with_member(b'"x":"\xed\xa0\x80"')),
    ("json-overlong", "A listing holds an overlong UTF-8 form.", _with_member(b'"x":"\xc0\xaf"')),
    ("json-control-character", "A listing holds a raw control character.", _with_member(b'"x":"\x01"')),
    ("json-byte-order-mark", "A listing starts with a byte order mark.", _respelled(lambda body: b"\xef\xbb\xbf" + body)),
    ("json-utf-16", "A listing is UTF-16.", _respelled(lambda body: body.decode().encode("utf-16"))),
    ("json-trailing", "A listing is followed by another value.", _respelled(lambda body: body + b"{}")),
    ("json-truncated", "A listing ends early.", _respelled(lambda body: body[: len(body) // 2])),
    ("json-list", "A listing is a list.", _respelled(lambda body: b"[" + body + b"]")),
    ("json-empty", "A listing is empty.", _respelled(lambda _: b"")),
    ("html-instead-of-json", "A listing is a web page.", _respelled(lambda _: b"<html><body>Sign in</body></html>")),
)

FAULTS: Final = (
    *(Fault(name, description, lie) for name, description, lie in _SPELLINGS),
    Fault("body-of-200-mb", "A listing has 200 MB.", _streaming(200, {}, partial(_spaces, HUGE))),
    Fault("error-body-of-200-mb", "An error has 200 MB.", _streaming(400, {}, partial(_spaces, HUGE))),
    Fault("gzip-bomb", "A listing is 200 MB in a few kB of gzip.", _streaming(200, {"content-encoding": "gzip"}, _bomb)),
    Fault("slow-drip", "A listing comes byte by byte, for a minute.", _streaming(200, {}, _drip)),
    Fault("silence", "A listing starts and never goes on.", _streaming(200, {}, _silence)),
    Fault("endless-pages", "The vault list has a million pages.", _paging(lambda page: page, 1_000_000)),
    Fault("page-loop", "Each page of the vault list is the first.", _paging(lambda _: 1, 3)),
    Fault("page-repeated", "Each page of the vault list has the same vaults.", _same_page),
    *(
        Fault(f"redirect-{status}", f"Every request is redirected elsewhere with {status}.", _redirecting(status))
        for status in (301, 302, 303, 307, 308)
    ),
    Fault("not-modified", "Every request is answered 304.", lambda _: raw_reply(b"", 304)),
)
