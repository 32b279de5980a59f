"""Lies about who may sign: keys substituted, signers added, invented, revived, forked.

What this file does not do: break signatures or the log. What a service adds to its log without asking anybody is proven like
everything else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from r4_mcp.core.encoding import Json
from r4_mcp.core.signing import Context
from r4_mcp.core.wire import KeyId, KeyRotation, SignerRef, SignerType, VaultId
from r4_mcp.core.wrapping import unwrap, wrapped_entry
from r4_mcp.emulator.faults_checkpoints import DETAIL, advanced, resign
from r4_mcp.emulator.faults_liar import (
    Answer,
    Asked,
    Edit,
    Fault,
    Hand,
    Liar,
    Lie,
    admit_insider,
    edit_of,
    editing,
    number,
    part,
    rows,
    text,
)
from r4_mcp.emulator.faults_log import GROWN, entry_of, growing, leaf_hashes, leaf_of, prove
from r4_mcp.emulator.fresh import new_id, timestamp
from r4_mcp.emulator.refusal import Reply
from r4_mcp.emulator.registration import KeyRequest, register
from r4_mcp.emulator.vault_rows import find_wrapped_key
from r4_mcp.machine.contract import GET_DIRECTORY, GET_FIELD, GET_ITEM, LIST_ITEMS, LIST_VAULTS, Endpoint

INVENTED: Final = VaultId("badbadbadbadbadbadbadbad")


def _rotate_insider(liar: Liar) -> None:
    """Let the insider's key be continued by the attacker's, as a rotation does; the old hand stays the liar's."""
    old, new = liar.insider, liar.attacker
    new_key_id = KeyId(new_id())
    heir = Hand(new.key, SignerRef(SignerType.AGENT, new_key_id))
    with liar.store.read() as db:
        stored = [find_wrapped_key(db, vault_id, old.ref.id) for vault_id in liar.vault_ids()]
    deks = [unwrap(entry, old.key, liar.known) for entry in stored if entry is not None]
    rotation = KeyRotation(new_key_id, heir.key.public.fingerprint, old.ref.id).payload()
    request = KeyRequest(
        public=heir.key.public,
        key_id=new_key_id,
        previous_id=old.ref.id,
        rotation_signature=text(part(old.signed(Context.KEY_ROTATION, rotation))["signature"]),
        batch=tuple(wrapped_entry(dek, new_key_id, heir.key.public, heir.ref, heir.key) for dek in deks),
    )
    with liar.store.write() as db:
        owner = db.execute("SELECT owner_id FROM signing_keys WHERE id = ?", (old.ref.id,)).fetchone()["owner_id"]
        register(db, owner, request)


def _forged_heir(
    signature: Callable[[Asked, dict[str, Json]], Json],
) -> Callable[[Asked, dict[str, Json]], list[dict[str, Json]]]:
    def entries(asked: Asked, _: dict[str, Json]) -> list[dict[str, Json]]:
        attacker, previous = asked.liar.attacker, asked.liar.colluder.ref.id
        rotation = KeyRotation(attacker.ref.id, attacker.key.public.fingerprint, previous).payload()
        return [entry_of(attacker, previous, signature(asked, rotation))]

    return entries


def _by_attacker(asked: Asked, rotation: dict[str, Json]) -> Json:
    return part(asked.liar.attacker.signed(Context.KEY_ROTATION, rotation))["signature"]


def _two_heirs(asked: Asked, _: dict[str, Json]) -> list[dict[str, Json]]:
    heirs = []
    for key in (asked.liar.attacker.key, asked.liar.insider_key):
        colluder = asked.liar.colluder
        heir = Hand(key, SignerRef(SignerType.USER, KeyId(new_id())))
        rotation = KeyRotation(heir.ref.id, key.public.fingerprint, colluder.ref.id).payload()
        heirs.append(entry_of(heir, colluder.ref.id, part(colluder.signed(Context.KEY_ROTATION, rotation))["signature"]))
    return heirs


def signed_next(hand: Callable[[Liar], Hand]) -> Edit:
    """Make an edit that signs the next version of a summary by a hand."""

    def edit(asked: Asked, body: dict[str, Json]) -> None:
        resign(body, hand(asked.liar), version=advanced(body))

    return edit


