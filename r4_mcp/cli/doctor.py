"""``r4-mcp doctor``: which step works, which does not, and what to do.

What this file does not do: change anything, or open a value. It stops at no failure that leaves something to check.

Steps: (0) configuration (1) private key (2) network and API key (3) clock (4) permissions (5) registration (6) trust store
(7) vault list (8) per vault: signer directory, summary, wrapped key.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Final, Generic, TypeVar

from r4_mcp.cli.container import mounted, passing_place
from r4_mcp.cli.wiring import open_local, open_service
from r4_mcp.config import Settings
from r4_mcp.core.served import Me, ServedVault
from r4_mcp.core.wire import VaultId
from r4_mcp.core.wrapping import Dek
from r4_mcp.errors import R4Error
from r4_mcp.machine.contract import Permission, covers
from r4_mcp.policy.views import display
from r4_mcp.secret import KnownSecrets
from r4_mcp.server.explain import explain
from r4_mcp.vault.proven import ProvenVault
from r4_mcp.vault.runtime import VaultRuntime

ResultT = TypeVar("ResultT")

MAX_SKEW_SECONDS: Final = 30
"""A TOTP code is valid for 30 seconds, so a clock that is further off gives wrong codes."""

_KEEP_IT: Final = "Put it on a disk or a named volume that stays: docker run -v r4-state:/state …, or set R4_HOME."
_TYPICAL: Final = (Permission.AGENT, Permission.VAULT_READ, Permission.SECRET_READ)


@dataclass(frozen=True, slots=True)
class Finding:
    """One step's outcome: good, bad with a next step, or (None) not checked."""

    step: str
    good: bool | None
    told: str
    next_step: str | None = None

    def lines(self) -> list[str]:
        """Return the finding for a person."""
        mark = {True: "ok  ", False: "FAIL", None: "-   "}[self.good]
        told = [f"{mark} {self.step}: {self.told}"]
        return told if self.next_step is None else [*told, f"     next: {self.next_step}"]


@dataclass(frozen=True, slots=True)
class Attempt(Generic[ResultT]):
    """What a step came to: its result, or None where it failed."""

    result: ResultT | None
    finding: Finding


async def doctor(settings: Settings, known: KnownSecrets, *, local: bool) -> AsyncIterator[Finding]:
    """Check everything in order; yields one finding a step.

    Raises:
        ConfigurationError: The embedded vault's folder can't be used.
    """
    opened = open_local(settings, known) if local else open_service(settings, known)
    async with opened as service:
        for problem in service.missing:
            yield _bad("configuration", problem)
        if service.runtime is None:
            return
        profile = "" if settings.profile is None else f", profile {settings.profile}"
        yield Finding("configuration", True, f"service is {service.runtime.service}{profile}")
        passing = passing_place(settings.trust_store, mounted())
        if passing is not None:
            yield Finding("state", None, f"what is verified is kept on {passing}, so every run is a first contact", _KEEP_IT)
        async for finding in _check(service.runtime):
            yield finding


async def _check(runtime: VaultRuntime) -> AsyncIterator[Finding]:
    try:
        fingerprint = runtime.key.public.fingerprint
        bits = runtime.key.private.rsa.key_size
        yield Finding("private key", True, f"RSA {bits} bits, fingerprint {fingerprint}")
    except R4Error as error:
        fingerprint = None
        yield _bad("private key", error)
    identity = await _attempt("API key", runtime.registration.me, _tell_me)
    yield identity.finding
    yield _clock(runtime.service_date())
    if identity.result is None:
        return
    yield _permissions(identity.result)
    yield _registration(identity.result, fingerprint)
    if runtime.rotation.is_begun():
        step = "Run `r4-mcp rotate-key`: it finishes it. Keep every key file until then."
        yield Finding("key rotation", False, "one was begun and is not finished", step)
    mode = runtime.reader.policy.mode.value
    remembered = await _attempt("trust store", _section(runtime), lambda count: f"{count} vault(s) remembered, mode {mode}")
    yield remembered.finding
    if remembered.result is None:
        return
    listed = await _attempt("vault list", runtime.reader.list_vaults, _tell_list)
    yield listed.finding
    for vault in listed.result or ():
        async for finding in _vault(runtime, vault.id):
            yield finding


