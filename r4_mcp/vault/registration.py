"""Registration of the runtime's public key: on first need, idempotent, never a replacement (contract §5).

What this file does not do: decide about a rotation; it only carries one's request.

Rules:
1. ``GET /me`` comes first. Another active fingerprint than ours is a refusal; no active key means that ours is registered.
2. The answer is remembered with the fingerprint that it was for, on disk too: a process may live for one call. It chooses no key
   and proves nothing; what is signed or opened is proven as ever. Where the service disagrees later, ``recheck`` asks again.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import anyio

from r4_mcp.core.encoding import Json, canonical, parse_json
from r4_mcp.core.keys import PublicKey
from r4_mcp.core.record import exact
from r4_mcp.core.served import Me, read_me, read_registration
from r4_mcp.core.wire import KeyId
from r4_mcp.errors import AbsentError, ConfigurationError, DisagreementError, KeyMismatchError, MalformedError
from r4_mcp.machine.client import MachineClient
from r4_mcp.vault.locked_file import LockedFile
from r4_mcp.vault.runtime_key import RuntimeKey

_MAX_MEMORY: Final = 4096
_SCHEMA: Final = 2
_KEYS: Final = frozenset({"schema", "fingerprint", "encryptionKeyId", "keyFile"})

_log: Final = logging.getLogger(__name__)


class Registration:
    """The registered identity of this runtime.

    Args:
        machine: The service.
        key: The runtime's key.
        hostname: Sent for the operator's eyes when a key is registered.
        memory: The file that remembers (rule 2).
    """

    def __init__(self, machine: MachineClient, key: RuntimeKey, hostname: str, memory: Path) -> None:
        self._machine = machine
        self._key = key
        self._hostname = hostname
        self._memory = LockedFile(memory, _MAX_MEMORY)
        self._known: tuple[str, KeyId] | None = None
        self._stamp: tuple[int, ...] | None = None
        self._lock = anyio.Lock(fast_acquire=True)

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

    async def ensure(self, *, fresh: bool = False) -> KeyId:
        """Return the id of our registered key; registers it if the agent has none yet.

        Args:
            fresh: Ask the service, whatever is remembered.

        Raises:
            KeyMismatchError: Another key is active for this agent.
            ConfigurationError: No usable private key.
            NetworkError: No answer.
            ServiceError: Refused.
        """
        async with self._lock:
            if self._known is None:
                self._known = self._recall()
            if fresh or self._known is None or self._known[0] != self._key.fingerprint:
                mine = self._key.public
                self._known = (mine.fingerprint, await self._establish(mine))
                self.remember(self._known[1])
            elif self._key.stamp() not in {None, self._stamp}:
                self.remember(self._known[1])  # The same key in a file of another stamp: the next process need not load it.
            return self._known[1]

    async def recheck(self) -> None:
        """Ask the service again after it refused our key somewhere.

        Raises:
            KeyMismatchError: Another key is active for this agent.
            NetworkError: No answer.
            ServiceError: Refused.
        """
        await self.ensure(fresh=True)

    def remember(self, key_id: KeyId) -> None:
        """Note that our key is the registered one (rule 2)."""
        stamp = self._stamp = self._key.stamp()
        form: Json = {
            "schema": _SCHEMA,
            "fingerprint": self._key.public.fingerprint,
            "encryptionKeyId": key_id,
            "keyFile": None if stamp is None else [str(number) for number in stamp],
        }
        self._known = (self._key.public.fingerprint, key_id)
        try:
            with self._memory.locked():
                self._memory.replace(canonical(form) + b"\n")
        except ConfigurationError as error:
            # It saves a request, no more: a home that can't be written must not keep a vault from being read.
            _log.info("the registration is not remembered: %s", error.code)

    async def submit(self, body: dict[str, Json]) -> tuple[KeyId, str]:
        """Send a key, with whatever a rotation adds; returns the id and fingerprint that are answered.

        Raises:
            NetworkError: No answer; it may have been registered.
            ServiceError: Refused.
            MalformedError: The answer is not of the contract's form.
        """
        answer = await self._machine.register_key(body, self._hostname)
        return read_registration(parse_json(answer, what="key registration"))

    def _recall(self) -> tuple[str, KeyId] | None:
        try:
            raw = self._memory.read()
            if raw is None:
                return None
            record = exact(parse_json(raw, what="registration"), "registration", _KEYS)
            if record.integer("schema") != _SCHEMA:
                return None  # Another version's: the service is asked.
            fingerprint = record.hex_digest("fingerprint")
            if record.has("keyFile"):
                self._stamp = tuple(int(number) for number in record.texts("keyFile"))
                self._key.hint(self._stamp, fingerprint)
            return fingerprint, KeyId(record.identifier("encryptionKeyId"))
        except (ConfigurationError, MalformedError) as error:
            _log.info("what was remembered of the registration is not used: %s", error.code)
            return None
        except ValueError:
            _log.info("what was remembered of the registration is not used: a stamp is no number")
            return None

    async def _establish(self, mine: PublicKey) -> KeyId:
        me = await self.me()
        if me.active_fingerprint is not None and me.active_key_id is not None:
            if me.active_fingerprint != mine.fingerprint:
                kept = self._key.kept(me.active_fingerprint)
                if kept is not None:
                    raise KeyMismatchError(
                        f"the service says that key {me.active_fingerprint[:12]}… is active, which a rotation put aside here",
                        next_step=f"Ask R4's operator what happened. To use that key, put {kept[0]} in the place of {kept[1]}.",
                    )
                raise KeyMismatchError(
                    f"this agent is registered with key {me.active_fingerprint[:12]}…, not with ours, {mine.fingerprint[:12]}…"
                )
            return me.active_key_id
        key_id, fingerprint = await self.submit({"publicKey": mine.pem})
        if fingerprint != mine.fingerprint:
            raise DisagreementError("the service registered another key than the one that was sent")
        return key_id
