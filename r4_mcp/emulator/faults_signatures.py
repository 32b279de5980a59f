"""Lies about signatures: for another purpose, with other parameters, by another key, in an envelope that is not exact.

What this file does not do: change what is signed, but where an envelope's form is the lie.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from r4_mcp.core.encoding import Json, b64_decode, b64_encode, canonical
from r4_mcp.core.signing import SALT_LENGTH, Context, sign, signed_bytes
from r4_mcp.emulator.faults_checkpoints import CARRIERS, CONTEXTS, DETAIL, SUMMARY
from r4_mcp.emulator.faults_liar import Asked, Edit, Fault, Hand, edit_of, part, text
from r4_mcp.emulator.fresh import new_id

_Sign = Callable[[Hand, bytes], bytes]


def _padded(scheme: padding.AsymmetricPadding, algorithm: hashes.HashAlgorithm) -> _Sign:
    def signature(hand: Hand, covered: bytes) -> bytes:
        return hand.key.rsa.sign(covered, scheme, algorithm)

    return signature


def _pss(salt: int, mask: hashes.HashAlgorithm | None = None) -> padding.PSS:
    return padding.PSS(mgf=padding.MGF1(mask or hashes.SHA256()), salt_length=salt)


def _weak(make: _Sign) -> Edit:
    """Sign the same summary again, by a real signer, in another way."""

    def edit(asked: Asked, body: dict[str, Json]) -> None:
        hand = asked.liar.colluder
        checkpoint = part(part(body[SUMMARY])["checkpoint"])
        signature = b64_encode(make(hand, signed_bytes(Context.SUMMARY, checkpoint)))
        body[SUMMARY] = {"checkpoint": checkpoint, "signature": signature, **hand.ref.members()}

    return edit


def _for_another_purpose(member: str, context: Context) -> Edit:
    def edit(asked: Asked, body: dict[str, Json]) -> None:
        body[member] = asked.liar.colluder.signed(context, part(part(body[member])["checkpoint"]))

    return edit


def _without_context(asked: Asked, body: dict[str, Json]) -> None:
    hand = asked.liar.colluder
    checkpoint = part(part(body[SUMMARY])["checkpoint"])
    signature = hand.key.rsa.sign(canonical(checkpoint), _pss(SALT_LENGTH), hashes.SHA256())
    body[SUMMARY] = {"checkpoint": checkpoint, "signature": b64_encode(signature), **hand.ref.members()}


def _by_attacker(member: str) -> Edit:
    def edit(asked: Asked, body: dict[str, Json]) -> None:
        envelope = part(body[member])
        envelope["signature"] = sign(asked.liar.attacker.key, CONTEXTS[member], part(envelope["checkpoint"]))

    return edit


def _changed(change: Callable[[str], str]) -> Edit:
    def edit(_: Asked, body: dict[str, Json]) -> None:
        envelope = part(body[SUMMARY])
        envelope["signature"] = change(text(envelope["signature"]))

    return edit


def _flip(signature: str) -> str:
    raw = bytearray(b64_decode(signature, what="signature", max_size=1024))
    raw[-1] ^= 1
    return b64_encode(bytes(raw))


def _unsigned_change(_: Asked, body: dict[str, Json]) -> None:
    # Listing and checkpoint agree, so that only the signature can tell.
    part(part(body[SUMMARY])["checkpoint"])["name"] = body["vaultName"] = "Harmless"


def _envelope(change: Callable[[dict[str, Json]], None]) -> Edit:
    def edit(_: Asked, body: dict[str, Json]) -> None:
        change(part(body[SUMMARY]))

    return edit


def _checkpoint(change: Callable[[dict[str, Json]], None]) -> Edit:
    """Change the members of a summary, and sign it as it is then."""

    def edit(asked: Asked, body: dict[str, Json]) -> None:
        checkpoint = dict(part(part(body[SUMMARY])["checkpoint"]))
        change(checkpoint)
        body[SUMMARY] = asked.liar.colluder.signed(Context.SUMMARY, checkpoint)

    return edit


def _drop(key: str) -> Callable[[dict[str, Json]], None]:
    def change(members: dict[str, Json]) -> None:
        members.pop(key, None)

    return change


def _put(key: str, value: Json) -> Callable[[dict[str, Json]], None]:
    def change(members: dict[str, Json]) -> None:
        members[key] = value

    return change


def _name_two(members: dict[str, Json]) -> None:
    members.update({"signerUserKeyPairId": new_id(), "signerEncryptionKeyId": new_id()})


def _name_none(members: dict[str, Json]) -> None:
    members.pop("signerUserKeyPairId", None)
    members.pop("signerEncryptionKeyId", None)


def _name_as_agent(members: dict[str, Json]) -> None:
    members["signerEncryptionKeyId"] = members.pop("signerUserKeyPairId", None)


_EDITS: Final[tuple[tuple[str, str, Edit], ...]] = (
    ("signature-flipped", "The summary's signature has one bit flipped.", _changed(_flip)),
    ("signature-empty", "The summary's signature is empty.", _changed(lambda _: "")),
    ("signature-respelled", "The summary's signature is base64 with a line break.", _changed(lambda text_: text_ + "\n")),
    ("summary-altered", "The summary is changed under its old signature.", _unsigned_change),
    ("summary-signed-by-attacker", "The attacker signs the summary in a known signer's name.", _by_attacker(SUMMARY)),
    ("detail-signature-as-summary", "The summary is signed as a detail.", _for_another_purpose(SUMMARY, Context.DETAIL)),
    (
        "wrapped-key-signature-as-summary",
        "The summary is signed as a wrapped key.",
        _for_another_purpose(SUMMARY, Context.WRAPPED_DEK),
    ),
    ("signature-without-context", "The summary is signed without its purpose.", _without_context),
    ("signature-salt-none", "The summary's PSS signature has no salt.", _weak(_padded(_pss(0), hashes.SHA256()))),
    ("signature-salt-20", "The summary's PSS salt has 20 bytes.", _weak(_padded(_pss(20), hashes.SHA256()))),
    ("signature-salt-max", "The summary's PSS salt is as long as it can be.", _weak(_padded(_pss(222), hashes.SHA256()))),
    (
        "signature-mgf-sha1",
        "The summary's PSS mask is made with SHA-1.",
        _weak(_padded(_pss(32, hashes.SHA1()), hashes.SHA256())),  # noqa: S303 - the lie itself
    ),
    ("signature-sha512", "The summary is signed over SHA-512.", _weak(_padded(_pss(32), hashes.SHA512()))),
    ("signature-pkcs1", "The summary is signed with PKCS #1 v1.5.", _weak(_padded(padding.PKCS1v15(), hashes.SHA256()))),
    ("envelope-member-missing", "The summary's envelope lacks its signature.", _envelope(_drop("signature"))),
    ("envelope-member-unknown", "The summary's envelope names an algorithm.", _envelope(_put("alg", "none"))),
    ("envelope-names-two-signers", "The summary names a person and an agent.", _envelope(_name_two)),
    ("envelope-names-no-signer", "The summary names nobody.", _envelope(_name_none)),
    ("envelope-names-another-kind", "The summary names a person's key as an agent's.", _envelope(_name_as_agent)),
    ("checkpoint-member-missing", "A signed summary lacks its groups.", _checkpoint(_drop("groups"))),
    ("checkpoint-member-unknown", "A signed summary has a member more.", _checkpoint(_put("owner", "attacker"))),
)

FAULTS: Final = (
    *(Fault(name, description, edit_of(edit, *CARRIERS[SUMMARY])) for name, description, edit in _EDITS),
    Fault(
        "detail-signed-by-attacker",
        "The attacker signs details in a known signer's name.",
        edit_of(_by_attacker(DETAIL), *CARRIERS[DETAIL]),
    ),
    Fault(
        "summary-signature-as-detail",
        "Details are signed as summaries.",
        edit_of(_for_another_purpose(DETAIL, Context.SUMMARY), *CARRIERS[DETAIL]),
    ),
)
