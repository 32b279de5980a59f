"""Rotation of the runtime's key: a new key, every vault key wrapped again, one request, and a way back from any crash.

What this file does not do: ask a person, or know in which file the key lives; ``key_file`` does.

Rules (contract §5, threats *Crash safety*):
1. One rotation at a time, under a lock of its own. While an earlier write or rotation is unsettled, no new key is made.
2. The new key is on disk, read back and tested, then the journal says ``prepared``, then the request leaves.
3. The batch is whole: every vault of ``GET /vault``, whatever project is configured, proven first. One that does not verify stops
   everything. ``key_rotation_incomplete`` builds it again, at most three times.
4. Without an answer the service is asked which key is active. It is the new one: read back. It is the old one: send again.
5. Read back: each directory names the new key as ours, each vault key opens with it and is the one it was. Then the journal says
   ``committed``, the file is switched, the old key is kept, and the entry goes. One vault that reads back proves that the new key
   is active, so others that don't are named and keep nobody from the rest.
6. A staged key is thrown away only where no request with it ever left. One that was sent and refused is set aside: a refusal is
   the service's word, and the only copy of a key does not hang on it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

from r4_mcp.core.keys import PrivateKey
from r4_mcp.core.wire import KeyId, VaultId, WrappedKey
from r4_mcp.errors import (
    BusyError,
    ConfigurationError,
    NetworkError,
    NotConfiguredError,
    NotFoundError,
    R4Error,
    RequestRejectedError,
    RotationUnresolvedError,
    ServiceError,
)
from r4_mcp.vault.item_creation import is_final, new_id
from r4_mcp.vault.journal import EntryKind, Journal
from r4_mcp.vault.key_file import HeldKey, KeyFile, KeySource
from r4_mcp.vault.reader import VaultReader
from r4_mcp.vault.registration import Registration
from r4_mcp.vault.rotation_batch import Progress, read_back, request, wrap_again
from r4_mcp.vault.rotation_plan import Plan, State, read_plan
from r4_mcp.vault.runtime_key import RuntimeKey

TRIES: Final = 3
_WIDTH: Final = 8
_INCOMPLETE: Final = "key_rotation_incomplete"
_RUN_AGAIN: Final = "Run `r4-mcp rotate-key` when the service answers: it finishes this rotation first. Keep every key file."

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rotated:
    """A rotation that was read back and switched to.

    Attributes:
        key_id: Id of the key that is active now.
        fingerprint: Its fingerprint, 64 hex characters.
        previous_id: Id of the key that it replaced.
        vaults: How many vault keys were wrapped again.
        unread: Vaults of the batch that did not read back.
        left_out: Vaults that were opened here before, and were not in the batch.
        retired: The file that keeps the old key.
        resumed: Whether this finished a rotation that was begun earlier.
    """

    key_id: KeyId
    fingerprint: str
    previous_id: KeyId
    vaults: int
    unread: tuple[VaultId, ...]
    left_out: tuple[VaultId, ...]
    retired: Path
    resumed: bool


class Rotation:
    """Rotates the key of one agent.

    Args:
        reader_for: Gives proven reads with another key than the current one.
        registration: The registered identity; it talks to the service about keys.
        key: The runtime's key.
        source: Where it lives; None where none is configured, and an inline key can't be rotated.
        journal: What was about to be written.
    """

    def __init__(
        self,
        *,
        reader_for: Callable[[RuntimeKey], VaultReader],
        registration: Registration,
        key: RuntimeKey,
        source: KeySource | None,
        journal: Journal,
    ) -> None:
        self._reader_for = reader_for
        self._registration = registration
        self._key = key
        self._source = source
        self._journal = journal
        self.unresolved: R4Error | None = None

    async def rotate(self, progress: Progress) -> Rotated:
        """Rotate the key, or finish the rotation that was begun.

        Args:
            progress: Told of each step.

        Raises:
            BusyError: Another process rotates, other writes are unsettled, or the vaults changed under each of three tries.
            ConfigurationError: The key lives where it can't be replaced; nothing was changed.
            KeyMismatchError: Another key than ours is active.
            VerificationError: A vault is not proven; nothing was changed.
            RotationUnresolvedError: The outcome is not known, or did not read back; both keys are kept.
            ServiceError: Refused for good; the old key stays.
            NetworkError: No answer before anything was sent.
        """
        file, progress = self._file(), _growing(progress)
        with self._journal.rotation_lock():
            plan = self._unfinished()
            if plan is not None:
                return await self._resume(file, plan, progress)
            self._refuse_others()
            await anyio.to_thread.run_sync(file.require_replaceable)
            old = self._key.private
            previous_id = await self._registration.ensure(fresh=True)
            new = await anyio.to_thread.run_sync(file.generate)
            key_id = KeyId(new_id())
            await anyio.to_thread.run_sync(file.stage, new, key_id)
            plan = Plan(key_id, new.public.fingerprint, previous_id, old.public.fingerprint, State.STAGED, {})
            return await self._carry_out(file, plan, (old, new), progress)

    async def require_possible(self) -> None:
        """Find out, before anybody is asked, whether the key lives where it can be replaced.

        Raises:
            ConfigurationError: It does not; says what to do.
        """
        await anyio.to_thread.run_sync(self._file().require_replaceable)

    async def recover(self, *, submit: bool) -> Rotated | None:
        """Finish a rotation that an earlier process left, if there is one and nobody else is at it.

        Args:
            submit: Whether an unanswered request may be sent again.

        Returns:
            The finished rotation; None where there was nothing to do, or where it can't be finished now (then ``unresolved``
            says why).
        """
        self.unresolved = None
        try:
            if self._unfinished() is None:
                return None
            with self._journal.rotation_lock():
                plan = self._unfinished()  # Settled by its owner, perhaps, while we waited for nothing.
                if plan is None:
                    return None
                return await self._resume(self._file(), plan, _silent, submit=submit)
        except BusyError:
            return None
        except R4Error as error:
            _log.warning("a key rotation is not finished yet: %s", error.code)
            self.unresolved = error
            return None

    def is_begun(self) -> bool:
        """Say whether a rotation is unfinished, here or in another process."""
        return self._unfinished() is not None

    async def abandon(self) -> KeyId:
        """Give up a rotation that the service never accepted; for a person, when its new key is lost.

        Returns:
            The id of the key that stays active.

        Raises:
            NotFoundError: No rotation is unfinished.
            RotationUnresolvedError: The service has accepted the new key.
            NetworkError: No answer.
        """
        file = self._file()
        with self._journal.rotation_lock():
            plan = self._unfinished()
            if plan is None:
                raise NotFoundError("no key rotation is unfinished")
            me = await self._registration.me()
            if me.active_fingerprint == plan.fingerprint or plan.state is State.COMMITTED:
                raise RotationUnresolvedError("the service accepted the new key, so the rotation can't be abandoned")
            # Set aside first: an entry whose key is not where it belongs is refused, a key without an entry is only kept.
            file.set_aside(plan.key_id, plan.fingerprint)
            self._journal.settle(plan.entry())
            return plan.previous_id

    async def _carry_out(self, file: KeyFile, plan: Plan, keys: tuple[PrivateKey, PrivateKey], progress: Progress) -> Rotated:
        old, new = keys
        resumed = plan.state is not State.STAGED
        # After an unanswered request, a later refusal proves nothing about that one: it may still be on its way.
        ambiguous = resumed
        for _ in range(TRIES):
            plan, batch = await self._build(file, plan, keys, progress, ambiguous=ambiguous)
            body = await anyio.to_thread.run_sync(request, plan, old, new, batch)
            try:
                _require_same(await self._registration.submit(body), plan)
            except (NetworkError, ServiceError) as error:
                # Whatever the answer was: what counts is which key is active.
                if not await self._is_switched(plan):
                    if isinstance(error, RequestRejectedError) and error.service_code == _INCOMPLETE:
                        continue
                    ambiguous = ambiguous or not is_final(error)
                    if ambiguous:
                        continue
                    raise self._given_up(file, plan, error, ambiguous=False) from None
            return await self._settle(file, plan, old, new, progress, resumed=resumed)
        silent = BusyError(f"the vaults changed, or no answer came, in each of {TRIES} tries; the old key stays")
        raise self._given_up(file, plan, silent, ambiguous=ambiguous)

    async def _build(
        self, file: KeyFile, plan: Plan, keys: tuple[PrivateKey, PrivateKey], progress: Progress, *, ambiguous: bool
    ) -> tuple[Plan, list[WrappedKey]]:
        old, new = keys
        unsent = plan.state is State.STAGED
        try:
            batch, pins = await wrap_again(self._reader_for(RuntimeKey(HeldKey(old))), plan.key_id, new, progress)
            prepared = plan.prepared(pins)
            # From here on the key counts as sent (rule 6), whatever interrupts us.
            unsent = False
            await anyio.to_thread.run_sync(self._journal.prepare, prepared.entry())
            if plan.state is State.STAGED:
                self._refuse_others()
        except R4Error as error:
            if plan.state is not State.STAGED:
                raise self._given_up(file, plan, error, ambiguous=ambiguous) from None
            self._journal.settle(plan.entry())
            unsent = True
            raise
        finally:
            if unsent:
                file.drop_staged(plan.key_id)
        return prepared, batch

    def _refuse_others(self) -> None:
        if any(entry.kind is not EntryKind.ROTATE_KEY for entry in self._journal.prepared()):
            raise BusyError(
                "something is being created, or was begun and is not settled yet, and a key is not rotated over that",
                next_step="Call any tool while the service answers: it settles what was begun. Then rotate again.",
            )

    def _given_up(self, file: KeyFile, plan: Plan, error: R4Error, *, ambiguous: bool) -> R4Error:
        if ambiguous:
            message = f"a key rotation was begun and can't go on: {error.message}"
            return RotationUnresolvedError(message, next_step=_RUN_AGAIN)
        file.set_aside(plan.key_id, plan.fingerprint)
        self._journal.settle(plan.entry())
        return error

    async def _resume(self, file: KeyFile, plan: Plan, progress: Progress, *, submit: bool = True) -> Rotated:
        current = await anyio.to_thread.run_sync(file.load)
        if current.public.fingerprint == plan.fingerprint:
            return self._finish(file, plan, resumed=True)
        if current.public.fingerprint != plan.previous_fingerprint:
            raise RotationUnresolvedError(f"{file.path} holds neither the old nor the new key of a rotation that was begun")
        new = await anyio.to_thread.run_sync(file.load_staged, plan.key_id)
        if new.public.fingerprint != plan.fingerprint:
            raise RotationUnresolvedError(f"{file.staged(plan.key_id)} holds another key than the rotation that was begun")
        if plan.state is State.COMMITTED:
            await anyio.to_thread.run_sync(file.switch, current, plan.key_id)
            return self._finish(file, plan, resumed=True)
        if await self._is_switched(plan):
            return await self._settle(file, plan, current, new, progress, resumed=True)
        if not submit:
            raise RotationUnresolvedError("a key rotation was begun, and this server may not write", next_step=_RUN_AGAIN)
        return await self._carry_out(file, plan, (current, new), progress)

    async def _settle(
        self, file: KeyFile, plan: Plan, old: PrivateKey, new: PrivateKey, progress: Progress, *, resumed: bool
    ) -> Rotated:
        try:
            unread = await read_back(self._reader_for(RuntimeKey(HeldKey(new))), plan, progress)
        except R4Error as error:
            raise RotationUnresolvedError(
                f"the service accepted the new key, but it did not read back: {error.message}", next_step=_RUN_AGAIN
            ) from None
        plan = plan.committed()
        await anyio.to_thread.run_sync(self._journal.prepare, plan.entry())
        await anyio.to_thread.run_sync(file.switch, old, plan.key_id)
        total = 2 * len(plan.pins) + 1
        await progress(total, total)
        return self._finish(file, plan, unread=unread, resumed=resumed)

    def _finish(self, file: KeyFile, plan: Plan, *, resumed: bool, unread: tuple[VaultId, ...] = ()) -> Rotated:
        file.drop_staged(plan.key_id)
        self._key.refresh()
        self._registration.remember(plan.key_id)
        self._journal.settle(plan.entry())
        self.unresolved = None
        opened_before = self._reader_for(self._key).remembered_deks()
        return Rotated(
            key_id=plan.key_id,
            fingerprint=plan.fingerprint,
            previous_id=plan.previous_id,
            vaults=len(plan.pins),
            unread=unread,
            left_out=tuple(vault_id for vault_id in opened_before if vault_id not in plan.pins),
            retired=file.retired(plan.previous_fingerprint),
            resumed=resumed,
        )

    async def _is_switched(self, plan: Plan) -> bool:
        try:
            me = await self._registration.me()
        except (NetworkError, ServiceError):
            raise RotationUnresolvedError("the service does not say which key is active", next_step=_RUN_AGAIN) from None
        if me.active_fingerprint == plan.fingerprint:
            return True
        if me.active_fingerprint != plan.previous_fingerprint:
            raise RotationUnresolvedError("the service says that a third key is active for this agent")
        return False

    def _unfinished(self) -> Plan | None:
        entries = self._journal.prepared(EntryKind.ROTATE_KEY)
        return read_plan(entries[0]) if entries else None

    def _file(self) -> KeyFile:
        if isinstance(self._source, KeyFile):
            return self._source
        if self._source is None:
            raise NotConfiguredError("no private key is configured, so there is none to rotate")
        raise ConfigurationError(
            "the private key is given in R4_PRIVATE_KEY, and a setting can't be replaced",
            next_step="Put the key into a file (R4_PRIVATE_KEY_PATH) or a profile (`r4-mcp init`), then rotate it.",
        )


async def _silent(_: int, __: int) -> None:
    """Tell nobody."""


def _growing(progress: Progress) -> Progress:
    """Tell only of what is more than before: a vault that is left out, or a batch that is built again, starts lower (MCP)."""
    told = most = 0

    async def tell(done: int, total: int) -> None:
        nonlocal told, most
        most = max(most, total)
        done = most if done == total else done
        if done > told:
            told = done
            await progress(done, most)

    return tell


def _require_same(answered: tuple[KeyId, str], plan: Plan) -> None:
    if answered != (plan.key_id, plan.fingerprint):
        raise RotationUnresolvedError("the service answered with another key than the one that was sent", next_step=_RUN_AGAIN)