def _detail_next(hand: Callable[[Liar], Hand]) -> Edit:
    def edit(asked: Asked, body: dict[str, Json]) -> None:
        resign(body, hand(asked.liar), DETAIL, version=advanced(body, DETAIL))

    return edit


def _attackers(liar: Liar) -> Hand:
    return liar.attacker


def _insiders(liar: Liar) -> Hand:
    return liar.insider


def _entry(body: dict[str, Json], key_id: str) -> dict[str, Json]:
    return next(part(row) for row in rows(body["signers"]) if part(row)["id"] == key_id)


def status_of(hand: Callable[[Liar], Hand], status: str) -> Edit:
    """Make an edit that serves a signer with this status."""

    def edit(asked: Asked, body: dict[str, Json]) -> None:
        _entry(body, hand(asked.liar).ref.id)["status"] = status

    return edit


def _substitute(asked: Asked, body: dict[str, Json]) -> None:
    # A leaf for the same id and the attacker's key is added to the log, with valid proofs.
    entry = _entry(body, asked.liar.colluder.ref.id)
    attacker = asked.liar.attacker.key.public
    hashes = leaf_hashes(asked, asked.vault_id)
    entry.update({"publicKey": attacker.pem, "fingerprint": attacker.fingerprint, "leafIndex": len(hashes)})
    hashes.append(leaf_of(asked.vault_id, entry))
    prove(body, hashes, asked.since)


def _substitute_in_place(asked: Asked, body: dict[str, Json]) -> None:
    entry = _entry(body, asked.liar.colluder.ref.id)
    attacker = asked.liar.attacker.key.public
    entry.update({"publicKey": attacker.pem, "fingerprint": attacker.fingerprint})
    hashes = leaf_hashes(asked, asked.vault_id)
    hashes[number(entry["leafIndex"])] = leaf_of(asked.vault_id, entry)
    prove(body, hashes, asked.since)


def _signed_as_colluder(asked: Asked, body: dict[str, Json]) -> None:
    resign(body, Hand(asked.liar.attacker.key, asked.liar.colluder.ref), version=advanced(body))


def _invented(asked: Asked) -> Answer:
    """Show a vault of the attacker's own, consistent with itself, beside the true ones."""
    if asked.endpoint is LIST_VAULTS:
        return edit_of(_list_invented, LIST_VAULTS)(asked)
    if asked.incoming.path.get("vault_id") != INVENTED:
        return asked.honest()
    if asked.endpoint is GET_DIRECTORY:
        entry = {**entry_of(asked.liar.attacker), "leafIndex": 0}
        body: dict[str, Json] = {"vaultId": INVENTED, "signers": [entry]}
        prove(body, [leaf_of(INVENTED, entry)], asked.since)
        return Reply(200, body)
    return Reply(200, _invented_listing(asked.liar)) if asked.endpoint is LIST_ITEMS else asked.honest()


def _list_invented(_: Asked, body: dict[str, Json]) -> None:
    unsigned: dict[str, Json] = {"isEncrypted": True, "encryptionKeyId": None, "dataClassification": None, "itemCount": 0}
    rows(body["vaults"]).append({"id": INVENTED, "name": "Invented", "createdAt": timestamp(), **unsigned})


def _invented_listing(liar: Liar) -> dict[str, Json]:
    summary: dict[str, Json] = {
        "vaultId": INVENTED,
        "version": 1,
        "name": "Invented",
        "dataClassification": None,
        "currentDekVersion": 1,
        "items": [],
        "groups": [],
    }
    return {
        "vaultId": INVENTED,
        "vaultName": "Invented",
        "dataClassification": None,
        "currentDekVersion": 1,
        "summaryCheckpoint": liar.attacker.signed(Context.SUMMARY, summary),
        "items": [],
        "vaultItemGroups": [],
        "count": 0,
    }


def _insider_signs(status: str, *, detail: bool = False) -> Lie:
    signed: dict[Endpoint, Edit] = {LIST_ITEMS: signed_next(_insiders)}
    if detail:
        signed = {endpoint: _detail_next(_insiders) for endpoint in (GET_ITEM, GET_FIELD)}
    return editing({GET_DIRECTORY: status_of(_insiders, status), **signed})


