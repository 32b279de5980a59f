"""Opening a located field: what is asked for a second time, what is not, and what is not believed the second time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
from starlette.responses import JSONResponse, Response

from r4_mcp.core.wire import FieldId, FieldType, ItemType, VaultId
from r4_mcp.emulator.drafts import FieldDraft
from r4_mcp.errors import DisagreementError, EnvelopeError, NotReadableError, R4Error, SignerError, WrappedKeyNotMineError
from r4_mcp.secret import KnownSecrets, SecretKind
from r4_mcp.vault.item_update import FieldChange, ItemChange
from tests.doors import World
from tests.switchboard import Exchange

from .rooms import runtime
from .test_reader import genuine_answer

NOBODY: Final = "f" * 24


def signer_member(told: dict[str, Any]) -> str:
    """Return the member that names the signer's key: a person's or an agent's."""
    (name,) = {"signerUserKeyPairId", "signerEncryptionKeyId"} & told.keys()
    return name


@pytest.fixture
def target(world: World) -> tuple[VaultId, FieldId]:
    """Make a field to open."""
    made = world.add_item("Engineering", "Target", ("Token", FieldType.SECRET, "the value"))
    return world.vault_id("Engineering"), made.field_ids[0]


LIES: Final[dict[str, tuple[str, Callable[[dict[str, Any]], object], type[R4Error]]]] = {
    "a key for somebody else": ("/wrapped-key", lambda told: told.update(encryptionKeyId=NOBODY), WrappedKeyNotMineError),
    "a key of an unknown signer": ("/wrapped-key", lambda told: told.update({signer_member(told): NOBODY}), SignerError),
    "a ciphertext of another key": (
        "/fields/",
        lambda told: told.update(value=told["value"].replace('"d":"', '"d":"AAAA', 1)),
        EnvelopeError,
    ),
}


@pytest.mark.parametrize(("part", "lie", "refusal"), LIES.values(), ids=LIES.keys())
async def test_what_was_just_asked_is_not_asked_again(
    world: World,
    target: tuple[VaultId, FieldId],
    part: str,
    lie: Callable[[dict[str, Any]], object],
    refusal: type[R4Error],
) -> None:
    """Only what comes from memory can be too old; the rest is refused as it is."""

    async def intercept(exchange: Exchange) -> Response | None:
        if part not in exchange.path:
            return None
        told = await genuine_answer(world, exchange)
        lie(told)
        return JSONResponse(told)

    world.tap.intercept = intercept
    async with runtime(world) as one:
        located = await one.reader.field(*target)
        world.tap.exchanges.clear()
        with pytest.raises(refusal):
            await one.opener.open_field(located)
    assert {line.rpartition("/")[2] for line in world.tap.lines()} == {"wrapped-key"}


async def test_a_field_that_changed_while_it_was_read_is_not_shown(world: World, target: tuple[VaultId, FieldId]) -> None:
    """Whoever asked was told about another item; what it holds now is another question."""
    value = KnownSecrets().text("another value", SecretKind.FIELD)
    async with runtime(world) as one, runtime(world, {**world.environment, "R4_HOME": str(world.home / "elsewhere")}) as other:
        located = await one.reader.field(*target)
        world.seeded.operator.rotate_dek(target[0])
        item_id = located.field.item.checkpoint.item_id
        await other.writer.update_item(target[0], item_id, ItemChange(None, (FieldChange("Token", value=value),)))
        with pytest.raises(DisagreementError, match="changed while it was read"):
            await one.opener.open_field(located)
        assert (await one.opener.open_field(await one.reader.field(*target))).reveal() == "another value"


async def test_an_attachment_has_no_value(world: World) -> None:
    """Its field names what is kept elsewhere."""
    value = world.known.text("the value", SecretKind.FIELD)
    drafts = [FieldDraft("Scan", FieldType.FILE, None), FieldDraft("Token", FieldType.SECRET, value)]
    made = world.seeded.operator.create_item(world.vault_id("Engineering"), "Papers", ItemType.CUSTOM, [], drafts)
    async with runtime(world) as one:
        scan, token = [await one.reader.field(world.vault_id("Engineering"), field_id) for field_id in made.field_ids]
        with pytest.raises(NotReadableError, match="of type FILE and has no value to read"):
            await one.opener.open_field(scan)
        assert (await one.opener.open_field(token)).reveal() == "the value"
