"""Sync pages and search results: read strictly, believed not at all, and proven like what was fetched alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from r4_mcp.core.checkpoint import ProvenSummary, advance_item, advance_items, advance_summary
from r4_mcp.core.directory import Directory, advance
from r4_mcp.core.encoding import Json
from r4_mcp.core.served import read_environment_fields
from r4_mcp.core.sync import MAX_RESULTS, MAX_VAULTS, Matched, SearchResult, SyncedVault, SyncPage, read_search, read_sync_page
from r4_mcp.core.trust import VaultTrust
from r4_mcp.core.wire import KeyId, SignerRef, SignerType, WrappedKey, signed_envelope
from r4_mcp.errors import CheckpointMissingError, DisagreementError, MalformedError

from .builders import (
    FIELDS,
    ITEM,
    ITEMS,
    OTHER_VAULT,
    SECRET_FIELD,
    TOFU,
    VAULT,
    Parties,
    detail,
    directory_json,
    first_met,
    identifier,
    signed_detail,
    signed_summary,
    summary,
)
from .mutate import OF_EVERY_TYPE, Path, at, members, objects, paths, removed, replaced, spelled
from .test_served import DETAIL, VAULT_LINE, Reader, directory_value

SIGNER: Final = SignerRef(SignerType.USER, KeyId(identifier("user")))
GONE: Final = identifier("gone")

BARE_ITEM: dict[str, Json] = {
    **ITEMS[0].payload(),
    "vaultId": VAULT,
    "fields": [line.payload() for line in FIELDS],
    "detailCheckpoint": DETAIL,
}
SYNCED: dict[str, Json] = {
    "vault": VAULT_LINE,
    "wrappedKey": WrappedKey(VAULT, SIGNER.id, SIGNER, 1, "AAAA", "AAAA").payload(),
    "directory": directory_value(),
    "summaryCheckpoint": signed_envelope(summary().payload(), SIGNER, "AAAA"),
    "items": [BARE_ITEM],
}
PAGE: dict[str, Json] = {
    "cursor": "12-34-0123456789abcdef",
    "more": True,
    "full": False,
    "vaults": [SYNCED],
    "removedVaultIds": [OTHER_VAULT],
    "removedItems": [{"vaultId": VAULT, "itemId": GONE}],
}
RESULT: dict[str, Json] = {"vaultId": VAULT, "itemId": ITEM, "fieldId": None, "matched": "item"}
SEARCH: dict[str, Json] = {
    "results": [
        RESULT,
        {**RESULT, "itemId": None, "matched": "vault"},
        {**RESULT, "fieldId": SECRET_FIELD, "matched": "field"},
        {**RESULT, "matched": "website"},
    ]
}
EXPORTED: dict[str, Json] = {
    **FIELDS[1].payload(),
    "value": "an envelope",
    "fieldInstanceId": FIELDS[1].instance_ids[-1],
    "vaultId": VAULT,
    "vaultItemId": ITEM,
    "vaultItemName": ITEMS[0].name,
    "isEnvironmentVariable": True,
    "detailCheckpoint": DETAIL,
}
ENVIRONMENT: dict[str, Json] = {"vaultId": VAULT, "fields": [EXPORTED], "count": 1}

ABSENT: Final = frozenset({"summaryCheckpoint", "detailCheckpoint", "wrappedKey"})
PROVEN_ELSEWHERE: Final = ABSENT | {"directory"}
"""What is read by readers with tests of their own; here only whether it is there."""

READERS: Final = {
    "sync page": Reader(read_sync_page, PAGE, frozenset({"dataClassification", "groupId"}), ABSENT | {"groupId"}),
    "search": Reader(read_search, SEARCH, frozenset({"itemId", "fieldId"})),
    "environment fields": Reader(
        read_environment_fields,
        ENVIRONMENT,
        frozenset({"fieldInstanceId", "value"}),
        frozenset({"value", "detailCheckpoint"}),
    ),
}


def cases(found: Callable[[Json], list[Path]]) -> list[Any]:
    """Pair each reader with each path of its value, what is inside signed things and directories left to their own tests."""
    return [
        pytest.param(reader, path, id=f"{name}: {spelled(path)}")
        for name, reader in READERS.items()
        for path in found(reader.value)
        if not PROVEN_ELSEWHERE & set(path[:-1])
    ]


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS.keys())
def test_the_honest_value_is_read(reader: Reader) -> None:
    """What the tests below bend is accepted as it stands; another type in place of it all is not."""
    reader.read(reader.value)
    for other in OF_EVERY_TYPE[:-1]:
        with pytest.raises(MalformedError):
            reader.read(other)


@pytest.mark.parametrize(("reader", "path"), cases(members))
def test_every_member_that_is_used_is_needed(reader: Reader, path: Path) -> None:
    """Without any one member nothing is read, unless its absence means null."""
    if path[-1] in reader.optional:
        assert reader.read(removed(reader.value, path)) == reader.read(replaced(reader.value, path, None))
        return
    with pytest.raises(MalformedError, match=r"lacks|is not"):
        reader.read(removed(reader.value, path))


@pytest.mark.parametrize(("reader", "path"), cases(lambda value: list(paths(value))))
def test_every_member_that_is_used_has_its_type(reader: Reader, path: Path) -> None:
    """Any other JSON type in any place is refused."""
    honest = at(reader.value, path)
    for other in OF_EVERY_TYPE:
        may_be_null = path[-1] in reader.nullable | ABSENT and (other is None or isinstance(other, str))
        if not may_be_null and type(other) is not type(honest):
            with pytest.raises(MalformedError):
                reader.read(replaced(reader.value, path, other))


@pytest.mark.parametrize(("reader", "path"), cases(objects))
def test_a_member_that_is_not_used_is_copied_nowhere(reader: Reader, path: Path) -> None:
    """A service that adds a member breaks nothing, and its text appears nowhere in what was read; signed things are strict."""
    with_more = replaced(reader.value, (*path, "canary-name"), {"canary": ["canary"]})
    if ABSENT & set(path):
        with pytest.raises(MalformedError, match="the contract does not name"):
            reader.read(with_more)
        return
    assert reader.read(with_more) == reader.read(reader.value)
    assert "canary" not in repr(reader.read(with_more))


def test_a_value_that_comes_with_a_synced_item_is_not_read() -> None:
    """Sync is about make-up: an envelope in it is dropped, whatever it is."""
    page = read_sync_page(replaced(PAGE, ("vaults", 0, "items", 0, "fields", 1, "value"), "canary"))
    assert page == read_sync_page(PAGE)
    assert {field.envelope for field in page.vaults[0].items[0].fields} == {None}


MANY_VAULTS: Final[list[Json]] = [
    {**SYNCED, "vault": {**VAULT_LINE, "id": identifier(f"vault {number}")}, "wrappedKey": None, "items": []}
    for number in range(MAX_VAULTS + 1)
]
"""Each another one, so that only their number is wrong."""
ITEMS_AT: Final = ("vaults", 0, "items")
REFUSED: dict[str, tuple[str, Path, Json]] = {
    "a vault that is told twice": ("sync page", ("vaults",), [SYNCED, SYNCED]),
    "a vault that is told and removed": ("sync page", ("removedVaultIds",), [VAULT]),
    "a vault that is removed twice": ("sync page", ("removedVaultIds",), [OTHER_VAULT, OTHER_VAULT]),
    "an item that is told twice": ("sync page", ITEMS_AT, [BARE_ITEM, BARE_ITEM]),
    "an item that is told and removed": ("sync page", ("removedItems", 0, "itemId"), ITEM),
    "an item that is removed twice": ("sync page", ("removedItems",), [{"vaultId": VAULT, "itemId": GONE}] * 2),
    "a removed vault that is no id": ("sync page", ("removedVaultIds",), ["canary"]),
    "a removed item that is no id": ("sync page", ("removedItems", 0, "itemId"), "canary"),
    "too many vaults": ("sync page", ("vaults",), MANY_VAULTS),
    "an empty cursor": ("sync page", ("cursor",), ""),
    "a cursor with a space": ("sync page", ("cursor",), "canary canary"),
    "a cursor with a line break at its end": ("sync page", ("cursor",), "canary\n"),
    "a cursor beyond ASCII": ("sync page", ("cursor",), "canary\N{SNOWMAN}"),
    "a cursor that is too long": ("sync page", ("cursor",), "x" * 513),
    "an unknown kind of match": ("search", ("results", 0, "matched"), "value"),
    "an item result without an item": ("search", ("results", 0, "itemId"), None),
    "an item result with a field": ("search", ("results", 0, "fieldId"), SECRET_FIELD),
    "a vault result with an item": ("search", ("results", 1, "itemId"), ITEM),
    "a field result without a field": ("search", ("results", 2, "fieldId"), None),
    "a website result with a field": ("search", ("results", 3, "fieldId"), SECRET_FIELD),
    "a result of no vault": ("search", ("results", 0, "vaultId"), "canary"),
    "too many results": ("search", ("results",), [RESULT] * (MAX_RESULTS + 1)),
    "a field that is not marked": ("environment fields", ("fields", 0, "isEnvironmentVariable"), False),
    "a field that comes twice": ("environment fields", ("fields",), [EXPORTED, EXPORTED]),
    "a count that is too small": ("environment fields", ("count",), 0),
}


@pytest.mark.parametrize(("name", "path", "value"), REFUSED.values(), ids=REFUSED.keys())
def test_a_value_out_of_range_is_refused(name: str, path: Path, value: Json) -> None:
    """Right in type, wrong in content: refused, and not quoted."""
    with pytest.raises(MalformedError) as refused:
        READERS[name].read(replaced(READERS[name].value, path, value))
    assert "canary" not in str(refused.value)


def test_a_field_that_comes_twice_is_refused_whatever_the_count() -> None:
    """The count is right, and the field is still there twice."""
    twice: dict[str, Json] = {**ENVIRONMENT, "fields": [EXPORTED, EXPORTED], "count": 2}
    with pytest.raises(MalformedError, match="twice"):
        read_environment_fields(twice)


def test_what_is_read_is_what_was_served() -> None:
    """The values of the honest answers, in their places."""
    page = read_sync_page(PAGE)
    assert (page.cursor, page.more, page.full) == ("12-34-0123456789abcdef", True, False)
    assert (page.removed_vaults, page.removed_items) == ((OTHER_VAULT,), ((VAULT, GONE),))
    (synced,) = page.vaults
    assert (synced.vault.id, synced.directory.vault_id) == (VAULT, VAULT)
    assert synced.wrapped_key is not None
    assert synced.wrapped_key.recipient == SIGNER.id
    assert [item.line for item in synced.items] == [ITEMS[0]]
    assert tuple(field.line for field in synced.items[0].fields) == FIELDS
    assert read_sync_page({**PAGE, "vaults": [{**SYNCED, "wrappedKey": None}]}).vaults[0].wrapped_key is None
    first, second, third, fourth = read_search(SEARCH)
    assert first == SearchResult(VAULT, ITEM, None, Matched.ITEM)
    assert (second.item_id, second.matched) == (None, Matched.VAULT)
    assert (third.field_id, third.matched) == (SECRET_FIELD, Matched.FIELD)
    assert (fourth.item_id, fourth.matched) == (ITEM, Matched.WEBSITE)
    vault_id, fields = read_environment_fields(ENVIRONMENT)
    assert (vault_id, [(field.item_id, field.field.envelope) for field in fields]) == (VAULT, [(ITEM, "an envelope")])


def page_of(parties: Parties, *items: int) -> SyncPage:
    """Serve a signed page of the vault of these tests with some of its two items."""
    signed = signed_summary(parties.human, summary())
    told: list[Json] = []
    for number in items:
        covering = signed_detail(parties.human, detail(item=ITEMS[number], fields=FIELDS if number == 0 else ()))
        told.append(
            {
                **ITEMS[number].payload(),
                "vaultId": VAULT,
                "fields": [line.payload() for line in covering.checkpoint.fields],
                "detailCheckpoint": signed_envelope(covering.checkpoint.payload(), covering.signer, covering.signature),
            }
        )
    synced: dict[str, Json] = {
        "vault": {"id": VAULT, "name": "Production", "dataClassification": "INTERNAL", "itemCount": 2},
        "wrappedKey": None,
        "directory": directory_json(first_met(parties)),
        "summaryCheckpoint": signed_envelope(signed.checkpoint.payload(), signed.signer, signed.signature),
        "items": told,
    }
    return read_sync_page({**PAGE, "vaults": [synced], "removedItems": []})


def test_a_page_is_proven_like_what_was_fetched_alone(parties: Parties) -> None:
    """Directory, listing and items hold by the rules of their own; the fields are counted from what came."""
    (synced,) = page_of(parties, 0, 1).vaults
    state, directory = advance(VaultTrust(), synced.directory, VAULT, TOFU)
    state, proven = advance_summary(state, synced.listing(synced.items), directory)
    assert dict(proven.field_counts) == {ITEMS[0].id: 3, ITEMS[1].id: 0}
    for item in synced.items:
        state, _, fields = advance_item(state, item, item.line.id, proven, directory)
        assert len(fields) == len(item.fields)
    assert set(state.details) == {item.id for item in ITEMS}


def met(synced: SyncedVault) -> tuple[VaultTrust, ProvenSummary, Directory]:
    """Prove what an item of a page is proven against."""
    state, directory = advance(VaultTrust(), synced.directory, VAULT, TOFU)
    state, proven = advance_summary(state, synced.listing(synced.items), directory)
    return state, proven, directory


def test_many_items_are_proven_as_each_alone(parties: Parties) -> None:
    """The same is proven, and the same remembered."""
    (synced,) = page_of(parties, 0, 1).vaults
    state, proven, directory = met(synced)
    together, items = advance_items(state, synced.items, proven, directory)
    for item, expected in zip(synced.items, items, strict=True):
        state, alone, _ = advance_item(state, item, item.line.id, proven, directory)
        assert alone == expected
    assert state == together


@pytest.mark.parametrize("lie", ["one field less", "another field", "a field twice", "another name", "another vault"])
def test_one_false_item_among_many_is_refused(parties: Parties, lie: str) -> None:
    """Its detail is signed and listed, and the item that came beside it is another."""
    (synced,) = page_of(parties, 1, 0).vaults
    state, proven, directory = met(synced)
    honest, item = synced.items
    first, *others = item.fields
    false = {
        "one field less": replace(item, fields=tuple(others)),
        "another field": replace(item, fields=(replace(first, line=replace(first.line, name="canary")), *others)),
        "a field twice": replace(item, fields=(first, *item.fields)),
        "another name": replace(item, line=replace(item.line, name="canary")),
        "another vault": replace(item, vault_id=OTHER_VAULT),
    }[lie]
    with pytest.raises(DisagreementError, match="checkpoint rule 5") as refused:
        advance_items(state, [honest, false], proven, directory)
    assert "canary" not in str(refused.value)


def test_what_is_held_after_a_page_must_be_what_was_signed(parties: Parties) -> None:
    """An item that did not come and is not held is hidden; one that is held and was not signed is added."""
    (part,), (whole,) = page_of(parties, 0).vaults, page_of(parties, 0, 1).vaults
    state, directory = advance(VaultTrust(), part.directory, VAULT, TOFU)
    with pytest.raises(DisagreementError):
        advance_summary(state, part.listing(part.items), directory)
    _, proven = advance_summary(state, part.listing([*part.items, whole.items[1]]), directory)
    assert [item.id for item in proven.checkpoint.items] == [item.id for item in ITEMS]
    with pytest.raises(DisagreementError):
        advance_summary(state, part.listing([*whole.items, whole.items[0]]), directory)


def test_a_page_without_its_summary_proves_nothing(parties: Parties) -> None:
    """Absence is refused where the proof is made."""
    (synced,) = page_of(parties, 0, 1).vaults
    state, directory = advance(VaultTrust(), synced.directory, VAULT, TOFU)
    (stripped,) = read_sync_page({**PAGE, "vaults": [{**SYNCED, "summaryCheckpoint": None}]}).vaults
    with pytest.raises(CheckpointMissingError):
        advance_summary(state, stripped.listing(synced.items), directory)
