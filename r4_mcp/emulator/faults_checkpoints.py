"""Lies about signed checkpoints: replayed, forked, stripped, mixed, with odd versions.

What this file does not do: weaken signatures; ``faults_signatures`` does. What is signed here is signed by a real signer of the
vault who works with the service.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from r4_mcp.core.encoding import Json, b64_encode, canonical, compact_json
from r4_mcp.core.signing import SALT_LENGTH, Context, sign
from r4_mcp.core.wire import Signed, read_detail, read_summary
from r4_mcp.emulator.faults_contents import ELSEWHERE
from r4_mcp.emulator.faults_liar import (
    Answer,
    Asked,
    Edit,
    Fault,
    Hand,
    Liar,
    Lie,
    edit_of,
    number,
    part,
    place_of,
    raw_reply,
    rows,
)
from r4_mcp.emulator.item_rows import live_items, replace_detail
from r4_mcp.emulator.refusal import Reply
from r4_mcp.emulator.vault_rows import find_vault, replace_summary
from r4_mcp.machine.contract import (
    ARCHIVE_ITEM,
    CREATE_ITEM,
    GET_FIELD,
    GET_ITEM,
    GET_WRAPPED_KEY,
    LIST_ITEMS,
    Endpoint,
)

SUMMARY: Final = "summaryCheckpoint"
DETAIL: Final = "detailCheckpoint"
CONTEXTS: Final = {SUMMARY: Context.SUMMARY, DETAIL: Context.DETAIL}
CARRIERS: Final = {SUMMARY: (LIST_ITEMS,), DETAIL: (GET_ITEM, GET_FIELD)}
_PLACEHOLDER: Final = "@version@"


def resign(body: dict[str, Json], hand: Hand, member: str = SUMMARY, **changes: Json) -> None:
    """Replace a served checkpoint by a changed one, signed by this hand."""
    checkpoint = {**part(part(body[member])["checkpoint"]), **changes}
    body[member] = hand.signed(CONTEXTS[member], checkpoint)


def advanced(body: dict[str, Json], member: str = SUMMARY) -> int:
    """Return the version after a served checkpoint's."""
    return number(part(part(body[member])["checkpoint"])["version"]) + 1


def next_summaries(liar: Liar, by: Hand | None = None) -> None:
    """Sign the next version of every vault's summary, in the store; nothing else changes."""
    hand = by or liar.colluder
    with liar.store.write() as db:
        for vault_id in liar.vault_ids():
            vault = find_vault(db, vault_id)
            if vault is not None:
                stored = read_summary(vault.summary, "stored summary").checkpoint
                following = replace(stored, version=stored.version + 1)
                replace_summary(db, Signed(following, hand.ref, sign(hand.key, Context.SUMMARY, following.payload())))


def next_details(liar: Liar) -> None:
    """Sign the next version of every item's detail, in the store; nothing else changes."""
    with liar.store.write() as db:
        for vault_id in liar.vault_ids():
            for item in live_items(db, vault_id):
                stored = read_detail(item.detail, "stored detail").checkpoint
                replace_detail(db, liar.custodian.sign_detail(replace(stored, version=stored.version + 1)))


def _next_everything(liar: Liar) -> None:
    next_summaries(liar)
    next_details(liar)


def replaying(*endpoints: Endpoint) -> Lie:
    """Make a lie that answers these endpoints from the tape."""

    def lie(asked: Asked) -> Reply:
        reply = asked.honest()
        return asked.liar.tape.get(place_of(asked), reply) if asked.endpoint in endpoints else reply

    return lie


def _fork_summary(asked: Asked, body: dict[str, Json]) -> None:
    items = rows(body["items"])
    part(items[-1])["websites"] = [ELSEWHERE]
    lines = rows(part(part(body[SUMMARY])["checkpoint"])["items"])
    part(lines[-1])["websites"] = [ELSEWHERE]
    resign(body, asked.liar.colluder)


