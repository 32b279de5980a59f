"""Values that are hostile in themselves: sealed as they should be, and not what a reader expects inside.

What this file does not do: lie about anything that is signed. Who may write in a vault may store any of these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from r4_mcp.core.encoding import b64_encode, compact_json
from r4_mcp.core.envelope import ENVELOPE_VERSION, TAG_SIZE
from r4_mcp.core.wire import FieldType, read_detail
from r4_mcp.emulator.custody import prove_vault
from r4_mcp.emulator.faults_liar import Event, Fault, Liar
from r4_mcp.emulator.fresh import new_iv
from r4_mcp.emulator.item_rows import find_item, sealed_instances
from r4_mcp.secret import Secret

from .vaults import HOSTILE, name_of

Rewrite = Callable[[str], bytes]


def rewriting(choose: Callable[[str, FieldType], Rewrite | None]) -> Event:
    """Return the event that seals other octets into fields, in their places.

    Args:
        choose: Name of the item and type of the field → how octets are made from its value; None to leave it.
    """

    def event(liar: Liar) -> None:
        with liar.store.write() as db:
            for vault_id in liar.vault_ids():
                dek = liar.custodian.open_dek(db, prove_vault(db, vault_id))
                for one in sealed_instances(db, vault_id):
                    item = find_item(db, vault_id, one.place.item_id)
                    assert item is not None
                    detail = read_detail(item.detail, "stored detail").checkpoint
                    field = next(line for line in detail.fields if line.id == one.place.field_id)
                    rewrite = choose(detail.name, field.type)
                    if rewrite is not None:
                        # reveal: the operator's own value, made into another one.
                        value = rewrite(liar.custodian.open_value(dek, one).reveal())
                        envelope = _seal(dek.key, value, one.place.aad())
                        db.execute("UPDATE field_instances SET envelope = ? WHERE id = ?", (envelope, one.place.instance_id))

    return event


def _seal(dek: Secret[bytes], value: bytes, aad: bytes) -> str:
    # By hand: the product's own seal refuses what is not text.
    iv = new_iv()
    # reveal: seen by the cipher only.
    sealed = AESGCM(dek.reveal()).encrypt(iv, value, aad)
    tag, body = b64_encode(sealed[-TAG_SIZE:]), b64_encode(sealed[:-TAG_SIZE])
    return compact_json({"v": ENVELOPE_VERSION, "iv": b64_encode(iv), "t": tag, "d": body})


def _hostile(name: str, description: str, kind: FieldType, rewrite: Rewrite) -> tuple[Fault, FieldType]:
    def choose(item: str, field: FieldType) -> Rewrite | None:
        return rewrite if (item, field) == (name_of(HOSTILE), kind) else None

    return Fault(name, description, None, prepare=rewriting(choose)), kind


VALUES: Final = (
    _hostile("value-not-utf-8", "A value is not text.", FieldType.PASSWORD, lambda value: value.encode() + b"\xff"),
    _hostile("value-half-a-pair", "A value holds half a pair.", FieldType.TEXT, lambda value: value.encode() + b"\xed\xa0\x80"),
    _hostile("seed-not-base32", "A seed is none.", FieldType.TOTP, lambda value: f"{value}-1".encode()),
    _hostile(
        "seed-with-99-digits",
        "A seed is in a URI that asks for 99 digits.",
        FieldType.TOTP,
        lambda value: f"otpauth://totp/a?secret={value}&digits=99".encode(),
    ),
    _hostile(
        "seed-in-a-broken-uri",
        "A seed is in a URI that can't be parsed.",
        FieldType.TOTP,
        lambda value: f"otpauth://[{value}/a?secret={value}".encode(),
    ),
    _hostile(
        "seed-in-a-uri",
        "A seed is in a URI, as authenticators write it.",
        FieldType.TOTP,
        lambda value: f"otpauth://totp/a?secret={value}&digits=8".encode(),
    ),
)
"""Each with the type of the field that it is in."""
