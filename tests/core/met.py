"""A vault that is already known, to lie about."""

from __future__ import annotations

from dataclasses import dataclass

from r4_mcp.core.checkpoint import ProvenSummary, advance_item, advance_summary
from r4_mcp.core.directory import Directory
from r4_mcp.core.served import ServedItem, ServedItems, ServedSingleField
from r4_mcp.core.trust import VaultTrust
from r4_mcp.core.wire import FieldId

from .builders import (
    ITEM,
    SECRET_FIELD,
    Parties,
    detail,
    first_met,
    identifier,
    listing,
    served_field,
    served_item,
    signed_detail,
    signed_summary,
    step,
    summary,
)

VERSION = 5
NEW_ID = identifier("never heard of")


@dataclass(frozen=True)
class Met:
    """A vault that is known: summary 5 and the detail 5 of its first item were proven, both signed by a person."""

    all: Parties
    state: VaultTrust
    directory: Directory
    summary: ProvenSummary

    def listing(self) -> ServedItems:
        """Return the honest listing of the known version."""
        return listing(signed_summary(self.all.human, summary(VERSION)))

    def item(self) -> ServedItem:
        """Return the honest item of the known version."""
        return served_item(signed_detail(self.all.human, detail(VERSION)))

    def field(self, field_id: FieldId = SECRET_FIELD) -> ServedSingleField:
        """Return an honest field of the known version."""
        return served_field(signed_detail(self.all.human, detail(VERSION)), field_id)


def meet(parties: Parties) -> Met:
    """Meet a vault and read its first item."""
    state, directory = step(VaultTrust(), first_met(parties))
    state, proven = advance_summary(state, listing(signed_summary(parties.human, summary(VERSION))), directory)
    honest = served_item(signed_detail(parties.human, detail(VERSION)))
    state, _, _ = advance_item(state, honest, ITEM, proven, directory)
    return Met(parties, state, directory, proven)