def _section(runtime: VaultRuntime) -> Callable[[], Awaitable[int]]:
    async def count() -> int:
        return len(runtime.store.section().vaults)

    return count


async def _vault(runtime: VaultRuntime, vault_id: VaultId) -> AsyncIterator[Finding]:
    step = f"vault {vault_id}"
    remembered = runtime.reader.remembered_names().get(vault_id)
    proven = await _attempt(f"{step} directory and summary", partial(runtime.reader.vault, vault_id), _tell_vault)
    yield _failed_as(proven.finding, remembered)
    if proven.result is not None:
        opened = await _attempt(f"{step} wrapped key", partial(runtime.reader.dek, proven.result), _tell_dek)
        yield _failed_as(opened.finding, proven.result.summary.checkpoint.name)


def _failed_as(finding: Finding, verified_name: str | None) -> Finding:
    """Say which vault failed by the name that was verified, now or earlier; what works says its name in its summary's line."""
    if finding.good or verified_name is None:
        return finding
    return replace(finding, told=f"{display(verified_name)}: {finding.told}")


def _tell_dek(dek: Dek) -> str:
    return f"version {dek.version} opens with our key"


async def _attempt(step: str, call: Callable[[], Awaitable[ResultT]], tell: Callable[[ResultT], str]) -> Attempt[ResultT]:
    try:
        result = await call()
    except R4Error as error:
        return Attempt(None, _bad(step, error))
    return Attempt(result, Finding(step, True, tell(result)))


def _tell_me(me: Me) -> str:
    return f"agent {display(me.agent_name)}, scope {display(me.scope)}"


def _tell_list(listed: tuple[ServedVault, ...]) -> str:
    return f"{len(listed)} vault(s)"


def _tell_vault(vault: ProvenVault) -> str:
    checkpoint = vault.summary.checkpoint
    signers = len(vault.directory.signers)
    return f"{display(checkpoint.name)}: {signers} signer(s), summary v{checkpoint.version}, {len(checkpoint.items)} item(s)"


def _bad(step: str, error: R4Error) -> Finding:
    told = explain(error)
    return Finding(step, False, f"{told.message} [{told.code}]", told.next_step)


def _clock(date: str | None) -> Finding:
    try:
        served = parsedate_to_datetime(date or "").timestamp()
    except (ValueError, OverflowError):
        return Finding("clock", None, "the service tells no time to compare with")
    skew = round(time.time() - served)
    if abs(skew) <= MAX_SKEW_SECONDS:
        return Finding("clock", True, f"within {MAX_SKEW_SECONDS} seconds of the service's")
    side = "ahead of" if skew > 0 else "behind"
    return Finding("clock", False, f"{abs(skew)} seconds {side} the service's", "Set this machine's clock.")


def _permissions(me: Me) -> Finding:
    missing = [permission.value for permission in _TYPICAL if not covers(me.permissions, permission)]
    if missing:
        return Finding(
            "permissions", False, f"missing: {', '.join(missing)}", "Ask the operator of R4 to add them to the API key."
        )
    return Finding("permissions", True, ", ".join(display(permission) for permission in me.permissions))


def _registration(me: Me, fingerprint: str | None) -> Finding:
    if me.active_fingerprint is None:
        step = "Call a tool, or run any command that needs a vault: it registers the key. Then ask the operator for access."
        return Finding("registration", False, "this machine's public key is not registered yet", step)
    if fingerprint is not None and me.active_fingerprint != fingerprint:
        step = "Use the private key that belongs to the registered one, or ask the operator for a new agent."
        return Finding("registration", False, f"another key is active: {me.active_fingerprint}", step)
    return Finding("registration", True, f"key id {me.active_key_id}")
