"""One value, sealed for one place: it opens there, whole, or not at all."""

from __future__ import annotations

import itertools
import json

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from r4_mcp.core.encoding import b64_encode, compact_json
from r4_mcp.core.envelope import IV_SIZE, MAX_ENVELOPE_SIZE, MAX_VALUE_SIZE, Place, encode_value, open_envelope, seal
from r4_mcp.core.wire import FieldId, FieldInstanceId, ItemId, VaultId
from r4_mcp.errors import EnvelopeError, InvalidArgumentError
from r4_mcp.secret import KnownSecrets, Secret, SecretKind

from .builders import identifier

KNOWN = KnownSecrets()
DEK = KNOWN.octets(bytes(range(32)), SecretKind.DEK)
OTHER_DEK = KNOWN.octets(bytes(range(1, 33)), SecretKind.DEK)
IV = bytes(range(12))
VALUE = "canary-\u00e9\U0001f511-value"
PLACES = [
    Place(
        VaultId(identifier(f"vault {vault}")),
        ItemId(identifier(f"item {item}")),
        FieldId(identifier(f"field {field}")),
        FieldInstanceId(identifier(f"instance {instance}")),
    )
    for vault, item, field, instance in itertools.product((1, 2), repeat=4)
]
HERE = PLACES[0]


def secret(value: str) -> Secret[str]:
    """Make a secret that nothing looks for."""
    return KNOWN.text(value, SecretKind.FIELD, armed=False)


def opened(envelope: str, place: Place = HERE, dek: Secret[bytes] = DEK) -> str:
    """Open an envelope and look inside."""
    return open_envelope(dek, place, envelope, KNOWN, armed=False).reveal()


SEALED = seal(DEK, HERE, secret(VALUE), IV)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.binary(min_size=IV_SIZE, max_size=IV_SIZE))
def test_opening_what_was_sealed_is_identity(value: str, iv: bytes) -> None:
    """Every text comes back unchanged: nothing is trimmed, normalised or cut at a NUL."""
    envelope = seal(DEK, HERE, secret(value), iv)
    assert opened(envelope) == value
    assert list(json.loads(envelope)) == ["v", "iv", "t", "d"]
    assert json.dumps(json.loads(envelope), separators=(",", ":")) == envelope


@pytest.mark.parametrize("value", ["", "\x00", "\ufeff", "\U0010ffff", "e\u0301", " \n"], ids=ascii)
def test_peculiar_texts_come_back_unchanged(value: str) -> None:
    """Empty, NUL, byte order mark, the last code point, decomposed letters, spaces."""
    assert opened(seal(DEK, HERE, secret(value), IV)) == value


def test_every_flipped_bit_is_refused() -> None:
    """No single bit of an envelope can change, in any of its characters."""
    for position, bit in itertools.product(range(len(SEALED)), range(8)):
        changed = SEALED[:position] + chr(ord(SEALED[position]) ^ 1 << bit) + SEALED[position + 1 :]
        with pytest.raises(EnvelopeError):
            opened(changed)


def test_every_replaced_character_is_refused() -> None:
    """No single character of an envelope can change to another that JSON or base64 gives a meaning."""
    for position, character in itertools.product(range(len(SEALED)), 'A/= \\"\u00e9\ud800'):
        if SEALED[position] != character:
            with pytest.raises(EnvelopeError):
                opened(SEALED[:position] + character + SEALED[position + 1 :])


def test_every_prefix_is_refused() -> None:
    """An envelope cut short anywhere does not open."""
    for length in range(len(SEALED)):
        with pytest.raises(EnvelopeError):
            opened(SEALED[:length])


@pytest.mark.parametrize("more", ["\n", " ", "}", "\x00", "{}", SEALED, "\ufeff"], ids=ascii)
def test_anything_around_an_envelope_is_refused(more: str) -> None:
    """Nothing may stand before or after it."""
    for changed in (SEALED + more, more + SEALED):
        with pytest.raises(EnvelopeError):
            opened(changed)


