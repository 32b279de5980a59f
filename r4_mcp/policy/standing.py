"""Who this server is, what it may do, and the exact next step when something is missing.

What this file does not do: change anything, register a key, or fail. Every problem becomes a sentence.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, Literal

from r4_mcp.core.served import Me
from r4_mcp.errors import ConfigurationError, R4Error
from r4_mcp.policy.model import Policy, Switches
from r4_mcp.policy.needs import unavailable
from r4_mcp.policy.views import SHORT_FINGERPRINT, LastVerified, Standing, display
from r4_mcp.vault.concurrently import map_bounded
from r4_mcp.vault.references import address, write_reference
from r4_mcp.vault.runtime import VaultRuntime

MAX_CHECKED: Final = 100
"""Vaults whose grant is looked at."""

KeyState = Literal["registered", "not_registered", "another_key_is_active", "unknown"]

_AGENT_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_SCOPES: Final = frozenset({"AGENT", "USER", "TENANT", "ORG"})
_PERMISSION: Final = re.compile(r"machine(\.[a-z_]{1,24}){1,3}", re.ASCII)
_WIDTH: Final = 8
_MEND: Final = "The operator of this machine runs `r4-mcp policy check`, which says what is wrong, and corrects the policy file."
_READY: Final = "Nothing is missing. Call list_vaults."
_CONFIGURE: Final = (
    "Set what is missing and start the server again, or start it with `r4-mcp serve --local` for the embedded vault."
)


async def standing(
    runtime: VaultRuntime | None, missing: tuple[ConfigurationError, ...], switches: Switches, policy: Policy
) -> Standing:
    """Build the view of this server's standing.

    Args:
        runtime: The configured agent, or None.
        missing: What keeps it from being configured, or from being fully so.
        switches: The operator's switches.
        policy: The operator's policy as it stands now.
    """
    fingerprint, key_problem = _own_fingerprint(runtime)
    unset = (*missing, key_problem) if key_problem is not None else missing
    closed = _closed(policy)
    problems = (*unset, closed) if closed is not None else unset
    sentences = tuple(error.message for error in problems)
    blank = Standing(
        configured=runtime is not None and not unset,
        service=None if runtime is None else runtime.service,
        scope=None,
        agent=None,
        agent_id=None,
        permissions=(),
        key="unknown",
        fingerprint=_short(fingerprint),
        waiting_for_grant=(),
        trust_mode=None if runtime is None else runtime.reader.policy.mode.value,
        last_verified=(),
        unavailable=unavailable(None, switches, policy),
        read_only=switches.read_only,
        reveals=not switches.no_reveal,
        missing=sentences,
        next_step=next((error.next_step for error in problems if error.next_step), _CONFIGURE),
    )
    if runtime is None:
        return blank
    try:
        begun = runtime.rotation.is_begun()
        blank = replace(blank, last_verified=_last_verified(runtime))
    except ConfigurationError as error:
        return replace(blank, missing=(*sentences, error.message), next_step=error.next_step or _CONFIGURE)
    try:
        me = await runtime.registration.me()
    except R4Error as error:
        step = "Check the API key and the service's address, then call whoami again."
        return replace(blank, missing=(*sentences, error.message), next_step=step)
    key = _key_state(me, fingerprint)
    known = replace(
        blank,
        scope=me.scope if me.scope in _SCOPES else None,
        agent=display(me.agent_name),
        agent_id=me.agent_id if _AGENT_ID.fullmatch(me.agent_id) else None,
        # Only what has the form of a permission: the list is unsigned text of the service.
        permissions=tuple(sorted(permission for permission in me.permissions if _PERMISSION.fullmatch(permission))[:MAX_CHECKED]),
        key=key,
        unavailable=unavailable(me, switches, policy),
    )
    if problems:
        return known
    if begun:
        return replace(
            known,
            missing=("A rotation of this machine's key was begun and is not finished.",),
            next_step="Call list_vaults: it goes on with the rotation. The operator can run `r4-mcp rotate-key` on this machine.",
        )
    return await _onboarding(known, runtime)


async def _onboarding(known: Standing, runtime: VaultRuntime) -> Standing:
    if known.key == "another_key_is_active":
        return replace(
            known,
            missing=("Another public key than this machine's is registered for the agent.",),
            next_step="Use the private key that belongs to the registered one, or ask the operator to create a new agent.",
        )
    try:
        listed = await runtime.reader.list_vaults(runtime.project_id)
        waiting = await map_bounded(runtime.reader.awaits_grant, [vault.id for vault in listed[:MAX_CHECKED]], _WIDTH)
    except R4Error as error:
        return replace(known, missing=(error.message,), next_step="Ask the operator for what is missing, then call whoami again.")
    names = [vault.name for vault in listed]
    pending = tuple(
        write_reference(address(vault.id, vault.name, names))
        for vault, waits in zip(listed[:MAX_CHECKED], waiting, strict=True)
        if waits
    )
    if known.key == "not_registered":
        return replace(
            known,
            waiting_for_grant=pending,
            missing=("This machine's public key is not registered yet.",),
            next_step="Call list_vaults: it registers the key. Then ask the operator to grant vault access.",
        )
    if pending:
        return replace(
            known,
            waiting_for_grant=pending,
            missing=(
                f"{len(pending)} visible vault(s) have no key wrapped for this agent: shared before its key was registered.",
            ),
            next_step="Ask the operator to grant access to these vaults again; the key is registered now.",
        )
    if not listed:
        return replace(
            known,
            missing=("No vault is visible to this agent.",),
            next_step="Ask the operator to grant vault access, or call create_vault.",
        )
    return replace(known, next_step=_READY)


def _own_fingerprint(runtime: VaultRuntime | None) -> tuple[str | None, ConfigurationError | None]:
    if runtime is None:
        return None, None
    try:
        return runtime.key.public.fingerprint, None
    except ConfigurationError as error:
        return None, error


def _closed(policy: Policy) -> ConfigurationError | None:
    if policy.closed is None:
        return None
    return ConfigurationError(
        f"everything is denied, because the operator's policy can't be used: {policy.closed}", next_step=_MEND
    )


def _last_verified(runtime: VaultRuntime) -> tuple[LastVerified, ...]:
    remembered = sorted(runtime.store.section().vaults.items(), key=lambda entry: -entry[1].verified_at)
    return tuple(
        LastVerified(write_reference(vault_id), datetime.fromtimestamp(entry.verified_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        for vault_id, entry in remembered[:MAX_CHECKED]
    )


def _short(fingerprint: str | None) -> str | None:
    return None if fingerprint is None else fingerprint[:SHORT_FINGERPRINT]


def _key_state(me: Me, fingerprint: str | None) -> KeyState:
    if me.active_fingerprint is None:
        return "not_registered"
    if fingerprint is None:
        return "unknown"
    return "registered" if me.active_fingerprint == fingerprint else "another_key_is_active"
