"""``r4-mcp trust``: what is remembered of each vault, for people; no tool reaches this.

What this file does not do: fetch. It reads and changes the trust store's file.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from typing import Final

from r4_mcp.cli.wiring import EMBEDDED_URL, local_settings, open_trust_store
from r4_mcp.config import Settings
from r4_mcp.core.encoding import JsonIn
from r4_mcp.core.record import is_id
from r4_mcp.core.trust import LogHead, VaultTrust
from r4_mcp.core.wire import SignerType, VaultId
from r4_mcp.errors import InvalidArgumentError
from r4_mcp.policy.views import display
from r4_mcp.secret import KnownSecrets
from r4_mcp.vault.trust_store import Remembered, Section, TrustStore

_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SHORT: Final = 16
_NOTHING: Final = "Nothing is remembered yet for this service and agent."


def trust(settings: Settings, known: KnownSecrets, action: str, argument: str | None, *, local: bool) -> list[str]:
    """Run one trust command.

    Args:
        settings: The configuration.
        known: The secrets of this process.
        action: ``list``, ``add``, ``remove``, ``reset`` or ``export``.
        argument: A fingerprint, or a vault id for ``reset``.
        local: Whether the embedded vault's store section is meant.

    Returns:
        Lines for a person.

    Raises:
        ConfigurationError: Nothing configured, or the store can't be used.
        InvalidArgumentError: Not a fingerprint or vault id.
    """
    store = _store(settings, known, local=local)
    if action == "add":
        fingerprint = _fingerprint(argument)
        store.set_anchor(fingerprint, trusted=True)
        return [f"trusted: {fingerprint}", "A vault's directory that shows a signer with this key is accepted from now on."]
    if action == "remove":
        fingerprint = _fingerprint(argument)
        store.set_anchor(fingerprint, trusted=False)
        return [f"no longer trusted by name: {fingerprint}", "Vaults that pinned it already keep it; `trust reset` forgets them."]
    if action == "reset":
        return _reset(store, argument)
    section = store.section()
    return list(_export(section) if action == "export" else _listing(section))


def trust_payload(settings: Settings, known: KnownSecrets, action: str, *, local: bool) -> dict[str, JsonIn]:
    """Return what ``list`` or ``export`` shows, for programs.

    Raises:
        ConfigurationError: Nothing configured, or the store can't be used.
    """
    section = _store(settings, known, local=local).section()
    vaults = sorted(section.vaults.items())
    if action == "export":
        heads = {str(vault_id): short_head(each.trust.head) for vault_id, each in vaults if each.trust.head is not None}
        return {"vaults": [{"id": vault_id, "head": head} for vault_id, head in heads.items()]}
    return {
        "vaults": [_described(vault_id, remembered) for vault_id, remembered in vaults],
        "trusted": [{"fingerprint": fingerprint, "since": _when(at)} for fingerprint, at in sorted(section.anchors.items())],
    }


def _described(vault_id: VaultId, remembered: Remembered) -> dict[str, JsonIn]:
    state = remembered.trust
    return {
        "id": vault_id,
        "name": None if state.name is None else display(state.name),
        "summary_version": None if state.summary is None else state.summary.version,
        "key_version": None if state.dek is None else state.dek.version,
        "items": len(state.details),
        "verified_at": _when(remembered.verified_at),
        "signers": [
            {
                "id": key_id,
                "kind": _kind(pin.kind),
                "status": pin.status.value.lower(),
                "fingerprint": pin.fingerprint,
            }
            for key_id, pin in sorted(state.signers.items())
        ],
    }


def _store(settings: Settings, known: KnownSecrets, *, local: bool) -> TrustStore:
    if local:
        settings, _ = local_settings(settings, known)
        return open_trust_store(settings, EMBEDDED_URL)
    return open_trust_store(settings, settings.base_url)


def _kind(kind: SignerType) -> str:
    return "human" if kind is SignerType.USER else "agent"


def _reset(store: TrustStore, argument: str | None) -> list[str]:
    if argument is not None and not is_id(argument):
        raise InvalidArgumentError("reset takes the id of a vault (24 lowercase hex characters), or nothing for all of them")
    store.reset(None if argument is None else VaultId(argument))
    what = "everything of this service and agent" if argument is None else f"vault {argument}"
    return [f"forgotten: {what}", "The next contact is a first contact: what it shows is believed. Compare fingerprints then."]


def _fingerprint(argument: str | None) -> str:
    text = (argument or "").strip().lower()
    if not _FINGERPRINT.fullmatch(text):
        raise InvalidArgumentError("a fingerprint has 64 hex characters: the SHA-256 of the signer's public key (SPKI DER)")
    return text


def _listing(section: Section) -> Iterator[str]:
    if not section.vaults and not section.anchors:
        yield _NOTHING
    for vault_id, remembered in sorted(section.vaults.items()):
        state = remembered.trust
        versions = f"summary v{state.summary.version}" if state.summary else "no summary yet"
        key = f", key v{state.dek.version}" if state.dek else ""
        yield f"vault {vault_id}" + ("" if state.name is None else f"  {display(state.name)}")
        yield f"  {versions}{key}, {len(state.details)} item(s), verified {_when(remembered.verified_at)}"
        for key_id, pin in sorted(state.signers.items()):
            yield f"  {_kind(pin.kind)} {pin.status.value.lower()} {pin.fingerprint}"
            yield f"        key id {key_id}"
    for fingerprint, at in sorted(section.anchors.items()):
        yield f"trusted by name since {_when(at)}:"
        yield f"  {fingerprint}"


def _export(section: Section) -> Iterator[str]:
    if not section.vaults:
        yield _NOTHING
    for vault_id, remembered in sorted(section.vaults.items()):
        if remembered.trust.head is not None:
            yield f"{vault_id}  {short_head(remembered.trust.head)}  {_state(remembered.trust)}"
    if section.vaults:
        yield "Another holder of the same vaults who sees the same lines sees the same signer logs."


def short_head(head: LogHead) -> str:
    """Return a short fingerprint of a log head: its size and the first 64 bits of a hash over size and root."""
    digest = hashlib.sha256(head.size.to_bytes(8, "big") + head.root).hexdigest()[:_SHORT]
    return f"{head.size}-{'-'.join(digest[start : start + 4] for start in range(0, _SHORT, 4))}"


def _state(state: VaultTrust) -> str:
    return f"summary v{state.summary.version} {state.summary.digest[:_SHORT]}" if state.summary else "no summary yet"


def _when(at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at)) if at else "never"
