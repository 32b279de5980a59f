"""Before each call: the current key, nothing half done, and a registration that holds.

What this file does not do: the work itself; ``rotation``, ``writer`` and ``registration`` do.

Rules:
1. A key file that was replaced since the last call is read again.
2. An unfinished rotation is tried before every call; interrupted creations once a process, after that by the next creation.
"""

from __future__ import annotations

import anyio

from r4_mcp.errors import BusyError, KeyMismatchError, NotConfiguredError, R4Error
from r4_mcp.vault.registration import Registration
from r4_mcp.vault.rotation import Rotated, Rotation
from r4_mcp.vault.runtime_key import RuntimeKey
from r4_mcp.vault.writer import VaultWriter


class Recovery:
    """Settles what an earlier process left.

    Args:
        key: The runtime's key.
        registration: The registered identity.
        rotation: Rotations of it.
        writer: Signed writes.
    """

    def __init__(self, key: RuntimeKey, registration: Registration, rotation: Rotation, writer: VaultWriter) -> None:
        self._key = key
        self._registration = registration
        self._rotation = rotation
        self._writer = writer
        self._writes_settled = False
        self._lock = anyio.Lock(fast_acquire=True)

    async def settle(self, *, writes: bool, needs_key: bool) -> Rotated | None:
        """Settle what can be settled.

        Args:
            writes: Whether this process may write.
            needs_key: Whether the call can't do without a private key.

        Raises:
            NotConfiguredError: No private key, and one is needed.
            OnboardingError: Our key is not the registered one.
            RotationUnresolvedError: Because a rotation was begun and can't be settled now.
            NetworkError: No answer.
            ServiceError: Refused.

        Returns:
            The rotation that this call finished, if it did.
        """
        async with self._lock:
            self._key.refresh()
            finished = await self._rotation.recover(submit=writes)
            try:
                await self._registration.ensure()
            except NotConfiguredError:
                # Listing needs no private key; everything else says what is missing.
                if needs_key:
                    raise
            except KeyMismatchError as error:
                raise self._cause(error) from None
            if writes and not self._writes_settled:
                await self._writer.recover()
                self._writes_settled = True
            return finished

    async def recheck(self) -> None:
        """Ask the service which key is active, after it refused ours.

        Raises:
            KeyMismatchError: Another one.
            BusyError: Because another process is rotating it right now, or has just done so.
            RotationUnresolvedError: Because a rotation was begun and can't be settled now.
        """
        if self._key.refresh():
            raise BusyError("this agent's key was rotated by another process during the call")
        try:
            await self._registration.ensure(fresh=True)
        except KeyMismatchError as error:
            raise self._cause(error) from None

    def _cause(self, error: KeyMismatchError) -> R4Error:
        if self._rotation.unresolved is not None:
            return self._rotation.unresolved
        if self._rotation.is_begun():
            return BusyError("another process is rotating this agent's key")
        return error
