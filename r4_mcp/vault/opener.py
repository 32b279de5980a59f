"""Opening: from a proven, sealed field to its value.

What this file does not do: decide whether a value may be shown. Whoever asks has decided.

Rules:
1. A vault's key is unwrapped once for each of its versions and kept in memory; values are not kept.
2. What doesn't open with a kept key, or by an earlier proof of the vault, is fetched whole again before that counts: keys may
   have been changed, and readers added. It must still be the same field of the same item, else whoever asked was told of
   another one.
"""

from __future__ import annotations

from functools import partial

from r4_mcp.core.envelope import open_envelope
from r4_mcp.core.wire import VaultId
from r4_mcp.core.wrapping import Dek
from r4_mcp.errors import DisagreementError, EnvelopeError, NotReadableError, SignerError, WrappedKeyNotMineError
from r4_mcp.secret import KnownSecrets, Secret
from r4_mcp.vault.proven import LocatedField, ProvenVault
from r4_mcp.vault.reader import VaultReader
from r4_mcp.vault.shared import SharedFetch


class VaultOpener:
    """Opens located fields for one agent.

    Args:
        reader: Proven reads.
        known: Where plaintexts are made known.
        keep: Whether unwrapped keys are kept; without, each value costs a request and an RSA decryption more.
    """

    def __init__(self, reader: VaultReader, known: KnownSecrets, *, keep: bool = True) -> None:
        self._reader = reader
        self._known = known
        self._keep = keep
        self._deks: dict[VaultId, Dek] = {}
        self._shared: SharedFetch[Dek] = SharedFetch()

    async def open_field(self, located: LocatedField) -> Secret[str]:
        """Decrypt one located field.

        Raises:
            NotReadableError: The field has no value (FILE fields are references to attachments).
            AwaitingGrantError: No key is wrapped for this agent.
            VerificationError: The key or the envelope is not proven.
        """
        kept = self._deks.get(located.vault.id)
        if kept is not None and kept.version != located.vault.summary.checkpoint.dek_version:
            kept = None
        try:
            return self._open(located, kept or await self._dek(located.vault))
        except DisagreementError:
            pass
        except (SignerError, WrappedKeyNotMineError):
            if not located.recalled:
                raise
        except EnvelopeError:
            if kept is None:
                raise
        # Rule 2.
        fresh = await self._reader.field(located.vault.id, located.field.line.id)
        if fresh.field.item.checkpoint != located.field.item.checkpoint:
            raise DisagreementError(f"field {located.field.line.id} changed while it was read")
        return self._open(fresh, await self._dek(fresh.vault))

    async def _dek(self, vault: ProvenVault) -> Dek:
        name = (vault.id, vault.summary.checkpoint.version)
        dek = await self._shared.get(name, partial(self._reader.dek, vault))
        if self._keep:
            self._deks[vault.id] = dek
        return dek

    def _open(self, located: LocatedField, dek: Dek) -> Secret[str]:
        field = located.field
        place = field.item.place(field.line)
        if place is None or field.envelope is None:
            raise NotReadableError(f"field {field.line.id} is of type {field.line.type.value} and has no value to read")
        return open_envelope(dek.key, place, field.envelope, self._known, armed=field.line.type.is_secret)
