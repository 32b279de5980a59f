"""The Big List of Naughty Strings as values and as names (npm ``naughty-string-validator``).

A value survives byte for byte or is refused by a rule that is named here; a name also, and where it is shown it is shown escaped
and can be addressed by the reference shown beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from pathlib import Path

import pytest

from r4_mcp.cli.wiring import Service, open_local
from r4_mcp.config import read_settings
from r4_mcp.core.encoding import canonical, parse_json
from r4_mcp.core.wire import (
    DetailCheckpoint,
    FieldId,
    FieldType,
    ItemId,
    ItemType,
    KeyId,
    SignedField,
    SignedItem,
    SignerRef,
    SignerType,
    SummaryCheckpoint,
    VaultId,
    read_detail,
    read_summary,
    signed_envelope,
)
from r4_mcp.emulator.embedded import open_embedded
from r4_mcp.errors import InvalidArgumentError, ReferenceSyntaxError
from r4_mcp.policy.drafts import NewField, NewItem
from r4_mcp.policy.gate import Gate
from r4_mcp.policy.outcomes import CreatedItem
from r4_mcp.policy.views import display
from r4_mcp.secret import KnownSecrets, SecretKind
from r4_mcp.vault.concurrently import map_bounded
from r4_mcp.vault.references import parse_reference, write_reference
from tests.doors import BITS, POLICY, write_private

from .conftest import Tell
from .reading import naughty_strings

COUNT = 503
PER_ITEM = 25
WIDTH = 4
AN_ID = "0123456789abcdef01234567"
SIGNER = SignerRef(SignerType.USER, KeyId(AN_ID))
VAULT = "Naughty strings"

REFUSED_VALUES = {"is empty": 1}
REFUSED_NAMES = {"is empty": 2, "is longer than 255 characters": 1, "holds control characters": 6}
"""Rule of ``check_name`` → how many of the distinct strings it refuses."""


@asynccontextmanager
async def embedded(home: Path) -> AsyncIterator[Service]:
    """Open an embedded vault in this process, with a small key; nothing of an earlier opening is known."""
    open_embedded(home / "local", KnownSecrets(), bits=BITS)
    known = KnownSecrets()
    async with open_local(read_settings({"R4_HOME": str(home)}, known), known) as service:
        yield service


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Make a folder that only this user can enter."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    # Five hundred values are read here; the default budget is for agents.
    write_private(folder / "policy.toml", POLICY)
    return folder


def test_the_list_is_whole() -> None:
    """All 503 strings are there, and none holds half of a surrogate pair."""
    strings = naughty_strings()
    assert len(strings) == COUNT
    for text in strings:
        text.encode("utf-8")


async def test_each_survives_as_a_value(home: Path, tell: Tell) -> None:
    """Each string that is sealed by create_item is revealed byte for byte by another process; the empty one is refused."""
    strings = naughty_strings()
    values = [text for text in strings if text]
    created: dict[str, str] = {}
    async with embedded(home) as service:
        await service.gate.create_vault(VAULT, None, None)
        with pytest.raises(InvalidArgumentError, match="is empty"):
            await create(service.gate, "empty", [("a", "")])
        for number, batch in enumerate(batches([(f"label {index}", text) for index, text in enumerate(values)])):
            item = await create(service.gate, f"batch {number}", batch)
            created |= {field.reference: text for field, (_, text) in zip(item.fields, batch, strict=True)}
    async with embedded(home) as service:
        revealed = await map_bounded(partial(service.gate.read_secret, reason=None), list(created), WIDTH)
    for field, text in zip(revealed, created.values(), strict=True):
        assert field.value.encode("utf-8") == text.encode("utf-8")
    assert len(created) + strings.count("") == COUNT
    tell(f"naughty values {len(created)} survived, {strings.count('')} refused as empty: {COUNT}/{COUNT}")


def test_each_survives_as_a_name_in_signed_things() -> None:
    """Summary, detail and their canonical bytes carry each string as vault, item, field name and website, byte for byte."""
    for text in naughty_strings():
        item = SignedItem(ItemId(AN_ID), text, ItemType.CUSTOM, (text,), text)
        summary = SummaryCheckpoint(VaultId(AN_ID), 1, text, None, 1, (item,), b"[]")
        raw = canonical(signed_envelope(summary.payload(), SIGNER, text))
        assert read_summary(parse_json(raw, what="summary"), "summary").checkpoint == summary
        field = SignedField(FieldId(AN_ID), text, FieldType.TEXT, 0, (), (text,))
        detail = DetailCheckpoint(item.id, VaultId(AN_ID), 1, text, item.type, item.websites, None, (field,))
        raw = canonical(signed_envelope(detail.payload(), SIGNER, text))
        assert read_detail(parse_json(raw, what="detail"), "detail").checkpoint == detail


def test_each_survives_in_a_reference() -> None:
    """A reference written with a string as its name is read back as the same name; names that can't be written so are refused."""
    refused: list[str] = []
    for text in naughty_strings():
        written = write_reference(AN_ID, text)
        assert written.isascii()
        try:
            assert parse_reference(written).item == text
        except ReferenceSyntaxError:
            refused.append(text)
    assert {text for text in refused if text not in {".", ".."}} == {""}


