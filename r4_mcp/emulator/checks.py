"""Write verification: what an agent signed must be true before it is stored (contract §2, §3).

What this file does not do: store. Each check returns the verified thing or raises; a refused write is rolled back.

Rules, cited by refusals as "write rule N":
1. The signer is the caller's current key, and an active signer of the vault.
2. The signature verifies under it.
3. The checkpoint is for the vault and item of the request.
4. The version is the stored one plus 1; a first version is 1.
5. The item ids are the stored ones, with exactly the one item added or removed that the request is about.
6. Everything else is unchanged: other items' lines, name, classification, DEK version, groups.
7. Summary, detail and posted body agree about the item that is created or changed; ids are new; a value is a well-formed v3
   envelope.
8. Names have 1 to 255 characters; an item has at most 100 fields and 20 websites.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TypeVar

from r4_mcp.core.encoding import b64_decode, b64_encode, compact_json, parse_json
from r4_mcp.core.envelope import ENVELOPE_VERSION, IV_SIZE, MAX_ENVELOPE_SIZE, MAX_VALUE_SIZE, TAG_SIZE
from r4_mcp.core.record import exact
from r4_mcp.core.signing import Context, verify
from r4_mcp.core.trust import SignerStatus
from r4_mcp.core.wire import (
    DetailCheckpoint,
    ItemId,
    Signed,
    SignedItem,
    SummaryCheckpoint,
    read_summary,
)
from r4_mcp.emulator.directory_log import status_in
from r4_mcp.emulator.refusal import RefusalError, signer_required
from r4_mcp.emulator.signing_keys import SigningKey, active_key
from r4_mcp.emulator.vault_rows import VaultRow
from r4_mcp.errors import MalformedError
from r4_mcp.machine.contract import MAX_NAME, MAX_WEBSITES

_ENVELOPE_KEYS = frozenset({"v", "iv", "t", "d"})
CheckpointT = TypeVar("CheckpointT", SummaryCheckpoint, DetailCheckpoint)


def current_signer(db: sqlite3.Connection, agent_id: str, vault_id: str | None = None) -> SigningKey:
    """Return the key that an agent must sign with (rule 1).

    Args:
        db: The store.
        agent_id: The caller.
        vault_id: The vault that is written; None while it does not exist yet.

    Raises:
        RefusalError: No key is registered, or it is not an active signer of the vault.
    """
    key = active_key(db, agent_id)
    if key is None:
        raise RefusalError(409, "encryption_key_required", "this agent has no registered public key; register it first")
    if vault_id is not None and status_in(db, vault_id, key) is not SignerStatus.ACTIVE:
        raise signer_required("this agent's current key is not an active signer of the vault (write rule 1)")
    return key


def signed_by(key: SigningKey, signed: Signed[CheckpointT], context: Context) -> CheckpointT:
    """Return a checkpoint that ``key`` signed (rules 1 and 2).

    Raises:
        RefusalError: It names another signer.
        SignatureError: It does not verify.
    """
    if signed.signer != key.ref:
        raise signer_required("the checkpoint is not signed with this agent's current key (write rule 1)")
    verify(key.public, context, signed.checkpoint.payload(), signed.signature)
    return signed.checkpoint


def check_first_summary(key: SigningKey, signed: Signed[SummaryCheckpoint], wanted: SummaryCheckpoint) -> None:
    """Check the summary of a vault that is being created: exactly ``wanted``.

    Raises:
        RefusalError: Rules 1, 3 to 6 or 8.
        SignatureError: Rule 2.
    """
    if signed_by(key, signed, Context.SUMMARY) != wanted:
        raise MalformedError(
            "the first summary must be for this vault, empty, version 1 with DEK version 1, and repeat the posted name and"
            " classification (write rules 3 to 6)"
        )
    check_name(wanted.name, "the vault's name")


def check_next_summary(
    key: SigningKey,
    vault: VaultRow,
    signed: Signed[SummaryCheckpoint],
    *,
    puts: SignedItem | None = None,
    removes: ItemId | None = None,
) -> None:
    """Check the summary that replaces the stored one.

    Args:
        key: The caller's current key.
        vault: The vault as stored.
        signed: The replacement.
        puts: The item that the request creates or changes, as it will be.
        removes: The item that the request archives.

    Raises:
        RefusalError: Rules 1 or 4.
        SignatureError: Rule 2.
        MalformedError: Rules 3, 5, 6 or 7.
    """
    checkpoint = signed_by(key, signed, Context.SUMMARY)
    stored = read_summary(vault.summary, "stored summary").checkpoint
    if checkpoint.vault_id != vault.id:
        raise MalformedError("the summary is for another vault (write rule 3)")
    check_version(checkpoint.version, stored.version, "summary")
    wanted = {item.id: item for item in stored.items if item.id != removes}
    if puts is not None:
        wanted[puts.id] = puts
    found = {item.id: item for item in checkpoint.items}
    if found.keys() != wanted.keys():
        raise MalformedError("the summary must list the stored items and exactly this change (write rule 5)")
    if found != wanted:
        raise MalformedError("the summary changes another item, or has this one differently (write rules 6 and 7)")
    if _frame(checkpoint) != _frame(stored):
        raise MalformedError("the summary changes name, classification, DEK version or groups of the vault (write rule 6)")


def check_version(version: int, stored: int, what: str) -> None:
    """Check that a checkpoint follows the stored one (rule 4).

    Raises:
        RefusalError: It does not: somebody else wrote first, or a version was left out.
    """
    if version != stored + 1:
        message = f"the stored {what} has version {stored}; fetch it and sign the next one"
        raise RefusalError(409, "checkpoint_version_conflict", message)


def check_name(name: str, what: str) -> None:
    """Check a name (rule 8).

    Raises:
        MalformedError: Empty or too long.
    """
    if not 1 <= len(name) <= MAX_NAME:
        raise MalformedError(f"{what} must have 1 to {MAX_NAME} characters (write rule 8)")


def check_websites(websites: Sequence[str]) -> None:
    """Check an item's websites (rule 8).

    Raises:
        MalformedError: Too many.
    """
    if len(websites) > MAX_WEBSITES:
        raise MalformedError(f"an item has at most {MAX_WEBSITES} websites (write rule 8)")


def check_envelope(envelope: str, what: str) -> None:
    """Check that a value has the form of a v3 envelope (rule 7); whether it opens only its readers can tell.

    Args:
        envelope: The value as posted.
        what: The name of its member, for the error.

    Raises:
        MalformedError: It has not.
    """
    if len(envelope) > MAX_ENVELOPE_SIZE:
        raise MalformedError(f"an envelope has at most {MAX_ENVELOPE_SIZE} characters (write rule 7)")
    parsed = parse_json(envelope.encode("utf-8"), what=what, max_depth=1)
    members = exact(parsed, what, _ENVELOPE_KEYS)
    iv = b64_decode(members.text("iv"), what=f"{what}.iv", max_size=IV_SIZE)
    tag = b64_decode(members.text("t"), what=f"{what}.t", max_size=TAG_SIZE)
    body = b64_decode(members.text("d", max_length=MAX_ENVELOPE_SIZE), what=f"{what}.d", max_size=MAX_VALUE_SIZE)
    if members.integer("v") != ENVELOPE_VERSION or len(iv) != IV_SIZE or len(tag) != TAG_SIZE:
        raise MalformedError(f"{what} has another version, iv size or tag size than v3 (write rule 7)")
    if compact_json({"v": ENVELOPE_VERSION, "iv": b64_encode(iv), "t": b64_encode(tag), "d": b64_encode(body)}) != envelope:
        raise MalformedError(f"{what} is a second spelling of its content (write rule 7)")


def _frame(checkpoint: SummaryCheckpoint) -> tuple[object, ...]:
    return checkpoint.name, checkpoint.classification, checkpoint.dek_version, checkpoint.groups
