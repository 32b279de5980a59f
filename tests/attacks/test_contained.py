"""What a real signer may choose to mislead with is shown as data, escaped and capped, and never chosen between."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping

import pytest

from r4_mcp.emulator.faults import FAULTS
from r4_mcp.emulator.faults_account import ORDER
from r4_mcp.emulator.faults_names import DECOY

from .stage import ITEM, VAULT, Stage, call, succeed
from .table import CONTAINED

NAMES = [name for name in CONTAINED if name.startswith("name-")]
AMBIGUOUS = {"name-duplicate": f"r4://{VAULT}/{ITEM}/Password", "name-case-duplicate": f"r4://{VAULT}/CANARY/Password"}
INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
DATA = {"name", "websites", "vault_name", "item", "field"}
"""Members of results that hold names and websites as data."""


def texts(payload: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a result, with the member that it stands in."""
    if isinstance(payload, str):
        yield key, payload
    elif isinstance(payload, Mapping):
        for name, member in payload.items():
            yield from texts(member, name)
    elif isinstance(payload, (list, tuple)):
        for member in payload:
            yield from texts(member, key)


@pytest.mark.parametrize("name", NAMES)
async def test_a_misleading_name_is_data(name: str, stage: Stage) -> None:
    """Nothing invisible, nothing long, no instruction outside the data; each reference addresses the thing that it stands by."""
    prepare = FAULTS[name].prepare
    assert prepare is not None
    prepare(stage.liar)
    async with stage.process() as service:
        listed = await succeed(service, "list_items", vault=VAULT)
        results = [listed]
        for item in listed["items"]:
            described = await succeed(service, "describe_item", reference=item["reference"])
            assert described["id"] == item["id"]
            results.append(described)
        for key, text in (found for result in results for found in texts(result)):
            assert not {unicodedata.category(character) for character in text} & INVISIBLE
            assert len(text) <= 4096
            assert key in DATA or ORDER not in text
        own = next(item for item in listed["items"] if item["id"] == stage.item.item_id)
        field = next(line for line in results[1 + listed["items"].index(own)]["fields"] if line["name"] == "Password")
        assert (await succeed(service, "read_secret", reference=field["reference"]))["value"] == stage.password


@pytest.mark.parametrize("name", NAMES)
async def test_a_misleading_name_is_never_chosen(name: str, stage: Stage) -> None:
    """A name that fits one thing exactly means that thing; a name that fits two is an error that lists both by id."""
    prepare = FAULTS[name].prepare
    assert prepare is not None
    prepare(stage.liar)
    async with stage.process() as service:
        if name in AMBIGUOUS:
            refused = await call(service, "read_secret", {"reference": AMBIGUOUS[name]})
            assert refused.payload["code"] == "ambiguous_reference"
            assert len(refused.payload["candidates"]) == 2
            assert DECOY not in refused.text
            for candidate in refused.payload["candidates"]:
                assert candidate.startswith(f"r4://{stage.vault_id}/")
        else:
            assert (await succeed(service, "read_secret", reference=stage.by_name))["value"] == stage.password
    stage.assert_unwritten()


async def test_another_agents_name_opens_nothing_else(stage: Stage) -> None:
    """``/me`` is unsigned: what it claims is shown and chooses nothing, neither memory nor keys."""
    async with stage.process() as service:
        await stage.contact(service)
    before = stage.trust()
    stage.liar.tell(FAULTS["me-another-agent"].lie)
    async with stage.process() as service:
        assert (await succeed(service, "whoami"))["agent"] == "Administrator"
        await stage.read_honestly(service)
    assert stage.liar.told
    assert stage.trust() == before
