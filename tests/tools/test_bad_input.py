"""Bad input: exact errors, nothing written, nothing repeated, the server stays up."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote

import pytest

from r4_mcp.emulator.embedded import PERMISSIONS
from r4_mcp.machine.contract import Level
from tests.doors import Door, World, in_memory, private_pem

CANARY: Final = "Canary-zebra-42"
"""Part of every rejected value; a result or log that holds it repeated one."""

BIG: Final = CANARY * (1024 * 1024 // len(CANARY))

Call = tuple[str, dict[str, Any], str, str]


def item(*fields: dict[str, Any], **changes: object) -> dict[str, Any]:
    """Return the arguments of a creation, with changes."""
    good = {"vault": "Engineering", "name": "New", "type": "LOGIN", "fields": list(fields)}
    return {**good, **changes}


def field(name: str = "a", kind: str = "PASSWORD", **members: object) -> dict[str, Any]:
    """Return a field's arguments."""
    return {"name": name, "type": kind, **members}


ONE: Final = field(value="an ordinary value")

BAD_CALLS: Final[dict[str, Call]] = {
    "an empty vault name": ("create_vault", {"name": ""}, "invalid_argument", "name"),
    "a blank vault name": ("create_vault", {"name": " \t "}, "invalid_argument", "name"),
    "a vault name of 10 KB": ("create_vault", {"name": (CANARY * 700)[:10_240]}, "invalid_argument", "name"),
    "a line break in a vault name": ("create_vault", {"name": f"{CANARY}\nb"}, "invalid_argument", "control"),
    "a NUL in a vault name": ("create_vault", {"name": f"{CANARY}\0"}, "invalid_argument", "control"),
    "an unknown classification": ("create_vault", {"name": "n", "classification": CANARY}, "invalid_argument", "classification"),
    "an unknown project": ("create_vault", {"name": "n", "project": CANARY}, "not_found", "project"),
    "an empty item name": ("create_item", item(ONE, name=""), "invalid_argument", "name"),
    "an item name of 10 KB": ("create_item", item(ONE, name=(CANARY * 700)[:10_240]), "invalid_argument", "name"),
    "an escape in an item name": ("create_item", item(ONE, name=f"{CANARY}\x1b[0m"), "invalid_argument", "control"),
    "an unknown item type": ("create_item", item(ONE, type=CANARY), "invalid_argument", "type"),
    "no fields": ("create_item", item(), "invalid_argument", "fields"),
    "101 fields": ("create_item", item(*[field(f"f{i}", value=CANARY) for i in range(101)]), "invalid_argument", "fields"),
    "two fields of one name": ("create_item", item(ONE, ONE), "invalid_argument", "same name"),
    "an empty field name": ("create_item", item(field("", value=CANARY)), "invalid_argument", "fields[0].name"),
    "a field name of 10 KB": (
        "create_item",
        item(field((CANARY * 700)[:10_240], value="v")),
        "invalid_argument",
        "fields[0].name",
    ),
    "an unknown field type": ("create_item", item(field("a", CANARY, value="v")), "invalid_argument", "fields[0].type"),
    "a value of 1 MB": ("create_item", item(field(value=BIG)), "invalid_argument", "256 KiB"),
    "a value one byte over": ("create_item", item(field(value="x" * 262_143 + "é")), "invalid_argument", "256 KiB"),
    "an empty value": ("create_item", item(field(value="")), "invalid_argument", "fields[0].value"),
    "half of a surrogate pair": ("create_item", item(field(value=f"{CANARY}\ud800")), "invalid_argument", "fields[0].value"),
    "value and generate": (
        "create_item",
        item(field(value=CANARY, generate={})),
        "invalid_argument",
        "exactly one of value and generate",
    ),
    "neither value nor generate": ("create_item", item(field()), "invalid_argument", "exactly one of value and generate"),
    "generate for TEXT": ("create_item", item(field(kind="TEXT", generate={})), "invalid_argument", "fields[0].generate"),
    "generate for TOTP": ("create_item", item(field(kind="TOTP", generate={})), "invalid_argument", "fields[0].generate"),
    "too short a wish": ("create_item", item(field(generate={"length": 11})), "invalid_argument", "fields[0].generate.length"),
    "too long a wish": ("create_item", item(field(generate={"length": 257})), "invalid_argument", "fields[0].generate.length"),
    "an unknown alphabet": (
        "create_item",
        item(field(generate={"alphabet": CANARY})),
        "invalid_argument",
        "fields[0].generate.alphabet",
    ),
    "a FILE field": ("create_item", item(field(kind="FILE", value=CANARY)), "invalid_argument", "FILE"),
    "a TOTP seed that is none": ("create_item", item(field(kind="TOTP", value=CANARY)), "invalid_argument", "base32"),
    "a URI of another kind as a TOTP seed": (
        "create_item",
        item(field(kind="TOTP", value="otpauth://hotp/a?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&counter=1")),
        "invalid_argument",
        "base32",
    ),
    "21 websites": ("create_item", item(ONE, websites=["https://a"] * 21), "invalid_argument", "websites"),
    "a website with a space": ("create_item", item(ONE, websites=[f"{CANARY} b"]), "invalid_argument", "websites[0]"),
    "a website of 10 KB": ("create_item", item(ONE, websites=[(CANARY * 700)[:10_240]]), "invalid_argument", "websites[0]"),
    "its own value in its name": (
        "create_item",
        item(field(value=f"{CANARY} 1"), name=f"n {CANARY} 1"),
        "secret_in_text",
        "name",
    ),
    "its own value in a website": (
        "create_item",
        item(field(value=f"{CANARY}2"), websites=[f"https://u:{CANARY}2@h"]),
        "secret_in_text",
        "websites[0]",
    ),
    "a vault that does not exist": ("create_item", item(ONE, vault=CANARY), "not_found", "vault"),
    "a vault id that does not exist": ("create_item", item(ONE, vault="0" * 24), "not_found", "0" * 24),
    "a vault that is only readable": ("create_item", item(ONE, vault="Production"), "permission_denied", "WRITE"),
    "an item that is only readable": ("archive_item", {"reference": "r4://Production/Stripe"}, "permission_denied", "WRITE"),
    "a vault without ADMIN": ("archive_vault", {"reference": "r4://Engineering"}, "permission_denied", "ADMIN"),
    "an item of three parts": ("archive_item", {"reference": "r4://a/b/c"}, "invalid_reference", "r4://vault/item"),
    "a vault of two parts": ("archive_vault", {"reference": "r4://a/b"}, "invalid_reference", "one part"),
    "a negative limit": ("list_items", {"vault": "Engineering", "limit": -1}, "invalid_argument", "limit"),
    "a limit of zero": ("list_items", {"vault": "Engineering", "limit": 0}, "invalid_argument", "limit"),
    "a huge limit": ("list_items", {"vault": "Engineering", "limit": 10**9}, "invalid_argument", "limit"),
    "a limit of true": ("list_items", {"vault": "Engineering", "limit": True}, "invalid_argument", "limit"),
    "a cursor of nobody": ("list_items", {"vault": "Engineering", "cursor": CANARY}, "invalid_argument", "cursor"),
    "a cursor of 10 KB": ("list_items", {"vault": "Engineering", "cursor": "A" * 10_240}, "invalid_argument", "cursor"),
    "an empty reference": ("read_secret", {"reference": ""}, "invalid_argument", "reference"),
    "a reference of 10 KB": ("read_secret", {"reference": "r4://" + "a" * 10_240}, "invalid_argument", "reference"),
    "a bad percent": ("read_secret", {"reference": f"r4://{CANARY}%zz/a/b"}, "invalid_reference", "percent"),
    "a dot name": ("read_secret", {"reference": "r4://Engineering/../x"}, "invalid_reference", "dot name"),
    "another scheme": ("read_secret", {"reference": f"op://{CANARY}/a/b"}, "invalid_reference", "r4://"),
    "a vault as a secret": ("read_secret", {"reference": "r4://Engineering"}, "invalid_reference", "three parts"),
    "a private key in a reason": (
        "read_secret",
        {"reference": "r4://Engineering/Sentry", "reason": f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}"},
        "secret_in_text",
        "reason",
    ),
    "an empty report": ("report_gap", {"summary": "", "details": ""}, "invalid_argument", "summary"),
    "a report of 10 KB": ("report_gap", {"summary": "s", "details": "x" * 10_240}, "invalid_argument", "details"),
    "an API key in a report": (
        "report_gap",
        {"summary": "s", "details": "it said rk_aaaaaaaaaaaa." + "Canary-zebra-42"},
        "secret_in_text",
        "details",
    ),
}