async def test_each_name_of_a_field_is_refused_by_a_rule_or_addressable(home: Path, tell: Tell) -> None:
    """A field of such a name is refused by check_name, or created, shown escaped, and found by the reference shown."""
    names = sorted(set(naughty_strings()))
    refused: Counter[str] = Counter()
    async with embedded(home) as service:
        await service.gate.create_vault(VAULT, None, None)
        assert service.runtime is not None
        locator = service.runtime.locator
        good: list[tuple[str, str]] = []
        for name in names:
            rule = await refusal(service.gate, name)
            if rule is None:
                good.append((name, f"value number {len(good)} of this test"))
            else:
                refused[rule] += 1
        for number, batch in enumerate(batches(good)):
            item = await create(service.gate, f"batch {number}", batch, FieldType.TEXT)
            described = await service.gate.describe_item(item.reference)
            for line, (name, _) in zip(described.fields, batch, strict=True):
                assert line.name == display(name)
                assert line.name.isprintable()
            found = await map_bounded(locator.field, [line.reference for line in described.fields], WIDTH)
            assert [field.located.field.line.name for field in found] == [name for name, _ in batch]
            assert [field.located.field.line.id for field in found] == [line.id for line in described.fields]
    assert refused == REFUSED_NAMES
    assert len(good) + refused.total() == len(names)
    tell(f"naughty names {len(good)} addressable, {refused.total()} refused: {len(names)} distinct of {COUNT}")


async def refusal(gate: Gate, name: str) -> str | None:
    """Return the rule that refuses a field of this name before anything is sent; None if none does."""
    known = KnownSecrets()
    # A second field of no type that can be created: a good name is then refused for that, so that nothing is sent either way.
    fields = (
        NewField(name, FieldType.TEXT, known.text("a value", SecretKind.FIELD, armed=False), None),
        NewField("the last field", FieldType.FILE, None, None),
    )
    with pytest.raises(InvalidArgumentError) as raised:
        await gate.create_item(VAULT, NewItem("an item", ItemType.CUSTOM, (), fields))
    told = raised.value.message
    if told.startswith("the argument fields[1]"):
        return None
    return next(rule for rule in REFUSED_NAMES if told.startswith(f"the argument fields[0].name {rule}"))


async def create(gate: Gate, name: str, fields: list[tuple[str, str]], kind: FieldType = FieldType.PASSWORD) -> CreatedItem:
    """Create an item with these names and values."""
    known = KnownSecrets()
    new = tuple(NewField(label, kind, known.text(value, SecretKind.FIELD, armed=False), None) for label, value in fields)
    return await gate.create_item(VAULT, NewItem(name, ItemType.CUSTOM, (), new))


def batches(pairs: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Cut pairs into lists, one per item."""
    source = iter(pairs)
    while batch := list(islice(source, PER_ITEM)):
        yield batch
