"""Items and fields: validly signed lies about an item's make-up, each refused by the rule that it breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from r4_mcp.core.checkpoint import advance_field, advance_item, advance_summary
from r4_mcp.core.envelope import Place
from r4_mcp.core.served import ServedField, ServedItem, ServedSingleField
from r4_mcp.core.signing import Context
from r4_mcp.core.wire import (
    FieldId,
    FieldInstanceId,
    FieldType,
    ItemType,
    SignedField,
)
from r4_mcp.errors import (
    CheckpointMissingError,
    DisagreementError,
    EquivocationError,
    R4Error,
    RollbackError,
    SignatureError,
    SignerError,
)

from .builders import (
    EMPTY_FIELD,
    FIELDS,
    ITEM,
    ITEMS,
    OTHER_ITEM,
    OTHER_VAULT,
    SECRET_FIELD,
    USERNAME,
    VAULT,
    detail,
    frozen_copy,
    listing,
    served_item,
    signed_detail,
    signed_summary,
    summary,
)
from .met import NEW_ID, VERSION, Met


def changed_fields(index: int, **changes: object) -> Callable[[Met], ServedItem]:
    """Serve the honest item with one field's line changed."""

    def lie(met: Met) -> ServedItem:
        item = met.item()
        line = replace(item.fields[index].line, **changes)  # type: ignore[arg-type]  # the table below names real members
        fields = (*item.fields[:index], replace(item.fields[index], line=line), *item.fields[index + 1 :])
        return replace(item, fields=fields)

    return lie


def contradicting(**changes: object) -> Callable[[Met], ServedItem]:
    """Sign a newer detail that contradicts the summary, and serve exactly that."""

    def lie(met: Met) -> ServedItem:
        item = replace(ITEMS[0], **changes)  # type: ignore[arg-type]  # the table below names real members
        return served_item(signed_detail(met.all.human, detail(VERSION + 1, item)))

    return lie


SERVED = r"served other than it was signed \(checkpoint rule 5\)"
DETAILS: dict[str, tuple[Callable[[Met], ServedItem], type[R4Error], str]] = {
    "rule 1: signed for another item": (
        lambda met: replace(met.item(), detail=signed_detail(met.all.human, detail(VERSION, ITEMS[1]))),
        DisagreementError,
        "checkpoint rule 1",
    ),
    "rule 1: signed for another vault": (
        lambda met: replace(met.item(), detail=signed_detail(met.all.human, replace(detail(VERSION), vault_id=OTHER_VAULT))),
        DisagreementError,
        "checkpoint rule 1",
    ),
    "rule 2: the signer is unknown": (
        lambda met: served_item(signed_detail(met.all.stranger, detail(VERSION + 1))),
        SignerError,
        "is not in the signer directory",
    ),
    "rule 3: signed as a summary": (
        lambda met: served_item(signed_detail(met.all.human, detail(VERSION + 1), Context.SUMMARY)),
        SignatureError,
        "detail-checkpoint.v1 does not verify",
    ),
    "rule 3: signed by another known key": (
        lambda met: served_item(replace(signed_detail(met.all.agent, detail(VERSION + 1)), signer=met.all.human.ref)),
        SignatureError,
        "detail-checkpoint.v1 does not verify",
    ),
    "rule 3: changed after signing": (
        lambda met: served_item(replace(signed_detail(met.all.human, detail(VERSION)), checkpoint=detail(VERSION + 1))),
        SignatureError,
        "detail-checkpoint.v1 does not verify",
    ),
    "rule 4: an older version": (
        lambda met: served_item(signed_detail(met.all.human, detail(VERSION - 1))),
        RollbackError,
        r"went back from version 5 to 4 \(checkpoint rule 4\)",
    ),
    "rule 4: the same version with other content": (
        lambda met: served_item(signed_detail(met.all.agent, detail(VERSION, fields=FIELDS[:2]))),
        EquivocationError,
        r"two contents of version 5 \(checkpoint rule 4\)",
    ),
    "rule 5: the item renamed": (
        lambda met: replace(met.item(), line=replace(ITEMS[0], name="Other")),
        DisagreementError,
        SERVED,
    ),
    "rule 5: the item retyped": (
        lambda met: replace(met.item(), line=replace(ITEMS[0], type=ItemType.LOGIN)),
        DisagreementError,
        SERVED,
    ),
    "rule 5: other websites": (
        lambda met: replace(met.item(), line=replace(ITEMS[0], websites=())),
        DisagreementError,
        SERVED,
    ),
    "rule 5: another group": (
        lambda met: replace(met.item(), line=replace(ITEMS[0], group_id="group")),
        DisagreementError,
        SERVED,
    ),
    "rule 5: another item id": (
        lambda met: replace(met.item(), line=replace(ITEMS[0], id=OTHER_ITEM)),
        DisagreementError,
        SERVED,
    ),
    "rule 5: another vault": (lambda met: replace(met.item(), vault_id=OTHER_VAULT), DisagreementError, SERVED),
    "rule 5: a field hidden": (
        lambda met: replace(met.item(), fields=met.item().fields[1:]),
        DisagreementError,
        r"are not the signed ones \(checkpoint rule 5\)",
    ),
    "rule 5: a field added that was not signed": (
        lambda met: replace(met.item(), fields=(*met.item().fields, ServedField(replace(FIELDS[0], id=FieldId(NEW_ID)), None))),
        DisagreementError,
        r"are not the signed ones \(checkpoint rule 5\)",
    ),
    "rule 5: a field twice": (
        lambda met: replace(met.item(), fields=(*met.item().fields, met.item().fields[0])),
        DisagreementError,
        r"are not the signed ones \(checkpoint rule 5\)",
    ),
    "rule 5: a field renamed": (changed_fields(1, name="Username"), DisagreementError, SERVED),
    "rule 5: a secret field retyped to a plain one": (changed_fields(1, type=FieldType.URL), DisagreementError, SERVED),
    "rule 5: a field in another order": (changed_fields(1, order=9), DisagreementError, SERVED),
    "rule 5: the instances exchanged": (
        changed_fields(1, instance_ids=FIELDS[1].instance_ids[::-1]),
        DisagreementError,
        SERVED,
    ),
    "rule 5: the newest instance left out": (
        changed_fields(1, instance_ids=FIELDS[1].instance_ids[:1]),
        DisagreementError,
        SERVED,
    ),
    "rule 5: another attachment": (changed_fields(2, asset_ids=("other",)), DisagreementError, SERVED),
    "rule 6: renamed in the detail alone": (
        contradicting(name="GitHub Staging"),
        DisagreementError,
        r"contradict each other \(checkpoint rule 6\)",
    ),
    "rule 6: retyped in the detail alone": (
        contradicting(type=ItemType.LOGIN),
        DisagreementError,
        r"contradict each other \(checkpoint rule 6\)",
    ),
    "rule 6: other websites in the detail alone": (
        contradicting(websites=("https://evil.example",)),
        DisagreementError,
        r"contradict each other \(checkpoint rule 6\)",
    ),
    "rule 6: another group in the detail alone": (
        contradicting(group_id="group"),
        DisagreementError,
        r"contradict each other \(checkpoint rule 6\)",
    ),
    "rule 7: no checkpoint": (lambda met: replace(met.item(), detail=None), CheckpointMissingError, "checkpoint rule 7"),
}