@contextmanager
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Keep every record of every library."""
    with caplog.at_level(logging.DEBUG):
        yield


def assert_nothing_repeated(texts: str) -> None:
    """No rejected value, nor a part of one, stands in what was told or logged."""
    assert CANARY not in texts
    assert "zebra" not in texts


async def test_every_bad_call_is_refused_and_leaves_no_trace(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Each has its code, a message that names the place, and a next step; the store is what it was; nothing is repeated."""
    before = world.dump()
    with everything_logged(caplog):
        async with in_memory(world.environment) as door:
            for what, (tool, arguments, code, names) in BAD_CALLS.items():
                told = await door.refused(tool, code, **arguments)
                assert names in told["message"], what
                assert_nothing_repeated(json.dumps(told))
                assert all(made.method == "GET" or made.status == 403 for made in world.tap.exchanges), what
            assert world.dump() == before
            assert len((await door.ok("list_vaults"))["vaults"]) == 4
    # The SDK's own client logs what it sends; the server's records are the ones that count.
    assert_nothing_repeated("\n".join(record.getMessage() for record in caplog.records if record.name.startswith("r4_mcp")))


async def test_an_archived_vault_and_item_are_gone(world: World) -> None:
    """Both answer not found, by name and by id."""
    operator = world.seeded.operator
    sentry = await described(world, "r4://Engineering/Sentry")
    operator.archive_item(world.vault_id("Engineering"), sentry["id"])
    operator.archive_vault(world.vault_id("Production"))
    before = world.dump()
    async with in_memory(world.environment) as door:
        for reference in ("r4://Engineering/Sentry", f"r4://Engineering/{sentry['id']}"):
            await door.refused("describe_item", "not_found", reference=reference)
            await door.refused("archive_item", "not_found", reference=reference)
            await door.refused("read_secret", "not_found", reference=reference)
        for vault in ("Production", world.vault_id("Production")):
            await door.refused("list_items", "not_found", vault=vault)
            await door.refused("create_item", "not_found", **item(ONE, vault=vault))
            await door.refused("archive_vault", "not_found", reference=f"r4://{vault}")
    assert world.dump() == before


