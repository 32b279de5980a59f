"""``r4-mcp ls`` as people and programs read it: what is there, whether it is verified, and never a value."""

from __future__ import annotations

import json
from typing import Any

import pytest
import wcwidth

from r4_mcp.core.wire import FieldType
from tests.doors import World

from .running import Ended, run_here

WIDE = "金庫の鍵" * 12


def said(world: World, *arguments: str) -> list[str]:
    """Run ``ls`` where it must work."""
    ended = run_here("ls", *arguments, environment=world.environment)
    assert (ended.status, ended.err) == (0, ""), ended
    shows_no_value(world, ended)
    return ended.out.splitlines()


def payload(world: World, *arguments: str) -> dict[str, Any]:
    """Run ``ls --json`` where it must work."""
    found: dict[str, Any] = json.loads("\n".join(said(world, *arguments, "--json")))
    return found


def shows_no_value(world: World, ended: Ended) -> None:
    """Check that no plaintext of secret length was printed."""
    assert not [value for value in world.plaintexts().values() if len(value) > 7 and value in ended.out + ended.err]


def test_the_vaults_are_listed_with_class_and_count(calm: World) -> None:
    """One aligned row each, with the reference that every command takes."""
    heading, *rows = said(calm)
    assert heading.split() == ["NAME", "CLASS", "ITEMS", "REFERENCE"]
    assert len(rows) == len(calm.seeded.vaults)
    for row in rows:
        assert row.index("r4://") == heading.index("REFERENCE")
        assert row.startswith("  ")
    assert any(row.split()[:2] == ["Engineering", "INTERNAL"] for row in rows)
    listed = payload(calm)
    assert {vault["id"] for vault in listed["vaults"]} == set(calm.seeded.vaults.values())
    assert all(vault["verified"] for vault in listed["vaults"])


@pytest.mark.parametrize("reference", ["r4://Engineering", "Engineering", "engineering"])
def test_a_vaults_items_are_listed_with_type_and_signer(calm: World, reference: str) -> None:
    """By reference or by bare name; a head line says who signed."""
    head, heading, *rows = said(calm, reference)
    found = payload(calm, reference)
    assert head.startswith(f"r4://Engineering  INTERNAL, {found['total']} item(s), signed by human ")
    assert head.endswith(f"{found['signed_by']['fingerprint']}, v{found['checkpoint_version']}")
    assert heading.split() == ["NAME", "TYPE", "FIELDS", "REFERENCE"]
    assert len(rows) == found["total"] == len(found["items"])
    assert any(item["type"] in row for row in rows for item in found["items"] if item["name"] in row)


def test_an_items_fields_are_listed_with_types(calm: World) -> None:
    """Whether each is a secret, its websites, who signed; no value."""
    lines = said(calm, "r4://Engineering/GitHub")
    found = payload(calm, "r4://Engineering/GitHub")
    assert lines[0].startswith(f"r4://Engineering/GitHub  {found['type']}, signed by human ")
    assert [line.split()[1] for line in lines if line.startswith("  website ")] == found["websites"]
    for field in found["fields"]:
        assert any(line.split()[-3:] == [field["type"], "yes" if field["secret"] else "no", field["reference"]] for line in lines)


def test_long_and_wide_names_stay_within_eighty_columns(world: World) -> None:
    """A name is cut, a reference is not: by ids it always fits, and it works."""
    made = world.add_item("Engineering", WIDE, (WIDE, FieldType.PASSWORD, "a value of the test"))
    vault_id = world.vault_id("Engineering")
    by_ids = f"r4://{vault_id}/{made.item_id}"
    for arguments in (("r4://Engineering",), (by_ids,)):
        lines = said(world, *arguments)
        assert max(wcwidth.width(line) for line in lines) <= 80
        assert any(line.strip().startswith(by_ids) for line in lines)
    assert payload(world, by_ids)["fields"][0]["name"] == WIDE


def test_what_does_not_verify_is_marked(world: World) -> None:
    """The row and the line below it say so; the reference is by id, since the name is not proven."""
    with world.store.write() as db:
        db.execute("UPDATE vaults SET name = 'Another name' WHERE id = ?", (world.vault_id("Engineering"),))
    rows = run_here("ls", environment=world.environment).out.splitlines()
    marked = [index for index, row in enumerate(rows) if row.startswith("!")]
    assert len(marked) == 1
    assert f"r4://{world.vault_id('Engineering')}" in rows[marked[0]]
    assert rows[marked[0] + 1].strip().startswith("not verified: ")
    listed = json.loads(run_here("ls", "--json", environment=world.environment).out)
    found = next(vault for vault in listed["vaults"] if vault["id"] == world.vault_id("Engineering"))
    assert (found["verified"], bool(found["problem"])) == (False, True)


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("r4://Engineering/Nothing", "no item of that name"),
        ("r4://Nothing", "no vault of that name"),
        ("r4://Engineering/GitHub/Password", "two parts"),
        ("r4://a/b/c/d", "one to three parts"),
    ],
)
def test_what_is_not_there_is_said_with_the_next_step(calm: World, reference: str, told: str) -> None:
    """Status 1, nothing on stdout, and a command of people as the next step."""
    ended = run_here("ls", reference, environment=calm.environment)
    assert (ended.status, ended.out) == (1, "")
    assert told in ended.err.lower()
    assert "next: " in ended.err
    assert "`r4-mcp ls" in ended.err
    assert "list_vaults" not in ended.err


def test_nothing_configured_is_said(world: World) -> None:
    """With what to do."""
    ended = run_here("ls", environment={"R4_HOME": str(world.home)})
    assert (ended.status, ended.out) == (1, "")
    assert "r4-mcp init" in ended.err
