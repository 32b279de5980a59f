"""The signed things of the wire: exactly the contract's form, or refused before any signature is looked at."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r4_mcp.core.encoding import MAX_INT, Json, parse_json
from r4_mcp.core.record import MAX_LIST, MAX_TEXT
from r4_mcp.core.wire import (
    Classification,
    FieldType,
    ItemType,
    KeyId,
    SignerRef,
    SignerType,
    VaultId,
    WrappedKey,
    read_detail,
    read_summary,
    read_wrapped_key,
    signed_envelope,
)
from r4_mcp.errors import CheckpointMissingError, MalformedError

from .builders import VAULT, detail, identifier, summary
from .mutate import OF_EVERY_TYPE, Path, at, members, objects, paths, removed, replaced, spelled
from .test_encoding import JSONS, TEXTS

AGENT: Final = SignerRef(SignerType.AGENT, KeyId(identifier("agent")))
USER: Final = SignerRef(SignerType.USER, KeyId(identifier("user")))
WRAPPED: Final = WrappedKey(VAULT, KeyId(identifier("agent")), USER, 2, "AAAA", "BBBB")

READERS: dict[str, tuple[Callable[[Json, str], object], Json]] = {
    "summary": (read_summary, signed_envelope(replace(summary(), groups=b'[{"any":[1]}]').payload(), USER, "AAAA")),
    "detail": (read_detail, signed_envelope(detail().payload(), AGENT, "AAAA")),
    "wrapped key of a person": (read_wrapped_key, WRAPPED.payload()),
    "wrapped key of an agent": (read_wrapped_key, replace(WRAPPED, signer=AGENT).payload()),
}
FREE: Final = ("checkpoint", "groups")
"""Below here, entries are unpublished: signed and carried, never read."""

MAY_BE_NULL: Final = {"groupId", "dataClassification"}


def is_free(path: Path) -> bool:
    """Whether a path is inside the part that is carried unread."""
    return path[: len(FREE)] == FREE and len(path) > len(FREE)


def cases(found: Callable[[Json], list[Path]]) -> list[Any]:
    """Pair each reader with each path found in its honest value."""
    return [
        pytest.param(read, value, path, id=f"{name}: {spelled(path)}")
        for name, (read, value) in READERS.items()
        for path in found(value)
        if not is_free(path)
    ]


@pytest.mark.parametrize(("read", "value"), READERS.values(), ids=READERS.keys())
def test_the_honest_value_is_read(read: Callable[[Json, str], object], value: Json) -> None:
    """What the tests below bend is accepted as it stands."""
    read(value, "thing")


@pytest.mark.parametrize(("read", "value", "path"), cases(members))
def test_every_member_is_needed(read: Callable[[Json, str], object], value: Json, path: Path) -> None:
    """Without any one member, at any depth, nothing is read."""
    with pytest.raises(MalformedError, match=r"lacks|names 0 signers"):
        read(removed(value, path), "thing")


@pytest.mark.parametrize(("read", "value", "path"), cases(objects))
def test_no_other_member_is_allowed(read: Callable[[Json, str], object], value: Json, path: Path) -> None:
    """A member that the contract does not name, at any depth, is refused and not quoted."""
    with pytest.raises(MalformedError, match=r"has 1 member\(s\) that the contract does not name") as refused:
        read(replaced(value, (*path, "canary"), "canary"), "thing")
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(("read", "value", "path"), cases(lambda value: list(paths(value))))
def test_every_member_has_its_type(read: Callable[[Json, str], object], value: Json, path: Path) -> None:
    """Any other JSON type in any place is refused; true is not an integer, null only where the contract has null."""
    honest = at(value, path)
    for other in OF_EVERY_TYPE:
        allowed = type(other) is type(honest) or (path[-1] in MAY_BE_NULL and (other is None or isinstance(other, str)))
        if not allowed:
            with pytest.raises(MalformedError):
                read(replaced(value, path, other), "thing")


@pytest.mark.parametrize(("read", "value"), READERS.values(), ids=READERS.keys())
@pytest.mark.parametrize("other", [True, 7, "text", [], {}], ids=repr)
def test_only_an_object_is_read(read: Callable[[Json, str], object], value: Json, other: Json) -> None:
    """Another JSON type in place of the whole is refused."""
    assert isinstance(value, dict)
    with pytest.raises(MalformedError):
        read(other, "thing")


def test_an_absent_checkpoint_has_its_own_class() -> None:
    """Null is not malformed: the service has none, and that is judged elsewhere."""
    for read in (read_summary, read_detail):
        with pytest.raises(CheckpointMissingError, match="is absent"):
            read(None, "checkpoint")
    with pytest.raises(MalformedError, match="not an object"):
        read_wrapped_key(None, "wrapped key")


VERSIONS: Final = ["0", "-1", "-0", "9007199254740992", "1.0", "1e0", '"1"', "true", "null", "[1]", "9223372036854775808"]
VERSION_PATHS: dict[str, tuple[str, Path]] = {
    "summary version": ("summary", ("checkpoint", "version")),
    "summary DEK version": ("summary", ("checkpoint", "currentDekVersion")),
    "detail version": ("detail", ("checkpoint", "version")),
    "wrapped DEK version": ("wrapped key of a person", ("dekVersion",)),
}


def with_number(value: Json, path: Path, number: str) -> bytes:
    """Return the JSON bytes of a value with a number spelled as given."""
    return json.dumps(replaced(value, path, "the number")).replace('"the number"', number).encode()


@pytest.mark.parametrize("number", VERSIONS)
@pytest.mark.parametrize(("reader", "path"), VERSION_PATHS.values(), ids=VERSION_PATHS.keys())
def test_a_version_is_a_bounded_whole_number(reader: str, path: Path, number: str) -> None:
    """Anything that is not a plain integer from 1 to 2^53-1 is refused, from the bytes on."""
    read, value = READERS[reader]
    with pytest.raises(MalformedError):
        read(parse_json(with_number(value, path, number), what="thing"), "thing")
    read(parse_json(with_number(value, path, str(MAX_INT)), what="thing"), "thing")


IDS_REFUSED: Final = ["", "a" * 23, "a" * 25, "A" * 24, "g" * 24, "a" * 23 + "\n", "a" * 24 + "\n", "\u0661" * 24, "../" * 8]
ID_MEMBERS: Final = {
    "id",
    "vaultId",
    "vaultItemId",
    "encryptionKeyId",
    "signerUserKeyPairId",
    "signerEncryptionKeyId",
}


@pytest.mark.parametrize(("read", "value", "path"), cases(lambda v: [p for p in members(v) if p[-1] in ID_MEMBERS]))
def test_an_id_is_24_lowercase_hex_characters(read: Callable[[Json, str], object], value: Json, path: Path) -> None:
    """Every id, in every place: no other length, alphabet or case, and no path in disguise."""
    for text in IDS_REFUSED:
        with pytest.raises(MalformedError, match="24 lowercase hex"):
            read(replaced(value, path, text), "thing")


@pytest.mark.parametrize(
    ("read", "value", "path"),
    cases(lambda v: [p for p in members(v) if p[-1] in {"type", "dataClassification", "signerType"}]),
)
def test_a_closed_set_is_closed(read: Callable[[Json, str], object], value: Json, path: Path) -> None:
    """A type or classification that the contract does not list is refused, in any case but its own."""
    for text in ("OTHER", "", str(at(value, path)).lower()):
        with pytest.raises(MalformedError, match="is not one of"):
            read(replaced(value, path, text), "thing")


def doubled(value: Json, path: Path) -> Json:
    """Return the value with the first entry of a list repeated at its end."""
    entries = at(value, path)
    assert isinstance(entries, list)
    return replaced(value, path, [*entries, entries[0]])


REPEATS: dict[str, tuple[str, Path, str]] = {
    "an item": ("summary", ("checkpoint", "items"), "lists an item twice"),
    "a field": ("detail", ("checkpoint", "fields"), "lists a field twice"),
    "a field instance": ("detail", ("checkpoint", "fields", 1, "fieldInstanceIds"), "list of distinct ids"),
}


@pytest.mark.parametrize(("reader", "path", "reason"), REPEATS.values(), ids=REPEATS.keys())
def test_nothing_is_listed_twice(reader: str, path: Path, reason: str) -> None:
    """A repeated id would let one line hide another."""
    read, value = READERS[reader]
    with pytest.raises(MalformedError, match=reason):
        read(doubled(value, path), "thing")


def test_exactly_one_signer_is_named() -> None:
    """Both members at once are refused, and a signerType that contradicts the member."""
    for name in ("summary", "detail"):
        read, value = READERS[name]
        assert isinstance(value, dict)
        with pytest.raises(MalformedError, match="names 2 signers instead of one"):
            read({**value, **AGENT.members(), **USER.members()}, "thing")
    with pytest.raises(MalformedError, match="lacks signerEncryptionKeyId"):
        read_wrapped_key({**WRAPPED.payload(), "signerType": "AGENT_ENCRYPTION_KEY"}, "thing")


def test_texts_and_lists_have_limits() -> None:
    """The longest text and the longest list are read; one more is refused before its entries are looked at."""
    value = signed_envelope(summary().payload(), USER, "AAAA")
    name, items = ("checkpoint", "name"), ("checkpoint", "items")
    assert read_summary(replaced(value, name, "x" * MAX_TEXT), "thing").checkpoint.name == "x" * MAX_TEXT
    with pytest.raises(MalformedError, match="at most 65536 characters"):
        read_summary(replaced(value, name, "x" * (MAX_TEXT + 1)), "thing")
    with pytest.raises(MalformedError, match="at most 100000 entries"):
        read_summary(replaced(value, items, [None] * (MAX_LIST + 1)), "thing")
    with pytest.raises(MalformedError, match="a list of strings"):
        read_summary(replaced(value, (*items, 0, "websites"), ["x" * (MAX_TEXT + 1)]), "thing")


ids = st.binary(min_size=12, max_size=12).map(bytes.hex)
whole = st.integers(1, MAX_INT)
item_lines = st.fixed_dictionaries(
    {
        "id": ids,
        "name": TEXTS,
        "type": st.sampled_from([kind.value for kind in ItemType]),
        "websites": st.lists(TEXTS, max_size=2),
        "groupId": st.none() | TEXTS,
    }
)
field_lines = st.fixed_dictionaries(
    {
        "id": ids,
        "name": TEXTS,
        "type": st.sampled_from([kind.value for kind in FieldType]),
        "order": st.integers(0, MAX_INT),
        "fieldInstanceIds": st.lists(ids, max_size=3, unique=True),
        "assetIds": st.lists(TEXTS, max_size=2),
    }
)
summaries = st.fixed_dictionaries(
    {
        "vaultId": ids,
        "version": whole,
        "name": TEXTS,
        "dataClassification": st.none() | st.sampled_from([kind.value for kind in Classification]),
        "currentDekVersion": whole,
        "items": st.lists(item_lines, max_size=3, unique_by=lambda line: str(line["id"])),
        "groups": st.lists(JSONS, max_size=2),
    }
)
details = st.fixed_dictionaries(
    {
        "vaultItemId": ids,
        "vaultId": ids,
        "version": whole,
        "name": TEXTS,
        "type": st.sampled_from([kind.value for kind in ItemType]),
        "websites": st.lists(TEXTS, max_size=2),
        "groupId": st.none() | TEXTS,
        "fields": st.lists(field_lines, max_size=3, unique_by=lambda line: str(line["id"])),
    }
)
refs = st.builds(SignerRef, st.sampled_from(SignerType), ids.map(KeyId))


@given(summaries, details, refs)
@settings(max_examples=60)
def test_reading_a_checkpoint_and_writing_it_is_identity(
    summary_payload: dict[str, Json], detail_payload: dict[str, Json], signer: SignerRef
) -> None:
    """The payload that a signature covers is what was served, whatever it holds."""
    read = read_summary(signed_envelope(summary_payload, signer, "AAAA"), "thing")
    assert (read.checkpoint.payload(), read.signer, read.signature) == (summary_payload, signer, "AAAA")
    found = read_detail(signed_envelope(detail_payload, signer, "AAAA"), "thing")
    assert (found.checkpoint.payload(), found.signer, found.signature) == (detail_payload, signer, "AAAA")


@given(st.builds(WrappedKey, ids.map(VaultId), ids.map(KeyId), refs, whole, TEXTS, TEXTS))
@settings(max_examples=60)
def test_reading_a_wrapped_key_and_writing_it_is_identity(entry: WrappedKey) -> None:
    """The entry is what was served; its signature covers every member but itself."""
    read = read_wrapped_key(entry.payload(), "thing")
    assert read == entry
    assert read.payload() == {**read.signed_payload(), "wrappedDekSignature": entry.signature}
    assert len(read.signed_payload()) == 6


def test_secret_fields_are_those_of_the_contract() -> None:
    """PASSWORD, SECRET and TOTP; no other."""
    assert {kind.value for kind in FieldType if kind.is_secret} == {"PASSWORD", "SECRET", "TOTP"}