def members() -> dict[str, object]:
    """Return the members of an honest envelope."""
    parsed = json.loads(SEALED)
    assert isinstance(parsed, dict)
    return parsed


REFUSED_FORMS = {
    "version 2": ({"v": 2}, "another version"),
    "version 4": ({"v": 4}, "another version"),
    "version as text": ({"v": "3"}, "v3 form"),
    "version true": ({"v": True}, "v3 form"),
    "version 3.0": ({"v": 3.0}, "v3 form"),
    "an iv of 11 bytes": ({"iv": "AAAAAAAAAAAAAAA="}, "iv size"),
    "an iv of 13 bytes": ({"iv": "AAAAAAAAAAAAAAAAAA=="}, "v3 form"),
    "no iv at all": ({"iv": ""}, "iv size"),
    "a tag of 15 bytes": ({"t": "AAAAAAAAAAAAAAAAAAAA"}, "tag size"),
    "a tag of 17 bytes": ({"t": "AAAAAAAAAAAAAAAAAAAAAAA="}, "v3 form"),
    "a member too many": ({"alg": "none"}, "v3 form"),
    "a null": ({"d": None}, "v3 form"),
    "a list inside": ({"d": ["x"]}, "v3 form"),
    "an escape inside": ({"d": "\u00e9"}, "v3 form"),
}


@pytest.mark.parametrize(("changes", "reason"), REFUSED_FORMS.values(), ids=REFUSED_FORMS.keys())
def test_another_form_is_refused(changes: dict[str, object], reason: str) -> None:
    """Other versions, sizes, members and types are not v3."""
    with pytest.raises(EnvelopeError, match=reason):
        opened(json.dumps({**members(), **changes}, separators=(",", ":")))


@pytest.mark.parametrize("order", [("iv", "v", "t", "d"), ("d", "t", "iv", "v")], ids=str)
def test_another_spelling_of_the_same_content_is_refused(order: tuple[str, ...]) -> None:
    """The same members in another order, or with spaces, are a second spelling, though they would decrypt."""
    for envelope in (
        json.dumps({key: members()[key] for key in order}, separators=(",", ":")),
        json.dumps(members()),
        SEALED.replace('"v"', '"\\u0076"'),
    ):
        with pytest.raises(EnvelopeError, match="second spelling"):
            opened(envelope)


def test_a_ciphertext_opens_in_its_own_place_only() -> None:
    """Of 2 vaults, 2 items, 2 fields and 2 instances, each of 16 envelopes opens in exactly its own place."""
    sealed = {place: seal(DEK, place, secret(repr(place)), IV) for place in PLACES}
    assert len(sealed) == 16
    for (place, envelope), elsewhere in itertools.product(sealed.items(), PLACES):
        if place == elsewhere:
            assert opened(envelope, elsewhere) == repr(place)
        else:
            with pytest.raises(EnvelopeError, match="does not open there"):
                opened(envelope, elsewhere)


def test_exchanged_ids_are_another_place() -> None:
    """Ids are bound by what they name, not by their order."""
    exchanged = Place(HERE.vault_id, HERE.item_id, FieldId(HERE.instance_id), FieldInstanceId(HERE.field_id))
    with pytest.raises(EnvelopeError, match="does not open there"):
        opened(SEALED, exchanged)


def test_another_key_does_not_open() -> None:
    """The vault's own DEK, or none."""
    with pytest.raises(EnvelopeError, match="does not open there"):
        opened(SEALED, dek=OTHER_DEK)


