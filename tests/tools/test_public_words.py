"""A secret that equals a public word gives nothing away there, and must not block what everybody may see."""

from __future__ import annotations

import pytest

from r4_mcp.core.wire import FieldType
from tests.doors import World, in_memory

PUBLIC_WORDS = ["Engineering", "https://", "registered", "machine.vault.read", "GitHub"]


@pytest.mark.parametrize("value", PUBLIC_WORDS)
async def test_a_secret_that_equals_a_public_word_blocks_nothing(world: World, value: str) -> None:
    """It is stored and said so, or refused and not there; listings go on in any case."""
    fields = [{"name": "Token", "type": "PASSWORD", "value": value}]
    async with in_memory(world.environment) as door:
        result = await door.result("create_item", {"vault": "Engineering", "name": "New one", "type": "CUSTOM", "fields": fields})
        async with in_memory(world.environment) as other:
            names = [item["name"] for item in (await other.ok("list_items", vault="Engineering"))["items"]]
        assert result.is_error is ("New one" not in names)
        await door.ok("whoami")
        await door.ok("list_vaults")
        await door.ok("list_items", vault="Engineering")


async def test_reading_such_a_value_blocks_no_other_vault(world: World) -> None:
    """The word is public in one vault and a password in another."""
    world.add_item("Engineering", "Odd one", ("Password", FieldType.PASSWORD, "Personal Sandbox"))
    async with in_memory(world.environment) as door:
        await door.ok("list_vaults")
        assert (await door.ok("read_secret", reference="ODD_ONE_PASSWORD"))["value"] == "Personal Sandbox"
        await door.ok("list_vaults")
        await door.ok("list_items", vault="Personal Sandbox")


@pytest.mark.parametrize(
    "seed",
    [
        "GEZDGNBVGY3TQOJQ",
        "gezd gnbv gy3t qojq",
        "otpauth://totp/a:b?secret=GEZDGNBVGY3TQOJQ&issuer=c",
        "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&algorithm=SHA256&digits=8&period=60",
    ],
    ids=["80 bits", "in groups", "label and issuer differ", "sha-256, 8 digits, a minute"],
)
async def test_seeds_as_services_hand_them_out_give_codes(world: World, seed: str) -> None:
    """Short, spaced and URI seeds are common; each gives the current code."""
    world.add_item("Engineering", "Old site", ("Code", FieldType.TOTP, seed))
    async with in_memory(world.environment) as door:
        read = await door.ok("read_secret", reference="OLD_SITE_CODE")
    assert len(read["value"]) == (8 if "digits=8" in seed else 6)
    assert read["value"].isdigit()
    assert 1 <= read["remaining_seconds"] <= (60 if "period=60" in seed else 30)


@pytest.mark.parametrize("hostname", ["Büro-Mac", "a\nb", "", "x" * 400])
async def test_any_host_name_registers(world: World, hostname: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's name is for the operator's eyes; one that a header can't hold keeps nobody out."""
    monkeypatch.setattr("platform.node", lambda: hostname)
    _, environment = world.new_agent()
    async with in_memory(environment) as door:
        assert (await door.ok("list_vaults"))["vaults"] == []
        assert (await door.ok("whoami"))["key"] == "registered"
