"""A ciphertext opens in its own place and in no other: every ordered pair of two vaults, items, fields and versions each."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields, replace

import pytest

from r4_mcp.core.encoding import Json
from r4_mcp.core.envelope import Place, seal
from r4_mcp.core.wire import FieldId, FieldInstanceId, FieldType, ItemId, VaultId, read_detail
from r4_mcp.emulator.custody import prove_vault
from r4_mcp.emulator.faults_checkpoints import next_summaries
from r4_mcp.emulator.faults_liar import Asked, edit_of
from r4_mcp.emulator.fresh import new_id, new_iv
from r4_mcp.emulator.item_rows import find_item, replace_detail, sealed_instances
from r4_mcp.machine.contract import GET_FIELD
from r4_mcp.secret import SecretKind

from .stage import Stage, call


@dataclass(frozen=True)
class Sealed:
    """One value in its place."""

    place: Place
    value: str
    envelope: str


def fill(stage: Stage, vault: str) -> list[Sealed]:
    """Make two items of two fields; returns their ciphertexts."""
    made = []
    for item in ("First", "Second"):
        values = {f"Field {number}": f"{vault} {item} {number} old" for number in (1, 2)}
        created = stage.world.add_item(vault, item, *((name, FieldType.SECRET, value) for name, value in values.items()))
        with stage.world.store.read() as db:
            found = sealed_instances(db, stage.world.seeded.vaults[vault])
        own = [one for one in found if one.place.item_id == created.item_id]
        made += [Sealed(one.place, value, one.envelope) for one, value in zip(own, values.values(), strict=True)]
    return made


def seal_next(stage: Stage, old: Sealed) -> Sealed:
    """Seal the next version of a value, without storing it."""
    place = replace(old.place, instance_id=FieldInstanceId(new_id()))
    value = old.value.replace("old", "new")
    with stage.world.store.read() as db:
        dek = stage.liar.custodian.open_dek(db, prove_vault(db, place.vault_id))
    return Sealed(place, value, seal(dek.key, place, stage.world.known.text(value, SecretKind.FIELD), new_iv()))


def store(stage: Stage, sealed: list[Sealed]) -> None:
    """Make these the current versions, signed."""
    with stage.world.store.write() as db:
        for one in sealed:
            place = one.place
            db.execute(
                "INSERT INTO field_instances (id, field_id, position, envelope) VALUES (?, ?, 1, ?)",
                (place.instance_id, place.field_id, one.envelope),
            )
            item = find_item(db, place.vault_id, place.item_id)
            assert item is not None
            signed = read_detail(item.detail, "stored detail").checkpoint
            lines = tuple(
                replace(line, instance_ids=(*line.instance_ids, place.instance_id)) if line.id == place.field_id else line
                for line in signed.fields
            )
            replace_detail(db, stage.liar.custodian.sign_detail(replace(signed, version=signed.version + 1, fields=lines)))
    next_summaries(stage.liar)


async def open_everywhere(stage: Stage, places: list[Sealed], ciphertexts: list[Sealed]) -> tuple[int, int]:
    """Serve every ciphertext in every place; returns how many opened and how many did not."""
    opened = refused = 0
    async with stage.process() as service:
        for target in places:
            for source in ciphertexts:

                def edit(_: Asked, body: dict[str, Json], envelope: str = source.envelope) -> None:
                    body["value"] = envelope

                stage.liar.tell(edit_of(edit, GET_FIELD))
                place = target.place
                reference = f"r4://{place.vault_id}/{place.item_id}/{place.field_id}"
                outcome = await call(service, "read_secret", {"reference": reference})
                if source is target:
                    assert outcome.payload["value"] == target.value, outcome.text
                    opened += 1
                else:
                    assert outcome.payload["code"] == "envelope_invalid", outcome.text
                    refused += 1
        stage.liar.tell(None)
    return opened, refused


async def test_only_the_identical_place_opens(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """All ordered pairs of 2 vaults, 2 items, 2 fields, 2 versions."""
    old = [*fill(stage, "Engineering"), *fill(stage, "Production")]
    new = [seal_next(stage, one) for one in old]
    before = await open_everywhere(stage, old, [*old, *new])
    store(stage, new)
    after = await open_everywhere(stage, new, [*old, *new])
    with capsys.disabled():
        sys.stdout.write(f"ciphertexts in places: {before[0] + after[0]} opened, {before[1] + after[1]} refused\n")
    assert (before, after) == ((8, 120), (8, 120))


def test_the_ids_of_a_place_are_four() -> None:
    """The pairs above differ in each id of a place at least once; there is no fifth."""
    place = Place(VaultId("a"), ItemId("b"), FieldId("c"), FieldInstanceId("d"))
    moved = (
        replace(place, vault_id=VaultId("x")),
        replace(place, item_id=ItemId("x")),
        replace(place, field_id=FieldId("x")),
        replace(place, instance_id=FieldInstanceId("x")),
    )
    assert len(fields(Place)) == len(moved)
    assert len({other.aad() for other in (place, *moved)}) == 5
