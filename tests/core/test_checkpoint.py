"""Item listings: validly signed lies about a vault's contents, each refused by the rule that it breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from r4_mcp.core.checkpoint import advance_summary
from r4_mcp.core.served import ServedItems
from r4_mcp.core.signing import Context
from r4_mcp.core.wire import (
    Classification,
    ItemId,
    ItemType,
    SignedItem,
    SignerRef,
    SignerType,
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
    ITEMS,
    OTHER_VAULT,
    frozen_copy,
    listing,
    signed_summary,
    summary,
)
from .met import NEW_ID, VERSION, Met


def changed_item(**changes: object) -> tuple[SignedItem, ...]:
    """Return the vault's lines with the first one changed."""
    return (replace(ITEMS[0], **changes), *ITEMS[1:])  # type: ignore[arg-type]  # the table below names real members


LISTINGS: dict[str, tuple[Callable[[Met], ServedItems], type[R4Error], str]] = {
    "rule 1: served for another vault": (
        lambda met: replace(met.listing(), vault_id=OTHER_VAULT),
        DisagreementError,
        "checkpoint rule 1",
    ),
    "rule 1: signed for another vault": (
        lambda met: replace(
            met.listing(), summary=signed_summary(met.all.human, replace(summary(VERSION), vault_id=OTHER_VAULT))
        ),
        DisagreementError,
        "checkpoint rule 1",
    ),
    "rule 2: the signer is unknown": (
        lambda met: listing(signed_summary(met.all.stranger, summary(VERSION + 1))),
        SignerError,
        "is not in the signer directory",
    ),
    "rule 2: an agent's signature named as a person's": (
        lambda met: listing(
            replace(signed_summary(met.all.agent, summary(VERSION + 1)), signer=SignerRef(SignerType.USER, met.all.agent.id))
        ),
        SignerError,
        "is not in the signer directory",
    ),
    "rule 3: signed as a detail": (
        lambda met: listing(signed_summary(met.all.human, summary(VERSION + 1), Context.DETAIL)),
        SignatureError,
        "summary-checkpoint.v1 does not verify",
    ),
    "rule 3: signed by another known key": (
        lambda met: listing(replace(signed_summary(met.all.agent, summary(VERSION + 1)), signer=met.all.human.ref)),
        SignatureError,
        "summary-checkpoint.v1 does not verify",
    ),
    "rule 3: the version raised after signing": (
        lambda met: listing(replace(signed_summary(met.all.human, summary(VERSION)), checkpoint=summary(VERSION + 1))),
        SignatureError,
        "summary-checkpoint.v1 does not verify",
    ),
    "rule 3: no signature": (
        lambda met: listing(replace(signed_summary(met.all.human, summary(VERSION)), signature="")),
        SignatureError,
        "summary-checkpoint.v1 does not verify",
    ),
    "rule 4: an older version": (
        lambda met: listing(signed_summary(met.all.human, summary(VERSION - 1))),
        RollbackError,
        r"went back from version 5 to 4 \(checkpoint rule 4\)",
    ),
    "rule 4: the same version with other content": (
        lambda met: listing(signed_summary(met.all.agent, replace(summary(VERSION), name="Staging"))),
        EquivocationError,
        r"two contents of version 5 \(checkpoint rule 4\)",
    ),
    "rule 5: an item hidden": (
        lambda met: replace(met.listing(), items=ITEMS[1:]),
        DisagreementError,
        r"are not the signed ones \(checkpoint rule 5\)",
    ),
    "rule 5: an item added": (
        lambda met: replace(met.listing(), items=(*ITEMS, replace(ITEMS[0], id=ItemId(NEW_ID)))),
        DisagreementError,
        r"are not the signed ones \(checkpoint rule 5\)",
    ),
    "rule 5: an item exchanged": (
        lambda met: replace(met.listing(), items=changed_item(id=ItemId(NEW_ID))),
        DisagreementError,
        r"are not the signed ones \(checkpoint rule 5\)",
    ),
    "rule 5: an item twice": (
        lambda met: replace(met.listing(), items=(*ITEMS, replace(ITEMS[0], name="Another"))),
        DisagreementError,
        r"are not the signed ones \(checkpoint rule 5\)",
    ),
    "rule 5: an item renamed": (
        lambda met: replace(met.listing(), items=changed_item(name="GitHub Staging")),
        DisagreementError,
        r"served other than it was signed \(checkpoint rule 5\)",
    ),
    "rule 5: an item retyped": (
        lambda met: replace(met.listing(), items=changed_item(type=ItemType.SECURE_NOTE)),
        DisagreementError,
        r"served other than it was signed \(checkpoint rule 5\)",
    ),
    "rule 5: other websites": (
        lambda met: replace(met.listing(), items=changed_item(websites=("https://evil.example",))),
        DisagreementError,
        r"served other than it was signed \(checkpoint rule 5\)",
    ),
    "rule 5: another group": (
        lambda met: replace(met.listing(), items=changed_item(group_id="group")),
        DisagreementError,
        r"served other than it was signed \(checkpoint rule 5\)",
    ),
    "rule 5: another vault name": (
        lambda met: replace(met.listing(), vault_name="Staging"),
        DisagreementError,
        r"differ from the signed ones \(checkpoint rule 5\)",
    ),
    "rule 5: another classification": (
        lambda met: replace(met.listing(), classification=Classification.PUBLIC),
        DisagreementError,
        r"differ from the signed ones \(checkpoint rule 5\)",
    ),
    "rule 5: no classification": (
        lambda met: replace(met.listing(), classification=None),
        DisagreementError,
        r"differ from the signed ones \(checkpoint rule 5\)",
    ),
    "rule 5: another key version": (
        lambda met: replace(met.listing(), dek_version=2),
        DisagreementError,
        r"differ from the signed ones \(checkpoint rule 5\)",
    ),
    "rule 7: no checkpoint": (
        lambda met: replace(met.listing(), summary=None),
        CheckpointMissingError,
        "checkpoint rule 7",
    ),
}


@pytest.mark.parametrize(("lie", "error", "reason"), LISTINGS.values(), ids=LISTINGS.keys())
def test_a_listing_that_is_not_proven_is_refused(
    met: Met, lie: Callable[[Met], ServedItems], error: type[R4Error], reason: str
) -> None:
    """Each lie is refused with its own class and rule, and nothing is remembered of it."""
    before = frozen_copy(met.state)
    with pytest.raises(error, match=reason) as refused:
        advance_summary(met.state, lie(met), met.directory)
    assert type(refused.value) is error
    assert met.state == before