@pytest.mark.parametrize(("lie", "error", "reason"), DETAILS.values(), ids=DETAILS.keys())
def test_an_item_that_is_not_proven_is_refused(
    met: Met, lie: Callable[[Met], ServedItem], error: type[R4Error], reason: str
) -> None:
    """Each lie is refused with its own class and rule, and nothing is remembered of it."""
    before = frozen_copy(met.state)
    with pytest.raises(error, match=reason) as refused:
        advance_item(met.state, lie(met), ITEM, met.summary, met.directory)
    assert type(refused.value) is error
    assert met.state == before


def retold(met: Met, line: SignedField) -> ServedSingleField:
    """Serve the honest secret field with another line."""
    return replace(met.field(), field=ServedField(line, "an envelope"))


SINGLE_FIELDS: dict[str, tuple[Callable[[Met], ServedSingleField], str]] = {
    "rule 1: another field of the same item": (lambda met: met.field(USERNAME), "checkpoint rule 1"),
    "rule 1: served for another vault": (lambda met: replace(met.field(), vault_id=OTHER_VAULT), "checkpoint rule 1"),
    "rule 1: served under another item's name": (
        lambda met: replace(met.field(), item_name="Database"),
        "checkpoint rule 1",
    ),
    "rule 1: served with another item's id": (lambda met: replace(met.field(), item_id=OTHER_ITEM), "checkpoint rule 1"),
    "rule 5: not among the signed fields": (
        lambda met: replace(met.field(), detail=signed_detail(met.all.human, detail(VERSION + 1, fields=FIELDS[:1]))),
        r"not among the signed fields of its item \(checkpoint rule 5\)",
    ),
    "rule 5: an older instance": (
        lambda met: replace(met.field(), instance_id=FIELDS[1].instance_ids[0]),
        r"not served in its current instance \(checkpoint rule 5\)",
    ),
    "rule 5: another field's instance": (
        lambda met: replace(met.field(), instance_id=FIELDS[0].instance_ids[0]),
        r"not served in its current instance \(checkpoint rule 5\)",
    ),
    "rule 5: no instance": (
        lambda met: replace(met.field(), instance_id=None),
        r"not served in its current instance \(checkpoint rule 5\)",
    ),
    "rule 5: an instance of a field that has none": (
        lambda met: replace(met.field(EMPTY_FIELD), instance_id=FieldInstanceId(NEW_ID)),
        "checkpoint rule",
    ),
    "rule 5: renamed": (lambda met: retold(met, replace(FIELDS[1], name="Username")), SERVED),
    "rule 5: retyped": (lambda met: retold(met, replace(FIELDS[1], type=FieldType.TEXT)), SERVED),
    "rule 5: instances exchanged": (
        lambda met: retold(met, replace(FIELDS[1], instance_ids=FIELDS[1].instance_ids[::-1])),
        SERVED,
    ),
}


