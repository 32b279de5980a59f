"""A name belongs to the vault that had it, and a vault that we made believes our key alone."""

from __future__ import annotations

import json

from starlette.responses import Response

from r4_mcp.core.wire import FieldType, ItemType, SignerType, VaultId
from r4_mcp.emulator.directory_log import admit
from r4_mcp.emulator.drafts import FieldDraft
from r4_mcp.emulator.signing_keys import active_key
from r4_mcp.machine.contract import Level
from r4_mcp.secret import SecretKind
from tests.doors import World, in_memory
from tests.switchboard import Exchange

from .rooms import runtime


def replace_vault(world: World, name: str) -> None:
    """Let a vault vanish and another one, new to the agent, show its name."""
    operator = world.seeded.operator
    operator.archive_vault(world.vault_id(name))
    operator.grant(world.seeded.credentials.agent_id, operator.create_vault(name), Level.WRITE)


async def test_a_remembered_name_is_not_handed_to_another_vault(world: World) -> None:
    """What the agent stores under a name it knows must not land where somebody else put that name."""
    async with in_memory(world.environment) as door:
        await door.ok("list_vaults")
        old = world.vault_id("Engineering")
        replace_vault(world, "Engineering")
        fields = [{"name": "Token", "type": "PASSWORD", "value": "a value for the vault I know"}]
        arguments = {"vault": "r4://Engineering", "name": "New", "type": "CUSTOM", "fields": fields}
        refusal = await door.refused("create_item", "ambiguous_reference", **arguments)
        assert f"r4-mcp trust reset {old}" in refusal["next_step"]
        assert f"r4://{old}" in refusal["candidates"]
        await door.refused("list_items", "ambiguous_reference", vault="Engineering")
        # By id it is unmistakable.
        (new,) = [vault for vault in (await door.ok("list_vaults"))["vaults"] if vault["name"] == "Engineering"]
        assert (await door.ok("list_items", vault=f"r4://{new['id']}"))["items"] == []


async def test_a_key_in_a_new_vault_is_not_taken_while_a_known_one_is_gone(world: World) -> None:
    """A SCREAMING key that turns up in a vault met for the first time is asked about when a remembered vault vanished."""
    operator = world.seeded.operator
    async with in_memory(world.environment) as door:
        await door.ok("list_vaults")
        operator.archive_vault(world.vault_id("Engineering"))
        other = operator.create_vault("Elsewhere")
        secret = world.known.text("a value of the test", SecretKind.FIELD)
        operator.create_item(other, "GitHub", ItemType.LOGIN, [], [FieldDraft("Password", FieldType.PASSWORD, secret)])
        operator.grant(world.seeded.credentials.agent_id, other, Level.WRITE)
        refusal = await door.refused("read_secret", "ambiguous_reference", reference="GITHUB_PASSWORD")
        assert refusal["candidates"] == [f"r4://{other}/GitHub/Password"]
        # By its reference a person has chosen it.
        assert (await door.ok("read_secret", reference=refusal["candidates"][0]))["value"] == "a value of the test"
        # From then on it is known.
        assert (await door.ok("read_secret", reference="GITHUB_PASSWORD"))["value"] == "a value of the test"


async def test_a_name_is_free_again_after_we_archived_its_vault(world: World) -> None:
    """Archiving by this agent lets go of the name; another vault may have it then."""
    async with in_memory(world.environment) as door:
        first = await door.ok("create_vault", name="Again")
        await door.ok("archive_vault", reference=first["reference"])
        second = await door.ok("create_vault", name="Again")
        assert second["id"] != first["id"]
        assert (await door.ok("list_items", vault="Again"))["total"] == 0


async def test_a_vault_that_we_made_believes_our_key_alone(world: World) -> None:
    """A signer that the service slips into the brand-new directory is a stranger there, not a first contact."""
    slipped = False

    async def slip(exchange: Exchange) -> Response | None:
        nonlocal slipped
        if exchange.method == "POST" and exchange.path.endswith("/wrapped-key") and not slipped:
            slipped = True
            vault_id = VaultId(exchange.path.split("/")[-2])
            with world.store.write() as db:
                key = active_key(db, world.seeded.operator.user_id)
                assert key is not None
                admit(db, vault_id, key)
        return None

    world.tap.intercept = slip
    async with runtime(world) as rooms:
        vault = await rooms.writer.create_vault("Own", None, None)
        again = await rooms.reader.vault(vault.id)
    assert slipped
    for seen in (vault, again):
        assert [signer.kind for signer in seen.directory.signers.values()] == [SignerType.AGENT]
        assert len(seen.directory.strangers) == 1


async def test_one_vault_that_can_not_be_shown_hides_no_other(world: World) -> None:
    """Its line says why; the rest of the list is there."""
    broken = world.vault_id("Engineering")

    async def refuse(exchange: Exchange) -> Response | None:
        body = json.dumps({"error": {"code": "permission_denied", "message": "no"}})
        if exchange.path.endswith("/vault/sync"):
            return Response(status_code=404)
        return Response(body, 403) if exchange.path.endswith(f"{broken}/items") else None

    world.tap.intercept = refuse
    async with in_memory(world.environment) as door:
        vaults = (await door.ok("list_vaults"))["vaults"]
    problems = {vault["id"]: vault["problem"] for vault in vaults}
    assert problems.pop(broken) == "permission_denied"
    assert set(problems.values()) == {None}
