"""Opaque, tamper-evident cursors for listings.

What this file does not do: keep anything. A cursor carries its listing and position, and a MAC under a key derived from the API
secret, so that it is valid in another process of the same agent and nowhere else.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from typing import Final

from r4_mcp.errors import InvalidArgumentError
from r4_mcp.policy.approvals import derived_key
from r4_mcp.secret import KnownSecrets, Secret

_MAC_SIZE: Final = 16
_MAX_CURSOR: Final = 512


class Cursors:
    """Writes and reads cursors of one agent.

    Args:
        api_key: The agent's API key; the MAC key is derived from it (RFC 5869).
        known: Where the derived key is made known.
    """

    def __init__(self, api_key: Secret[str], known: KnownSecrets) -> None:
        self._key = derived_key(api_key, "r4-mcp cursor v1", known)

    def write(self, listing: str, position: int) -> str:
        """Return the cursor of a listing that continues at ``position``."""
        body = json.dumps([listing, position], separators=(",", ":")).encode("utf-8")
        return _spell(self._mac(body) + body)

    def read(self, cursor: str, listing: str) -> int:
        """Return the position of a cursor of this listing.

        Raises:
            InvalidArgumentError: Changed, of another listing, or of another agent.
        """
        refusal = InvalidArgumentError("the argument cursor is not one that this listing gave out")
        if len(cursor) > _MAX_CURSOR or not cursor.isascii():
            raise refusal
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            raise refusal from None
        mac, body = raw[:_MAC_SIZE], raw[_MAC_SIZE:]
        if _spell(raw) != cursor or not hmac.compare_digest(mac, self._mac(body)):
            raise refusal
        # The MAC holds, so the body is our own JSON.
        given, position = json.loads(body)
        if given != listing or not isinstance(position, int):
            raise refusal
        return position

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key.reveal(), body, "sha256")[:_MAC_SIZE]


def _spell(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")
