"""Search: over everything that this agent may see, from what is verified.

What this file does not do: rank (``ranking`` does), or show anything that the service claims. The service's own search only hints
where to look.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import anyio

from r4_mcp.core.encoding import parse_json
from r4_mcp.core.sync import read_search
from r4_mcp.core.wire import ItemId, VaultId
from r4_mcp.errors import NetworkError, NotFoundError, ServiceError, VerificationError
from r4_mcp.machine.client import MachineClient
from r4_mcp.vault.concurrently import map_bounded
from r4_mcp.vault.index import Snapshot, VaultIndex
from r4_mcp.vault.ranking import Hit, SearchTexts, fold

_WIDTH: Final = 8
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, and in what.

    Attributes:
        hits: Best first; lazy.
        known: What was searched.
    """

    hits: Iterator[Hit]
    known: Snapshot


class VaultSearch:
    """Searches for one agent.

    Args:
        machine: The service, for hints.
        index: What is verified.
    """

    def __init__(self, machine: MachineClient, index: VaultIndex) -> None:
        self._machine = machine
        self._index = index
        self._texts: tuple[int, SearchTexts] | None = None

    async def find(self, query: str) -> Found:
        """Find names and websites; no request where what is known is fresh.

        Args:
            query: Any text; nothing in it is a pattern.

        Raises:
            R4Error: Refused, unreachable while nothing is known, not in the contract's form.
        """
        known = await self._index.snapshot()
        if not known.complete and await self._look_where_hinted(query):
            known = await self._index.snapshot()
        if self._texts is None or self._texts[0] != known.generation:
            self._texts = known.generation, await anyio.to_thread.run_sync(SearchTexts, known.vaults)
        return Found(self._texts[1].find(query), known)

    async def _look_where_hinted(self, query: str) -> bool:
        """Fetch and prove the items that the service's search names, where this agent may search; nothing else of it is used."""
        try:
            # The longest word: whoever fits the whole query has it, and the service may not know words that are spread.
            word = max(fold(query).split(), key=len, default="")
            results = read_search(parse_json(await self._machine.search(word), what="search")) if word else ()
        except (ServiceError, NetworkError, VerificationError) as error:
            _log.info("searching without the service's hints: %s", error.code)
            return False
        hinted = sorted({(result.vault_id, result.item_id) for result in results if result.item_id is not None})
        await map_bounded(self._look_at, hinted, _WIDTH)
        return bool(hinted)

    async def _look_at(self, place: tuple[VaultId, ItemId]) -> None:
        try:
            await self._index.item(*place)
        except (NotFoundError, ServiceError, NetworkError, VerificationError) as error:
            # A hint that leads nowhere is none; what is verified is searched all the same.
            _log.info("a hint of the service's search was of no use: %s", error.code)
