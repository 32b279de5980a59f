"""Wiring: the one place where the rooms' objects are made and given to each other.

What this file does not do: decide, or speak MCP.
"""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from r4_mcp.cli.guard import guard
from r4_mcp.config import Settings, read_settings
from r4_mcp.errors import ConfigurationError, FileAccessError
from r4_mcp.machine.client import MachineClient
from r4_mcp.machine.connections import Connections
from r4_mcp.policy.admission import Parts, http_sink
from r4_mcp.policy.approvals import UsedApprovals, derived_key
from r4_mcp.policy.audit import AuditLog
from r4_mcp.policy.bindings import Bindings
from r4_mcp.policy.budget import RevealBudget
from r4_mcp.policy.cursors import Cursors
from r4_mcp.policy.exposure import ExposureLedger
from r4_mcp.policy.gate import Gate
from r4_mcp.policy.model import Policy
from r4_mcp.policy.oversight import Oversight
from r4_mcp.policy.policy_file import PolicySource
from r4_mcp.secret import KnownSecrets
from r4_mcp.server.approval import Asking
from r4_mcp.server.dispatch import Dispatch
from r4_mcp.vault.evidence import Evidence
from r4_mcp.vault.exports import Exports
from r4_mcp.vault.index import VaultIndex
from r4_mcp.vault.item_creation import ItemCreation
from r4_mcp.vault.item_update import ItemUpdate
from r4_mcp.vault.journal import Journal, owner_hash
from r4_mcp.vault.locator import Locator
from r4_mcp.vault.opener import VaultOpener
from r4_mcp.vault.reader import VaultReader
from r4_mcp.vault.recovery import Recovery
from r4_mcp.vault.registration import Registration
from r4_mcp.vault.rotation import Rotation
from r4_mcp.vault.runtime import VaultRuntime
from r4_mcp.vault.runtime_key import RuntimeKey
from r4_mcp.vault.search import VaultSearch
from r4_mcp.vault.signer import VaultSigner
from r4_mcp.vault.sync import VaultSync
from r4_mcp.vault.trust_store import TrustStore
from r4_mcp.vault.vault_creation import VaultCreation
from r4_mcp.vault.writer import VaultWriter

if TYPE_CHECKING:
    from r4_mcp.emulator.embedded import Embedded

EMBEDDED_NAME: Final = "the embedded vault"
EMBEDDED_URL: Final = "http://localhost"
"""A name for the in-process transport; nothing is ever connected to it."""


@dataclass(frozen=True, slots=True)
class Service:
    """A wired process: what tools run on, and what people's commands use."""

    dispatch: Dispatch
    asking: Asking
    gate: Gate
    runtime: VaultRuntime | None
    missing: tuple[ConfigurationError, ...]
    oversight: Oversight | None
    policy: Callable[[], Policy]


def open_trust_store(settings: Settings, base_url: str) -> TrustStore:
    """Return the trust store of a configured agent.

    Raises:
        ConfigurationError: No API key is configured, so there is no agent to remember for.
    """
    if settings.access_key is None:
        raise settings.problems[0]
    # The access key is the public half of the API key; it names this agent's section without asking the service who we are.
    owner = (base_url, settings.access_key)
    return TrustStore(settings.trust_store, settings.home / "initialised", owner, time.time)


def local_settings(settings: Settings, known: KnownSecrets) -> tuple[Settings, Embedded]:
    """Open the embedded vault and return the settings of its agent; first use makes it.

    Raises:
        ConfigurationError: Its folder can't be used.
    """
    # Imported here: the product rooms don't need the emulator, and serving a real vault should not pay for it.
    from r4_mcp.emulator.embedded import open_embedded  # noqa: PLC0415

    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise FileAccessError(f"{settings.home} can't be made: {os.strerror(error.errno or 0)}") from None
    embedded = open_embedded(local_folder(settings), known)
    own = read_settings({"R4_CONFIG": str(embedded.config_path)}, known)
    # What the operator decided holds here too; the rest of the environment speaks of another service.
    own = replace(
        own,
        index_seconds=settings.index_seconds,
        switches=settings.switches,
        policy=settings.policy,
        policy_named=settings.policy_named,
        home=settings.home,
        trust_store=settings.trust_store,
        trust=settings.trust,
        own_files=(*own.own_files, *settings.own_files),
    )
    return own, embedded


@asynccontextmanager
async def open_service(settings: Settings, known: KnownSecrets) -> AsyncIterator[Service]:
    """Wire a configured service over HTTP; nothing configured gives a service that says so."""
    from r4_mcp.machine.pool import open_pool  # noqa: PLC0415 - the embedded vault starts without httpx

    async with open_pool(settings.base_url) as connections:
        yield _wire(settings, known, connections, settings.base_url, settings.base_url)


@asynccontextmanager
async def open_local(settings: Settings, known: KnownSecrets) -> AsyncIterator[Service]:
    """Wire the embedded vault, in process; first use makes it.

    Raises:
        ConfigurationError: Its folder can't be used.
    """
    from r4_mcp.cli.in_process import InProcess  # noqa: PLC0415 - as in local_settings

    own, embedded = local_settings(settings, known)
    yield _wire(own, known, InProcess(embedded.app), EMBEDDED_URL, EMBEDDED_NAME)


def local_folder(settings: Settings) -> Path:
    """Return the folder of the embedded vault."""
    return settings.home / "local"


