"""``VaultTrust`` as JSON and back, for the file that keeps it.

What this file does not do: read or write files. The form is versioned by the file that holds it.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from r4_mcp.core.encoding import Json
from r4_mcp.core.record import Record, exact, is_id
from r4_mcp.core.trust import (
    LogHead,
    PinnedDek,
    PinnedDetail,
    PinnedSigner,
    PinnedVersion,
    SignerStatus,
    VaultTrust,
)
from r4_mcp.core.wire import ItemId, KeyId, SignerType
from r4_mcp.errors import MalformedError

_TRUST: Final = frozenset({"signers", "head", "summary", "dek", "details", "name"})
_SIGNER: Final = frozenset({"kind", "fingerprint", "status", "previousId", "retiredSummary", "retiredDek"})
_DETAIL: Final = frozenset({"version", "digest", "humanWebsites", "summaryFloor"})
_WHAT: Final = "trust store"


def dump_trust(state: VaultTrust) -> dict[str, Json]:
    """Return the JSON form of a state."""
    return {
        "signers": {key_id: _dump_signer(pin) for key_id, pin in state.signers.items()},
        "head": None if state.head is None else {"size": state.head.size, "root": state.head.root.hex()},
        "summary": None if state.summary is None else _dump_version(state.summary),
        "dek": None if state.dek is None else {"version": state.dek.version, "pin": state.dek.pin},
        "details": {
            item_id: {
                "version": pin.version,
                "digest": pin.digest,
                "humanWebsites": None if pin.human_websites is None else list(pin.human_websites),
                "summaryFloor": pin.summary_floor,
            }
            for item_id, pin in state.details.items()
        },
        "name": state.name,
    }


def read_trust(value: Json) -> VaultTrust:
    """Read the JSON form of a state.

    Raises:
        MalformedError: It is not exactly that form.
    """
    record = exact(value, _WHAT, _TRUST)
    return VaultTrust(
        signers=MappingProxyType({KeyId(key): _read_signer(pin, key) for key, pin in _members(record, "signers").items()}),
        head=_read_head(record) if record.has("head") else None,
        summary=_read_version(record) if record.has("summary") else None,
        dek=_read_dek(record) if record.has("dek") else None,
        details=MappingProxyType({ItemId(key): _read_detail(pin, key) for key, pin in _members(record, "details").items()}),
        name=record.optional_text("name"),
    )


def _dump_signer(pin: PinnedSigner) -> dict[str, Json]:
    return {
        "kind": pin.kind.value,
        "fingerprint": pin.fingerprint,
        "status": pin.status.value,
        "previousId": pin.previous_id,
        "retiredSummary": pin.retired_summary,
        "retiredDek": pin.retired_dek,
    }


def _dump_version(pin: PinnedVersion) -> dict[str, Json]:
    return {"version": pin.version, "digest": pin.digest}


def _members(record: Record, key: str) -> dict[str, Json]:
    members = record.members[key]
    if not isinstance(members, dict) or not all(is_id(name) for name in members):
        raise MalformedError(f"{_WHAT}.{key} is not an object of ids")
    return members


def _read_signer(value: Json, key: str) -> PinnedSigner:
    record = exact(value, f"{_WHAT}.signers.{key}", _SIGNER)
    previous = record.optional_identifier("previousId")
    return PinnedSigner(
        kind=record.choice("kind", SignerType),
        fingerprint=record.hex_digest("fingerprint"),
        status=record.choice("status", SignerStatus),
        previous_id=None if previous is None else KeyId(previous),
        retired_summary=record.integer("retiredSummary") if record.has("retiredSummary") else None,
        retired_dek=record.integer("retiredDek") if record.has("retiredDek") else None,
    )


def _read_head(record: Record) -> LogHead:
    head = exact(record.members["head"], f"{_WHAT}.head", frozenset({"size", "root"}))
    return LogHead(head.integer("size"), bytes.fromhex(head.hex_digest("root")))


def _read_version(record: Record) -> PinnedVersion:
    pin = exact(record.members["summary"], f"{_WHAT}.summary", frozenset({"version", "digest"}))
    return PinnedVersion(pin.integer("version", minimum=1), pin.hex_digest("digest"))


def _read_dek(record: Record) -> PinnedDek:
    pin = exact(record.members["dek"], f"{_WHAT}.dek", frozenset({"version", "pin"}))
    return PinnedDek(pin.integer("version", minimum=1), pin.hex_digest("pin"))


def _read_detail(value: Json, key: str) -> PinnedDetail:
    pin = exact(value, f"{_WHAT}.details.{key}", _DETAIL)
    websites = pin.texts("humanWebsites") if pin.has("humanWebsites") else None
    return PinnedDetail(pin.integer("version", minimum=1), pin.hex_digest("digest"), websites, pin.integer("summaryFloor"))