@pytest.mark.parametrize(("lie", "reason"), SINGLE_FIELDS.values(), ids=SINGLE_FIELDS.keys())
def test_a_field_that_is_not_proven_is_refused(met: Met, lie: Callable[[Met], ServedSingleField], reason: str) -> None:
    """A field served alone is held to the same rules as one served with its item."""
    before = frozen_copy(met.state)
    served = lie(met)
    asked = EMPTY_FIELD if served.field.line.id == EMPTY_FIELD else SECRET_FIELD
    with pytest.raises(DisagreementError, match=reason):
        advance_field(met.state, served, asked, met.summary, met.directory)
    assert met.state == before


def test_a_field_without_checkpoint_is_refused(met: Met) -> None:
    """Rule 7 holds for a field served alone too."""
    with pytest.raises(CheckpointMissingError, match="checkpoint rule 7"):
        advance_field(met.state, replace(met.field(), detail=None), SECRET_FIELD, met.summary, met.directory)


def test_an_item_that_the_summary_does_not_list_is_refused(met: Met) -> None:
    """A validly signed detail of an item that was archived, or never was in the vault, proves nothing."""
    state, proven = advance_summary(
        met.state, listing(signed_summary(met.all.human, summary(VERSION + 1, items=ITEMS[1:]))), met.directory
    )
    assert ITEM not in proven.lines
    with pytest.raises(DisagreementError, match=r"contradict each other \(checkpoint rule 6\)"):
        advance_item(state, met.item(), ITEM, proven, met.directory)


def test_a_proof_of_another_vault_does_not_serve(met: Met) -> None:
    """The summary given as proof is this vault's own."""
    elsewhere = replace(met.summary, checkpoint=replace(met.summary.checkpoint, vault_id=OTHER_VAULT))
    with pytest.raises(DisagreementError, match="checkpoint rule 1"):
        advance_item(met.state, met.item(), ITEM, elsewhere, met.directory)


def test_what_was_proven_is_what_was_signed(met: Met) -> None:
    """The proofs carry the signed lines, the envelopes, and the places where ciphertexts belong."""
    state, proven = advance_summary(met.state, met.listing(), met.directory)
    assert (state, proven.checkpoint, proven.lines[OTHER_ITEM]) == (met.state, summary(VERSION), ITEMS[1])
    assert (proven.signer.id, dict(proven.field_counts)) == (met.all.human.id, {ITEM: 3, OTHER_ITEM: 3})
    state, item, fields = advance_item(state, met.item(), ITEM, proven, met.directory)
    # Only the floor moved: the detail was seen again while the summary stood where it stands.
    assert replace(state, details=met.state.details) == met.state
    assert state.details[ITEM] == replace(met.state.details[ITEM], summary_floor=VERSION)
    settled = state
    assert [field.line for field in fields] == list(FIELDS)
    assert [field.envelope for field in fields] == ["an envelope", "an envelope", None]
    assert item.place(FIELDS[1]) == Place(VAULT, ITEM, SECRET_FIELD, FIELDS[1].instance_ids[-1])
    assert item.place(FIELDS[2]) is None
    for field_id, line in ((SECRET_FIELD, FIELDS[1]), (EMPTY_FIELD, FIELDS[2])):
        state, field = advance_field(state, met.field(field_id), field_id, proven, met.directory)
        assert (state, field.line, field.item) == (settled, line, item)


def test_the_order_of_served_lines_means_nothing(met: Met) -> None:
    """Items and fields may come in any order; what counts is the signed one."""
    backwards = replace(met.listing(), items=ITEMS[::-1])
    _, proven = advance_summary(met.state, backwards, met.directory)
    assert proven.checkpoint.items == ITEMS
    item = replace(met.item(), fields=met.item().fields[::-1])
    _, _, fields = advance_item(met.state, item, ITEM, proven, met.directory)
    assert [field.line for field in fields] == list(FIELDS)