def _writer(
    known: KnownSecrets,
    machine: MachineClient,
    reader: VaultReader,
    index: VaultIndex,
    registration: Registration,
    key: RuntimeKey,
    journal: Journal,
) -> VaultWriter:
    signer = VaultSigner(reader, key)
    items = ItemCreation(machine=machine, reader=reader, signer=signer, journal=journal, known=known)
    vaults = VaultCreation(
        machine=machine, reader=reader, signer=signer, registration=registration, key=key, journal=journal, known=known
    )
    return VaultWriter(
        machine=machine,
        reader=reader,
        index=index,
        registration=registration,
        signer=signer,
        journal=journal,
        items=items,
        vaults=vaults,
        updates=ItemUpdate(machine=machine, reader=reader, signer=signer, journal=journal, known=known),
    )


def _hostname() -> str:
    # It becomes a header, for the operator's eyes only; whatever a header can't hold is left out.
    return re.sub(r"[^A-Za-z0-9._-]", "", platform.node())[:255] or "unknown"


def _wire(settings: Settings, known: KnownSecrets, connections: Connections, base_url: str, service_name: str) -> Service:
    egress = guard(known)
    runtime = None
    cursors = None
    if settings.api_key is not None and not settings.problems:
        runtime = _runtime(settings, known, MachineClient(connections, base_url, settings.api_key), service_name)
        cursors = Cursors(settings.api_key, known)
    policy = PolicySource(settings.policy, named=settings.policy_named)
    oversight = None if runtime is None else open_oversight(settings, runtime.owner)
    parts = Parts(
        runtime=runtime,
        missing=settings.problems,
        switches=settings.switches,
        known=known,
        egress=egress,
        cursors=cursors,
        clock=time.time,
        oversight=oversight,
        policy=policy.current,
        options=same_vault(settings, local=base_url == EMBEDDED_URL),
        bindings=None if runtime is None else open_bindings(settings, runtime.owner),
        # Kept while the operator's networks stay the same, with what it has read of the system's certificates.
        http=lru_cache(maxsize=1)(http_sink),
        own_files=settings.own_files,
    )
    gate = Gate(parts)
    dispatch = Dispatch(gate, known, egress, settings.switches, oversight, policy.current)
    asking = _asking(settings, known, dispatch, runtime)
    return Service(dispatch, asking, gate, runtime, settings.problems, oversight, policy.current)


def same_vault(settings: Settings, *, local: bool) -> str:
    """Return the options by which another command of the operator means the same vault as this process."""
    if local:
        return " --local"
    return "" if settings.profile is None else f" --profile {settings.profile}"


def open_oversight(settings: Settings, owner: tuple[str, str]) -> Oversight:
    """Return the audit log, the reveal budget and the exposure ledger of an agent."""
    state = settings.home / "state"
    return Oversight(
        audit=AuditLog(settings.home / "audit", time.time),
        budget=RevealBudget(state, owner, time.time),
        ledger=ExposureLedger(state, owner, time.time),
    )


def open_bindings(settings: Settings, owner: tuple[str, str]) -> Bindings:
    """Return the websites that a person bound to items, for an agent."""
    return Bindings(settings.home / "state", owner, time.time)


def _asking(settings: Settings, known: KnownSecrets, dispatch: Dispatch, runtime: VaultRuntime | None) -> Asking:
    if runtime is None or settings.api_key is None:
        return Asking(dispatch, None, None)
    used = UsedApprovals(settings.home / "state" / f"approvals-{owner_hash(runtime.owner)}.json", time.time)
    return Asking(dispatch, used, derived_key(settings.api_key, "r4-mcp request state v1", known))


def _runtime(settings: Settings, known: KnownSecrets, machine: MachineClient, service_name: str) -> VaultRuntime:
    key = RuntimeKey(settings.key_source)
    owner = (machine.base_url, settings.access_key or "")
    registration = Registration(machine, key, _hostname(), settings.home / "registered" / f"{owner_hash(owner)}.json")
    store = open_trust_store(settings, machine.base_url)
    evidence = Evidence(settings.home / "evidence")

    def reader_for(any_key: RuntimeKey) -> VaultReader:
        return VaultReader(
            machine=machine,
            store=store,
            evidence=evidence,
            key=any_key,
            known=known,
            policy=settings.trust,
        )

    reader = reader_for(key)
    sync = VaultSync(machine=machine, reader=reader, store=store, evidence=evidence)
    index = VaultIndex(reader=reader, sync=sync, store=store, max_age=settings.index_seconds)
    journal = Journal(settings.home / "journal", owner)
    rotation = Rotation(reader_for=reader_for, registration=registration, key=key, source=settings.key_source, journal=journal)
    writer = _writer(known, machine, reader, index, registration, key, journal)
    return VaultRuntime(
        service=service_name,
        owner=owner,
        project_id=settings.project_id,
        key=key,
        registration=registration,
        store=store,
        reader=reader,
        opener=VaultOpener(reader, known, keep=settings.index_seconds > 0),
        index=index,
        search=VaultSearch(machine, index),
        locator=Locator(reader, index, settings.project_id),
        writer=writer,
        rotation=rotation,
        recovery=Recovery(key, registration, rotation, writer),
        exports=Exports(machine),
        service_date=lambda: machine.service_date,
        raw=machine.raw,
    )