async def described(world: World, reference: str) -> dict[str, Any]:
    """Describe an item through a door of its own."""
    async with in_memory(world.environment) as door:
        return await door.ok("describe_item", reference=reference)


async def test_a_tampered_cursor_and_one_of_another_listing_are_refused(world: World) -> None:
    """Any change of a cursor, and using it elsewhere, is an invalid argument."""
    async with in_memory(world.environment) as door:
        page = await door.ok("list_items", vault="Production", limit=2)
        cursor = page["next_cursor"]
        changed = cursor[:5] + ("A" if cursor[5] != "A" else "B") + cursor[6:]
        for bad in (changed, cursor[:-4], cursor + "AAAA", ""):
            await door.refused("list_items", "invalid_argument", vault="Production", cursor=bad)
        await door.refused("list_items", "invalid_argument", vault="Engineering", cursor=cursor)
        await door.refused("list_vaults", "invalid_argument", cursor=cursor)
        assert len((await door.ok("list_items", vault="Production", cursor=cursor))["items"]) == 4


async def test_a_known_secret_is_refused_in_every_text_that_leaves(world: World) -> None:
    """Once read, a value is refused in reports, names and reasons: raw, inside text, and in every common encoding."""
    async with in_memory(world.environment) as door:
        value = (await door.ok("read_secret", reference="r4://Engineering/Sentry"))["value"]
        raw = value.encode()
        before = world.dump()
        for text in (
            value,
            f"the key is {value}.",
            base64.b64encode(raw).decode(),
            base64.b64encode(b"ab" + raw + b"c").decode(),
            base64.urlsafe_b64encode(b"x" + raw).decode(),
            raw.hex(),
            raw.hex().upper(),
            value[::-1],
            quote(value, safe=""),
            json.dumps(json.dumps({"v": value})),
            world_key(world),
        ):
            for arguments in (
                {"summary": text[:300], "details": "d"},
                {"summary": "s", "details": text},
                {"summary": "s", "details": "d", "desired_outcome": text},
            ):
                told = await door.refused("report_gap", "secret_in_text", **arguments)
                assert text not in json.dumps(told)
            if len(text) <= 255 and "\n" not in text:
                await door.refused("create_vault", "secret_in_text", name=text)
            await door.refused("read_secret", "secret_in_text", reference="r4://Engineering/Sentry", reason=text[:500])
        assert world.dump() == before


