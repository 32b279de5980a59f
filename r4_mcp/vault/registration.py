"""Registration of the runtime's public key: on first need, idempotent, never a replacement (contract §5).

What this file does not do: rotate.

Rules:
1. ``GET /me`` comes first. Another active fingerprint than ours is a refusal; no active key means that ours is registered.
2. Once per process: the answer is remembered.
"""

from __future__ import annotations

import anyio

from r4_mcp.core.encoding import parse_json
from r4_mcp.core.served import Me, read_me, read_registration
from r4_mcp.core.wire import KeyId
from r4_mcp.errors import AbsentError, ConfigurationError, DisagreementError, KeyMismatchError
from r4_mcp.machine.client import MachineClient
from r4_mcp.vault.runtime_key import RuntimeKey


class Registration:
    """The registered identity of this runtime.

    Args:
        machine: The service.
        key: The runtime's key.
        hostname: Sent for the operator's eyes when a key is registered.
    """

    def __init__(self, machine: MachineClient, key: RuntimeKey, hostname: str) -> None:
        self._machine = machine
        self._key = key
        self._hostname = hostname
        self._key_id: KeyId | None = None
        self._lock = anyio.Lock()

    async def me(self) -> Me:
        """Ask the service who this API key is. Changes nothing.

        Raises:
            NetworkError: No answer.
            ServiceError: The API key was not accepted.
            ConfigurationError: Nothing there answers as R4.
            MalformedError: The answer is not of the contract's form.
        """
        try:
            answer = await self._machine.me()
        except AbsentError:
            raise ConfigurationError(
                "the service at this address does not answer as R4's machine API", next_step="Check R4_BASE_URL."
            ) from None
        return read_me(parse_json(answer, what="me"))

    async def ensure(self) -> KeyId:
        """Return the id of our registered key; registers it if the agent has none yet.

        Raises:
            KeyMismatchError: Another key is active for this agent.
            ConfigurationError: No usable private key.
            NetworkError: No answer.
            ServiceError: Refused.
        """
        async with self._lock:
            if self._key_id is None:
                self._key_id = await self._establish()
            return self._key_id

    async def _establish(self) -> KeyId:
        mine = self._key.public
        me = await self.me()
        if me.active_fingerprint is not None and me.active_key_id is not None:
            if me.active_fingerprint != mine.fingerprint:
                raise KeyMismatchError(
                    f"this agent is registered with key {me.active_fingerprint[:12]}…, not with ours, {mine.fingerprint[:12]}…"
                )
            return me.active_key_id
        answer = await self._machine.register_key({"publicKey": mine.pem}, self._hostname)
        key_id, fingerprint = read_registration(parse_json(answer, what="key registration"))
        if fingerprint != mine.fingerprint:
            raise DisagreementError("the service registered another key than the one that was sent")
        return key_id
