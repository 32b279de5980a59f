"""Unsigned wrappers: what we use must be there and of its type; what we don't is not copied anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest

from r4_mcp.core import merkle, served
from r4_mcp.core.directory import leaf, read_directory
from r4_mcp.core.encoding import Json, b64_encode
from r4_mcp.core.served import MAX_VALUE_TEXT, ServedItem, ServedItems, ServedSingleField
from r4_mcp.core.wire import ItemId, KeyId, SignerRef, SignerType, signed_envelope
from r4_mcp.errors import MalformedError

from .builders import FIELDS, ITEM, ITEMS, OTHER_ITEM, VAULT, detail, identifier, summary
from .mutate import OF_EVERY_TYPE, Path, at, members, objects, paths, removed, replaced, spelled
from .test_vectors import KEYS

SIGNER: Final = SignerRef(SignerType.USER, KeyId(identifier("user")))
CHECKPOINTS: Final = {"summaryCheckpoint", "detailCheckpoint"}

VAULT_LINE: dict[str, Json] = {"id": VAULT, "name": "Production", "dataClassification": "CUI", "itemCount": 2}
LISTING: dict[str, Json] = {
    "vaultId": VAULT,
    "vaultName": "Production",
    "dataClassification": "INTERNAL",
    "currentDekVersion": 1,
    "summaryCheckpoint": signed_envelope(summary().payload(), SIGNER, "AAAA"),
    "items": [{**item.payload(), "fieldCount": 3} for item in ITEMS],
    "count": 2,
}
SERVED_FIELD: dict[str, Json] = {**FIELDS[1].payload(), "value": "an envelope"}
DETAIL: Final = signed_envelope(detail().payload(), SIGNER, "AAAA")
ME: dict[str, Json] = {
    "scope": "AGENT",
    "agentId": "any text",
    "agentName": "Deploy bot",
    "tenantId": None,
    "orgId": "org",
    "permissions": ["machine.vault.read"],
    "activeEncryptionKeyId": identifier("key"),
    "activeFingerprint": "ab" * 32,
    "vaultWrite": {"allowed": False, "reason": None},
}


def directory_value() -> Json:
    """Build a directory of two vector keys: parsed only, so nobody has to sign."""
    names = ("human", "agent")
    kinds = (SignerType.USER, SignerType.AGENT)
    hashes = [
        merkle.leaf_hash(leaf(VAULT, KeyId(KEYS[name]["id"]), kind, KEYS[name]["fingerprint"], None))
        for name, kind in zip(names, kinds, strict=True)
    ]
    signers: list[Json] = [
        {
            "id": KEYS[name]["id"],
            "signerType": kinds[index].value,
            "publicKey": KEYS[name]["spkiPem"],
            "fingerprint": KEYS[name]["fingerprint"],
            "status": "ACTIVE",
            "previousId": None,
            "rotationSignature": None,
            "leafIndex": index,
            "inclusionProof": [b64_encode(entry) for entry in merkle.inclusion_proof(hashes, index)],
        }
        for index, name in enumerate(names)
    ]
    return {
        "vaultId": VAULT,
        "signers": signers,
        "head": {"treeSize": 2, "rootHash": merkle.root_of(hashes).hex()},
        "consistencyProof": {"fromTreeSize": 1, "hashes": [b64_encode(hashes[1])]},
    }


@dataclass(frozen=True)
class Reader:
    """A reader, its honest value, and what of it may be null or left out.

    Attributes:
        read: The reader.
        value: What it is given.
        nullable: Members that may be null, and are texts otherwise.
        optional: Members that may be left out.
    """

    read: Callable[[Json], object]
    value: Json
    nullable: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()


PAGED: dict[str, Json] = {"data": [VAULT_LINE], "pagination": {"page": 2, "totalPages": 3, "limit": 1, "total": 3}}
CLASSIFIED: Final = frozenset({"dataClassification"})
# A missing groupId means null: it is compared with the signed one anyway.
GROUPED: Final = frozenset({"groupId"})

READERS = {
    "vault list": Reader(served.read_vaults, {"vaults": [VAULT_LINE]}, CLASSIFIED),
    "page of vaults": Reader(served.read_vaults, PAGED, CLASSIFIED),
    "item listing": Reader(served.read_items, LISTING, CLASSIFIED | GROUPED, GROUPED),
    "item": Reader(
        served.read_item,
        {**ITEMS[0].payload(), "vaultId": VAULT, "fields": [SERVED_FIELD], "detailCheckpoint": DETAIL},
        GROUPED | {"value"},
        GROUPED | {"value"},
    ),
    "field": Reader(
        served.read_field,
        {
            **SERVED_FIELD,
            "fieldInstanceId": FIELDS[1].instance_ids[-1],
            "vaultId": VAULT,
            "vaultItemId": ITEM,
            "vaultItemName": "GitHub Production",
            "detailCheckpoint": DETAIL,
        },
        frozenset({"fieldInstanceId", "value"}),
        frozenset({"value"}),
    ),
    "me": Reader(
        served.read_me,
        ME,
        frozenset({"tenantId", "orgId", "activeEncryptionKeyId", "activeFingerprint", "reason"}),
    ),
    "key registration": Reader(served.read_registration, {"encryptionKeyId": identifier("key"), "fingerprint": "ab" * 32}),
    "creation": Reader(served.read_created, {"id": VAULT}),
    "feedback": Reader(served.read_feedback, {"id": "any text"}),
    "project list": Reader(
        served.read_projects,
        {"projects": [{"id": VAULT, "name": "P", "externalId": "x", "description": None, "vaultsCount": 1}]},
        frozenset({"externalId", "description"}),
    ),
    "signer directory": Reader(
        read_directory,
        directory_value(),
        frozenset({"previousId", "rotationSignature", "consistencyProof"}),
        frozenset({"consistencyProof"}),
    ),
}
UNREAD: Final = {"limit", "total"}


def cases(found: Callable[[Json], list[Path]]) -> list[Any]:
    """Pair each reader with each path of its value, the signed checkpoints inside left to their own tests."""
    return [
        pytest.param(reader, path, id=f"{name}: {spelled(path)}")
        for name, reader in READERS.items()
        for path in found(reader.value)
        if not CHECKPOINTS & set(path) and not UNREAD & set(path)
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
        may_be_null = path[-1] in reader.nullable and (other is None or isinstance(other, str))
        if not may_be_null and type(other) is not type(honest):
            with pytest.raises(MalformedError):
                reader.read(replaced(reader.value, path, other))


@pytest.mark.parametrize(("reader", "path"), cases(objects))
def test_a_member_that_is_not_used_is_copied_nowhere(reader: Reader, path: Path) -> None:
    """A service that adds a member breaks nothing, and its text appears nowhere in what was read."""
    with_more = replaced(reader.value, (*path, "canary-name"), {"canary": ["canary"]})
    assert reader.read(with_more) == reader.read(reader.value)
    assert "canary" not in repr(reader.read(with_more))


@pytest.mark.parametrize("name", ["item listing", "item", "field"])
def test_a_missing_checkpoint_is_read_as_none(name: str) -> None:
    """Absent and null are told apart from damage here; the proof refuses them (checkpoint rule 7)."""
    reader = READERS[name]
    for path in [path for path in members(reader.value) if path[-1] in CHECKPOINTS]:
        for value in (removed(reader.value, path), replaced(reader.value, path, None)):
            assert checkpoint_of(reader.read(value)) is None
        assert checkpoint_of(reader.read(reader.value)) is not None
        for other in OF_EVERY_TYPE[1:]:
            with pytest.raises(MalformedError):
                reader.read(replaced(reader.value, path, other))


def checkpoint_of(read: object) -> object:
    """Return the checkpoint that a read thing carries."""
    if isinstance(read, ServedItems):
        return read.summary
    assert isinstance(read, ServedItem | ServedSingleField)
    return read.detail


def test_checkpoints_inside_wrappers_stay_strict() -> None:
    """An unknown member is ignored around a checkpoint, never in it."""
    for name, path in (("item listing", "summaryCheckpoint"), ("item", "detailCheckpoint"), ("field", "detailCheckpoint")):
        for inside in ((path, "more"), (path, "checkpoint", "more")):
            with pytest.raises(MalformedError, match="the contract does not name"):
                READERS[name].read(replaced(READERS[name].value, inside, 1))


REFUSED: dict[str, tuple[str, Path, Json]] = {
    "a count that is too small": ("item listing", ("count",), 1),
    "a count that is too large": ("item listing", ("count",), 3),
    "page zero": ("page of vaults", ("pagination", "page"), 0),
    "an unknown classification": ("vault list", ("vaults", 0, "dataClassification"), "SECRET"),
    "a key version of zero": ("item listing", ("currentDekVersion",), 0),
    "a negative field count": ("item listing", ("items", 0, "fieldCount"), -1),
    "an envelope that is too long": ("field", ("value",), "x" * (MAX_VALUE_TEXT + 1)),
    "a fingerprint in capitals": ("me", ("activeFingerprint",), "AB" * 32),
    "a fingerprint that is too short": ("key registration", ("fingerprint",), "ab" * 31),
    "a feedback id that is too long": ("feedback", ("id",), "x" * 129),
    "a hash that is too short": ("signer directory", ("signers", 0, "inclusionProof", 0), b64_encode(bytes(31))),
    "a hash that is too long": ("signer directory", ("signers", 0, "inclusionProof", 0), b64_encode(bytes(33))),
    "a hash that is no base64": ("signer directory", ("consistencyProof", "hashes", 0), "canary!"),
    "a proof that is too long": ("signer directory", ("signers", 0, "inclusionProof"), [b64_encode(bytes(32))] * 65),
    "a negative leaf index": ("signer directory", ("signers", 0, "leafIndex"), -1),
    "a status that is not one": ("signer directory", ("signers", 0, "status"), "TRUSTED"),
}


@pytest.mark.parametrize(("name", "path", "value"), REFUSED.values(), ids=REFUSED.keys())
def test_a_value_out_of_range_is_refused(name: str, path: Path, value: Json) -> None:
    """Right in type, wrong in content: refused, and not quoted."""
    with pytest.raises(MalformedError) as refused:
        READERS[name].read(replaced(READERS[name].value, path, value))
    assert "canary" not in str(refused.value)


def test_what_is_read_is_what_was_served() -> None:
    """The values of the honest answers, in their places."""
    vaults, page = served.read_vaults(READERS["page of vaults"].value)
    assert (vaults[0].id, vaults[0].item_count, page) == (VAULT, 2, served.Page(2, 3))
    assert served.read_vaults({"vaults": []}) == ((), served.Page(1, 1))
    listing = served.read_items(READERS["item listing"].value)
    assert (listing.items, listing.field_counts) == (ITEMS, {ItemId(ITEM): 3, ItemId(OTHER_ITEM): 3})
    item = served.read_item(READERS["item"].value)
    assert (item.line, item.fields) == (ITEMS[0], (served.ServedField(FIELDS[1], "an envelope"),))
    field = served.read_field(READERS["field"].value)
    assert (field.field, field.instance_id) == (item.fields[0], FIELDS[1].instance_ids[-1])
    me = served.read_me(ME)
    assert (me.tenant_id, me.active_fingerprint, me.vault_write_allowed) == (None, "ab" * 32, False)
    assert served.read_me({**ME, "activeEncryptionKeyId": None}).active_key_id is None
    assert served.read_registration(READERS["key registration"].value) == (identifier("key"), "ab" * 32)
    assert served.read_created({"id": VAULT}) == VAULT
    assert served.read_feedback({"id": "any text"}) == "any text"
    assert [project.name for project in served.read_projects(READERS["project list"].value)] == ["P"]
