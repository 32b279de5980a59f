"""Approvals that were used: each nonce counts once, in whichever process.

What this file does not do: ask, or decide what needs an approval.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from r4_mcp.core.encoding import Json, canonical, parse_json
from r4_mcp.core.record import Record, exact, open_record
from r4_mcp.errors import FileAccessError, MalformedError
from r4_mcp.secret import KnownSecrets, Secret, SecretKind
from r4_mcp.vault.locked_file import LockedFile

APPROVAL_SECONDS: Final = 300
"""How long a person may take to answer, and how long their answer may be brought."""

_KEY_SIZE: Final = 32
_MAX_SIZE: Final = 1024 * 1024
_SCHEMA: Final = 1


class UsedApprovals:
    """The nonces of approvals that were acted upon.

    Args:
        path: The file that keeps them, shared by all processes of this agent.
        clock: Seconds since 1970.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._file = LockedFile(path, _MAX_SIZE)
        self._clock = clock

    def spend(self, nonce: str) -> bool:
        """Note that an approval is being acted upon; False if it was before.

        Raises:
            FileAccessError: It can't be noted, so it must not be acted upon.
            BusyError: Another process holds the lock.
        """
        now = int(self._clock())
        with self._file.locked():
            used = self._read()
            if nonce in used:
                return False
            # A nonce is kept for twice its life: its own seal has refused it long before that.
            kept: dict[str, Json] = {old: at for old, at in used.items() if abs(now - at) < 2 * APPROVAL_SECONDS}
            kept[nonce] = now
            self._file.replace(canonical({"schema": _SCHEMA, "used": kept}) + b"\n")
        return True

    def _read(self) -> dict[str, int]:
        raw = self._file.read()
        if raw is None:
            return {}
        try:
            return _nonces(raw)
        except MalformedError as error:
            raise FileAccessError(
                f"{self._file.path} is damaged: {error.message}", next_step="Move the file away; open questions are asked again."
            ) from None


def _nonces(raw: bytes) -> dict[str, int]:
    record = exact(parse_json(raw, what="approvals"), "approvals", frozenset({"schema", "used"}))
    if record.integer("schema") != _SCHEMA:
        raise MalformedError("approvals have another schema than this version writes")
    used = Record("approvals", open_record(record.members["used"], "approvals").members)
    return {nonce: used.integer(nonce) for nonce in used.members}


def derived_key(api_key: Secret[str], purpose: str, known: KnownSecrets) -> Secret[bytes]:
    """Derive a key for one purpose from the API key (RFC 5869), so that it is the same in every process of the agent.

    Args:
        api_key: The agent's API key.
        purpose: What the key is for; another purpose is another key.
        known: Where the key is made known.
    """
    # reveal: seen by HKDF only.
    derived = HKDF(SHA256(), _KEY_SIZE, salt=None, info=purpose.encode("ascii")).derive(api_key.reveal().encode("utf-8"))
    return known.octets(derived, SecretKind.API_KEY)