def world_key(world: World) -> str:
    """Return a private key that the server does not know."""
    return private_pem(world.spare_keys[0])


NEEDS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "list_vaults": ("machine.vault.read", {}),
    "list_items": ("machine.vault.read", {"vault": "Personal Sandbox"}),
    "describe_item": ("machine.vault.secret.read", {"reference": "r4://Personal%20Sandbox/Playground"}),
    "read_secret": ("machine.vault.secret.read", {"reference": "r4://Personal%20Sandbox/Playground"}),
    "create_vault": ("machine.vault.write", {"name": "x"}),
    "create_item": ("machine.vault.write", item(ONE, vault="Personal Sandbox")),
    "archive_item": ("machine.vault.write", {"reference": "r4://Personal%20Sandbox/Playground"}),
    "archive_vault": ("machine.vault.write", {"reference": "r4://Personal%20Sandbox"}),
    "report_gap": ("machine.feedback.write", {"summary": "s", "details": "d"}),
}


@pytest.mark.parametrize("tool", NEEDS)
async def test_a_missing_permission_is_named(world: World, tool: str) -> None:
    """Each tool without its one permission: 403, the permission's name, the operator as the next step; nothing is written."""
    permission, arguments = NEEDS[tool]
    world.seeded.operator.revoke_permission(world.seeded.credentials.agent_id, permission)
    before = world.dump()
    async with in_memory(world.environment) as door:
        told = await door.refused(tool, "permission_denied", **arguments)
        assert permission in told["message"]
        assert "operator" in told["next_step"]
        assert permission not in (await door.ok("whoami"))["permissions"]
    assert world.dump() == before


async def test_registering_needs_its_permission(world: World) -> None:
    """Without it the first call names it; whoami still works."""
    _, environment = world.new_agent(tuple(name for name in PERMISSIONS if "agent" not in name and "wrapped" not in name))
    async with in_memory(environment) as door:
        told = await door.refused("list_vaults", "permission_denied")
        assert "machine.agent.all" in told["message"]
        assert (await door.ok("whoami"))["key"] == "not_registered"


async def test_a_vault_shared_before_registration_waits_for_a_grant(world: World) -> None:
    """Contract §5, order matters: the vault is visible, nothing opens, whoami names it and what the operator has to do."""
    agent_id, environment = world.new_agent()
    operator, vault_id = world.seeded.operator, world.vault_id("Engineering")
    operator.grant(agent_id, vault_id, Level.WRITE)
    async with in_memory(environment) as door:
        before = await door.ok("whoami")
        assert (before["key"], before["waiting_for_grant"]) == ("not_registered", ["r4://Engineering"])
        await door.ok("list_vaults")
        told = await door.refused("read_secret", "awaiting_grant", reference="r4://Engineering/Sentry")
        assert "grant" in told["next_step"]
        standing = await door.ok("whoami")
        assert (standing["key"], standing["waiting_for_grant"]) == ("registered", ["r4://Engineering"])
        assert "grant" in standing["next_step"]
        operator.grant(agent_id, vault_id, Level.WRITE)
        assert (await door.ok("read_secret", reference="r4://Engineering/Sentry"))["value"]
        assert (await door.ok("whoami"))["waiting_for_grant"] == []


async def test_another_active_key_is_never_replaced(world: World) -> None:
    """A private key that is not the registered one: key_mismatch everywhere, the registered one stays."""
    members = {**world.agent_members(), "privateKey": private_pem(world.spare_keys[1])}
    path = world.home / "other.json"
    path.write_text(json.dumps(members))
    path.chmod(0o600)
    before = world.dump()
    async with in_memory({**world.environment, "R4_CONFIG": str(path)}) as door:
        await refused_everywhere(door, "key_mismatch")
        standing = await door.ok("whoami")
        assert standing["key"] == "another_key_is_active"
        assert standing["missing"]
        assert "private key" in standing["next_step"]
    assert world.dump() == before


async def refused_everywhere(door: Door, code: str) -> None:
    """Every tool but whoami refuses with one code."""
    for tool, (_, arguments) in NEEDS.items():
        await door.refused(tool, code, **arguments)