LARGEST = {
    "ASCII": ("x" * MAX_VALUE_SIZE, "x" * (MAX_VALUE_SIZE + 1)),
    "two bytes at the border": ("x" * (MAX_VALUE_SIZE - 2) + "\u00e9", "x" * (MAX_VALUE_SIZE - 1) + "\u00e9"),
    "four bytes at the border": ("x" * (MAX_VALUE_SIZE - 4) + "\U0001f511", "x" * (MAX_VALUE_SIZE - 3) + "\U0001f511"),
    "only long letters": ("\u00e9" * (MAX_VALUE_SIZE // 2), "\u00e9" * (MAX_VALUE_SIZE // 2 + 1)),
}


@pytest.mark.parametrize(("fits", "too_large"), LARGEST.values(), ids=LARGEST.keys())
def test_the_size_limit_counts_bytes_and_is_exact(fits: str, too_large: str) -> None:
    """The largest value round-trips; a byte more is refused before anything is encrypted, and is not quoted."""
    assert opened(seal(DEK, HERE, secret(fits), IV)) == fits
    with pytest.raises(InvalidArgumentError, match="larger than 256 KiB") as refused:
        seal(DEK, HERE, secret(too_large), IV)
    assert len(str(refused.value)) < 100


def test_an_envelope_over_its_limit_is_not_parsed() -> None:
    """The length is decided first, whatever the text is."""
    with pytest.raises(EnvelopeError, match="larger than"):
        opened("x" * (MAX_ENVELOPE_SIZE + 1))
    with pytest.raises(EnvelopeError, match="v3 form"):
        opened("x" * MAX_ENVELOPE_SIZE)


@pytest.mark.parametrize("value", ["\ud800", "canary\udfff", "\udc00\ud800"], ids=ascii)
def test_half_a_surrogate_pair_is_refused_without_being_quoted(value: str) -> None:
    """What UTF-8 can't hold is refused, and no error in the chain carries the value."""
    for attempt in (lambda: encode_value(value), lambda: seal(DEK, HERE, secret(value), IV)):
        with pytest.raises(InvalidArgumentError, match="surrogate pair") as refused:
            attempt()
        assert "canary" not in repr(refused.value)
        assert refused.value.__context__ is None


@pytest.mark.parametrize("iv", [b"", bytes(11), bytes(13), bytes(16)], ids=len)
def test_an_iv_of_another_size_is_a_callers_mistake(iv: bytes) -> None:
    """An IV has twelve bytes."""
    with pytest.raises(ValueError, match="12 bytes"):
        seal(DEK, HERE, secret("x"), iv)


def test_a_value_of_a_secret_field_is_armed() -> None:
    """What was opened for a secret field alarms the egress guard from then on."""
    known = KnownSecrets()
    assert open_envelope(DEK, HERE, SEALED, known, armed=True).reveal() == VALUE
    assert known.armed() == (VALUE,)


def test_a_value_of_a_field_that_is_not_secret_is_never_armed() -> None:
    """With ``armed=False`` nothing is armed, but the value is still a Secret."""
    known = KnownSecrets()
    assert repr(open_envelope(DEK, HERE, SEALED, known, armed=False)) == "<secret>"
    assert known.armed() == ()


def test_a_refused_envelope_arms_nothing() -> None:
    """What did not open was never known."""
    known = KnownSecrets()
    with pytest.raises(EnvelopeError):
        open_envelope(OTHER_DEK, HERE, SEALED, known, armed=True)
    assert known.armed() == ()


def test_a_sealed_value_that_is_no_text_is_refused_without_its_bytes() -> None:
    """Whoever has the key can seal any bytes in the right place; what is not UTF-8 is not a value, and no error carries it."""
    iv = bytes(12)
    sealed = AESGCM(DEK.reveal()).encrypt(iv, b"\xff\xfe canary", HERE.aad())
    envelope = compact_json({"v": 3, "iv": b64_encode(iv), "t": b64_encode(sealed[-16:]), "d": b64_encode(sealed[:-16])})
    with pytest.raises(EnvelopeError, match="not UTF-8") as refused:
        open_envelope(DEK, HERE, envelope, KnownSecrets(), armed=True)
    assert refused.value.__context__ is None