def _fork_detail(asked: Asked, body: dict[str, Json]) -> None:
    for line in rows(part(part(body[DETAIL])["checkpoint"])["fields"]):
        part(line)["type"] = "URL"
    for field in [body] if asked.endpoint is GET_FIELD else [part(row) for row in rows(body["fields"])]:
        field["type"] = "URL"
    resign(body, asked.liar.colluder, DETAIL)


def _newer_detail(asked: Asked, body: dict[str, Json]) -> None:
    _fork_detail(asked, body)
    resign(body, asked.liar.colluder, DETAIL, version=advanced(body, DETAIL))


def _new_summary(asked: Asked, body: dict[str, Json]) -> None:
    for item in (*rows(body["items"]), *rows(part(part(body[SUMMARY])["checkpoint"])["items"])):
        part(item)["websites"] = [ELSEWHERE]
    resign(body, asked.liar.colluder, version=advanced(body))


def _borrow_summary(asked: Asked, body: dict[str, Json]) -> None:
    other = next(key for key in asked.liar.vault_ids() if key != asked.vault_id)
    body[SUMMARY] = part(asked.instead(vault_id=other).body)[SUMMARY]


def _borrow_detail(asked: Asked, body: dict[str, Json]) -> None:
    own = body["vaultItemId" if asked.endpoint is GET_FIELD else "id"]
    with asked.store.read() as db:
        body[DETAIL] = next(item.detail for item in live_items(db, asked.vault_id) if item.line.id != own)


def _strip(member: str) -> Edit:
    def edit(_: Asked, body: dict[str, Json]) -> None:
        body.pop(member, None)

    return edit


def _strip_all(_: Asked, body: dict[str, Json]) -> None:
    body.pop(SUMMARY, None)
    body.pop(DETAIL, None)


def _null(member: str) -> Edit:
    def edit(_: Asked, body: dict[str, Json]) -> None:
        body[member] = None

    return edit


def _strip_of_newest(asked: Asked, body: dict[str, Json]) -> None:
    with asked.store.read() as db:
        newest = live_items(db, asked.vault_id)[-1].line.id
    if body.get("vaultItemId", body["id"]) == newest:
        body[DETAIL] = None


def _version(member: str, spell: Callable[[int], str]) -> Lie:
    """Serve a checkpoint of a version that is spelled oddly, with a signature that holds for a lax reader."""

    def lie(asked: Asked) -> Answer:
        reply = asked.honest()
        if asked.endpoint not in CARRIERS[member] or not isinstance(reply.body, dict) or member not in reply.body:
            return reply
        envelope = part(reply.body[member])
        checkpoint = part(envelope["checkpoint"])
        spelled = spell(number(checkpoint["version"]))
        forged = {**checkpoint, "version": _PLACEHOLDER}
        # JCS writes 2.0 as 2, so the honest signature of version 2 holds for version 2.0 (RFC 8785 section 3.2.2.3).
        canonical_form = spelled.removesuffix(".0").removesuffix("e0")
        hand = asked.liar.colluder
        signed = CONTEXTS[member].value.encode() + b"\n" + _spelled(canonical(forged), canonical_form)
        pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=SALT_LENGTH)
        signature = b64_encode(hand.key.rsa.sign(signed, pss, hashes.SHA256()))
        body: dict[str, Json] = {
            **reply.body,
            member: {"checkpoint": forged, "signature": signature, **hand.ref.members()},
        }
        return raw_reply(_spelled(compact_json(body).encode(), spelled))

    return lie


def _spelled(raw: bytes, literal: str) -> bytes:
    return raw.replace(f'"{_PLACEHOLDER}"'.encode(), literal.encode())


def _dek_version(spell: Callable[[int], str]) -> Lie:
    def lie(asked: Asked) -> Answer:
        reply = asked.honest()
        if asked.endpoint is not GET_WRAPPED_KEY or not isinstance(reply.body, dict) or "dekVersion" not in reply.body:
            return reply
        spelled = spell(number(reply.body["dekVersion"]))
        return raw_reply(_spelled(compact_json({**reply.body, "dekVersion": _PLACEHOLDER}).encode(), spelled))

    return lie