def _announced(status: str) -> Lie:
    return edit_of(status_of(_insiders, status), GET_DIRECTORY)


def _after(name: str, description: str, announced: str, lie: Lie) -> Fault:
    """Make a fault about an insider whose end was announced to the client before."""
    return Fault(name, description, lie, prepare=admit_insider, prelude=_announced(announced), remembered=True)


def _directory(name: str, description: str, edit: Edit) -> Fault:
    return Fault(name, description, edit_of(edit, GET_DIRECTORY))


FAULTS: Final = (
    Fault(
        "signer-key-substituted",
        "A known signer's id gets the attacker's key, proven in a grown log, and signs.",
        editing({GET_DIRECTORY: _substitute, LIST_ITEMS: _signed_as_colluder}),
        remembered=True,
    ),
    Fault(
        "signer-key-substituted-in-place",
        "A known signer's id gets the attacker's key, and the log is rewritten around it.",
        editing({GET_DIRECTORY: _substitute_in_place, LIST_ITEMS: _signed_as_colluder}),
        remembered=True,
    ),
    Fault(
        "attacker-signer-added",
        "The attacker's key is added to a known vault, proven in a grown log, and signs its next summary.",
        editing({GET_DIRECTORY: GROWN, LIST_ITEMS: signed_next(_attackers)}),
        remembered=True,
    ),
    Fault(
        "attacker-signer-added-for-details",
        "The attacker's key is added to a known vault, proven in a grown log, and signs its items.",
        editing({GET_DIRECTORY: GROWN, GET_ITEM: _detail_next(_attackers), GET_FIELD: _detail_next(_attackers)}),
        remembered=True,
    ),
    Fault(
        "attacker-signer-unlisted",
        "A key that no directory lists signs the next summary.",
        edit_of(signed_next(_attackers), LIST_ITEMS),
    ),
    Fault(
        "signer-of-an-invented-vault",
        "The attacker's key is shown in an invented vault first, then in a known one, where it signs.",
        editing({GET_DIRECTORY: GROWN, LIST_ITEMS: signed_next(_attackers)}),
        prelude=_invented,
        remembered=True,
    ),
    _directory(
        "attacker-continues-with-own-signature",
        "The attacker's key claims to continue a signer's, and signs that itself.",
        growing(_forged_heir(_by_attacker)),
    ),
    _directory(
        "attacker-continues-without-signature",
        "The attacker's key claims to continue a signer's, and shows no signature.",
        growing(_forged_heir(lambda _, __: None)),
    ),
    _directory("signer-forked", "A signer's key is continued by two others, both validly.", growing(_two_heirs)),
    _after(
        "retired-signer-signs-newer",
        "A signer that was announced as retired signs the next summary.",
        "RETIRED",
        _insider_signs("RETIRED"),
    ),
    _after(
        "retired-status-flipped-back",
        "A signer that was announced as retired is active again, and signs the next summary.",
        "RETIRED",
        _insider_signs("ACTIVE"),
    ),
    _after(
        "retired-signer-signs-newer-detail",
        "A signer that was announced as retired signs the next details.",
        "RETIRED",
        _insider_signs("RETIRED", detail=True),
    ),
    _after("revoked-signer-signs", "A signer that was announced as revoked signs.", "REVOKED", _insider_signs("REVOKED")),
    _after(
        "revoked-status-flipped-back",
        "A signer that was announced as revoked is active again, and signs the next summary.",
        "REVOKED",
        _insider_signs("ACTIVE"),
    ),
    _after(
        "revoked-signer-signs-detail",
        "A signer that was announced as revoked is active again, and signs the next details.",
        "REVOKED",
        _insider_signs("ACTIVE", detail=True),
    ),
    Fault(
        "succeeded-signer-signs-newer",
        "A key that a rotation has retired is active again, and signs the next summary.",
        _insider_signs("ACTIVE"),
        prepare=admit_insider,
        change=_rotate_insider,
        remembered=True,
    ),
)
