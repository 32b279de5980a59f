"""What the operator's policy says of using secrets without showing them: sinks, and what is open for which item.

What this file does not do: decide whether a use may happen (``rules`` does), or compare addresses (``sinks.destination`` does).

Rules:
1. An opening is for one item: its website is a destination for the item's values, beside those that a person signed or bound.
2. A body or query of an allowed host can be a public place. So a value stands there only where an opening names that place.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from r4_mcp.core.wire import ItemId, VaultId

Network = IPv4Network | IPv6Network


class Sink(StrEnum):
    """A way to use a secret without showing it."""

    HTTP_REQUEST = "http_request"
    RUN = "run"
    """``r4-mcp run``: a person's program."""
    RUN_COMMAND = "run_command"
    """A program that the operator listed, started by the model."""
    WRITE_SECRET_FILE = "write_secret_file"  # noqa: S105 - a way of use
    """A file below a folder that the operator listed."""


class OpenPlace(StrEnum):
    """A place of a request where a value stands only if an opening names it (rule 2)."""

    QUERY = "query"
    FORM = "form"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Opening:
    """A website that the operator opens for one item.

    Attributes:
        vault_id: The item's vault.
        item_id: The item.
        website: As an item's website: a host, a path prefix where it has one, subdomains where it says ``*.``.
        places: Where values may stand there, beside headers and credentials.
        name: What people call the item; it decides nothing.
    """

    vault_id: VaultId
    item_id: ItemId
    website: str
    places: frozenset[OpenPlace] = frozenset()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Openings:
    """All that the policy opens for requests.

    Attributes:
        items: Websites by item.
        networks: Networks that are not public, which may be dialled.
        loopback_http: Whether http is right for loopback.
    """

    items: tuple[Opening, ...] = ()
    networks: tuple[Network, ...] = ()
    loopback_http: bool = False

    def websites(self, vault_id: VaultId, item_id: ItemId, place: OpenPlace | None = None) -> tuple[str, ...]:
        """Return the websites that are open for an item, for a place of the request where one is named."""
        return tuple(
            opening.website
            for opening in self.items
            if (opening.vault_id, opening.item_id) == (vault_id, item_id) and (place is None or place in opening.places)
        )


NO_OPENINGS: Final = Openings()