def _conflict(*, advancing: bool) -> Lie:
    def lie(asked: Asked) -> Reply:
        if asked.endpoint not in {CREATE_ITEM, ARCHIVE_ITEM}:
            return asked.honest()
        if advancing:
            next_summaries(asked.liar)
        return Reply(409, {"error": {"code": "checkpoint_version_conflict", "message": "someone else wrote first"}})

    return lie


SPELLINGS: Final[dict[str, Callable[[int], str]]] = {
    "two-to-53": lambda _: str(2**53),
    "two-to-63": lambda _: str(2**63),
    "negative": lambda _: "-1",
    "zero": lambda _: "0",
    "float": lambda version: f"{version}.0",
    "exponent": lambda version: f"{version}e0",
    "text": lambda version: f'"{version}"',
    "true": lambda _: "true",
    "null": lambda _: "null",
}

FAULTS: Final = (
    Fault(
        "summary-replayed",
        "Item listings are the older ones, with their own honest signatures.",
        replaying(LIST_ITEMS),
        change=next_summaries,
        remembered=True,
    ),
    Fault(
        "detail-replayed",
        "Items and fields are the older ones, with their own honest signatures.",
        replaying(GET_ITEM, GET_FIELD),
        change=_next_everything,
        remembered=True,
    ),
    Fault(
        "everything-replayed",
        "Every read is answered as it was at an earlier time.",
        replaying(LIST_ITEMS, GET_ITEM, GET_FIELD, GET_WRAPPED_KEY),
        change=_next_everything,
        remembered=True,
    ),
    Fault("summary-forked", "A signer signs two summaries of one version.", edit_of(_fork_summary, LIST_ITEMS), remembered=True),
    Fault(
        "detail-forked", "A signer signs two details of one version.", edit_of(_fork_detail, GET_ITEM, GET_FIELD), remembered=True
    ),
    Fault(
        "new-detail-under-old-summary",
        "A signer changes an item's detail while its vault's summary stands still.",
        edit_of(_newer_detail, GET_ITEM, GET_FIELD),
        remembered=True,
    ),
    Fault(
        "new-summary-with-old-detail",
        "A newer summary names other websites than the items' details.",
        edit_of(_new_summary, LIST_ITEMS),
    ),
    Fault("summary-of-another-vault", "A listing carries another vault's honest summary.", edit_of(_borrow_summary, LIST_ITEMS)),
    Fault("detail-of-another-item", "Items carry another item's honest detail.", edit_of(_borrow_detail, GET_ITEM, GET_FIELD)),
    Fault("checkpoints-stripped", "Nothing carries a checkpoint.", edit_of(_strip_all, LIST_ITEMS, GET_ITEM, GET_FIELD)),
    Fault("summary-stripped", "Item listings carry no summary.", edit_of(_strip(SUMMARY), LIST_ITEMS)),
    Fault("summary-nulled", "Item listings carry null for a summary.", edit_of(_null(SUMMARY), LIST_ITEMS)),
    Fault("detail-stripped", "Items and fields carry no detail.", edit_of(_strip(DETAIL), GET_ITEM, GET_FIELD)),
    Fault(
        "detail-stripped-of-one-item",
        "The newest item, and it alone, carries no detail.",
        edit_of(_strip_of_newest, GET_ITEM, GET_FIELD),
    ),
    Fault("conflict-that-never-advances", "Every write is answered 409, and the version stays.", _conflict(advancing=False)),
    Fault("conflict-that-always-advances", "Every write is answered 409, and the version grows.", _conflict(advancing=True)),
    *(
        Fault(f"{word}-version-{name}", f"The {word}'s version is {name.replace('-', ' ')}.", _version(member, spell))
        for word, member in (("summary", SUMMARY), ("detail", DETAIL))
        for name, spell in SPELLINGS.items()
    ),
    *(
        Fault(f"key-version-{name}", f"The wrapped key's version is {name.replace('-', ' ')}.", _dek_version(spell))
        for name, spell in SPELLINGS.items()
    ),
)
