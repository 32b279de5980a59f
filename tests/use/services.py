"""A service that lets nobody in without the right credential, and one that says back all it was told.

What this file does not do: play a part of ours. Both are real HTTP on loopback.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import pyotp

from r4_mcp.core.wire import Classification, FieldType, ItemType
from r4_mcp.emulator.drafts import FieldDraft
from r4_mcp.machine.contract import Level
from r4_mcp.secret import SecretKind
from tests.doors import POLICY, World, write_private
from tests.sinks.services import Received, Reply, Service, serving

VAULT: Final = "Harbour"
ITEM: Final = "Harbour Office"
TOKEN: Final = "harbour-token-81x7Kq"  # noqa: S105 - of these tests, as what follows
USER: Final = "harbour-master"
PASSWORD: Final = 'lantern "wick" \\ é 42'  # noqa: S105
SEED: Final = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
PIN: Final = "4711"
VALUES: Final = (TOKEN, USER, PASSWORD, SEED)
"""What no byte that leaves may hold, in any spelling that the masker knows."""


def reference(field: str) -> str:
    """Return the reference of a field of the item."""
    return f"r4://{VAULT}/Harbour%20Office/{field}"


def slot(field: str) -> str:
    """Return the placeholder of a field of the item."""
    return "{{" + reference(field) + "}}"


@dataclass(frozen=True, slots=True)
class Office:
    """The item in a world, and the service that its website names."""

    world: World
    service: Service
    vault_id: str
    item_id: str

    def url(self, path: str = "/") -> str:
        """Return an address at the service."""
        return self.service.base_url + path

    def allow(self, more: str = "") -> None:
        """Write the operator's policy: http on loopback is right, and what a test adds."""
        write_private(self.world.home / "policy.toml", f"[http_request]\nloopback_http = true\n{more}\n{POLICY}")

    def opening(self, *places: str, website: str | None = None) -> str:
        """Return the lines that open the service for the item."""
        return (
            f'[[http_request.open]]\nvault = "{self.vault_id}"\nitem = "{self.item_id}"\n'
            f'website = "{website or self.service.base_url}"\nplaces = {json.dumps(places)}\n'
        )


@asynccontextmanager
async def office(
    world: World,
    reply: Reply,
    *,
    websites: tuple[str, ...] | None = None,
    classification: Classification | None = Classification.INTERNAL,
) -> AsyncIterator[Office]:
    """Open a service, and an item whose websites a person signed: the service's own, unless others are given."""
    async with serving(reply) as service:
        drafts = [
            FieldDraft(name, kind, world.known.text(value, SecretKind.FIELD))
            for name, kind, value in (
                ("Token", FieldType.SECRET, TOKEN),
                ("User", FieldType.TEXT, USER),
                ("Password", FieldType.PASSWORD, PASSWORD),
                ("Code", FieldType.TOTP, SEED),
                ("Pin", FieldType.SECRET, PIN),
            )
        ]
        given = (service.base_url,) if websites is None else websites
        operator = world.seeded.operator
        vault_id = operator.create_vault(VAULT, classification)
        operator.grant(world.seeded.credentials.agent_id, vault_id, Level.WRITE)
        made = operator.create_item(vault_id, ITEM, ItemType.LOGIN, given, drafts)
        opened = Office(world, service, vault_id, made.item_id)
        opened.allow()
        yield opened


async def gatekeeper(received: Received, writer: asyncio.StreamWriter) -> None:
    """Let in who has the credential that the path asks for; anybody else gets a 401."""
    headers, path = received.headers, received.line.split(" ")[1]
    basic = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    login = {"user": USER, "password": PASSWORD}
    right: dict[str, Callable[[], bool]] = {
        "/bearer": lambda: headers.get("authorization") == f"Bearer {TOKEN}",
        "/basic": lambda: headers.get("authorization") == basic,
        "/key": lambda: headers.get("x-harbour-key") == TOKEN,
        "/login": lambda: json.loads(received.body) == login,
        "/code": lambda: headers.get("x-code") in _codes(),
    }
    is_right = right[path]()
    _write(writer, 200 if is_right else 401, b'{"welcome":true}' if is_right else b'{"welcome":false}')


async def echo(received: Received, writer: asyncio.StreamWriter) -> None:
    """Say everything back: the head as text, in base64 and in hex, then the body; and the credentials as a header."""
    raw = received.head.encode("latin-1")
    body = b"\n".join([raw, base64.b64encode(raw), raw.hex().encode(), received.body, json.dumps(received.head).encode()])
    _write(writer, 200, body, f"x-request-id: {received.headers.get('authorization', '')}")


def redirecting(to: str) -> Reply:
    """Send everybody elsewhere, with the credentials in the address."""

    async def reply(received: Received, writer: asyncio.StreamWriter) -> None:
        _write(writer, 307, b"", f"location: {to}?was={received.headers.get('authorization', '')}")

    return reply


def _codes() -> set[str]:
    totp = pyotp.TOTP(SEED)
    # The one before counts as well: the clock goes on while the request is under way.
    return {totp.at(datetime.now(UTC), counter_offset=step) for step in (-1, 0)}


def _write(writer: asyncio.StreamWriter, status: int, body: bytes, *headers: str) -> None:
    head = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", "content-type: text/plain", "connection: close", *headers]
    writer.write("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)
