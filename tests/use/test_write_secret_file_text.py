"""What the policy's text may say of files with secrets, and what is refused and how that is told."""

from __future__ import annotations

from typing import Final

import pytest

from r4_mcp.core.wire import ItemId, VaultId
from r4_mcp.errors import ConfigurationError
from r4_mcp.policy.file_rules import FileFormat, FileRoot
from r4_mcp.policy.file_text import MAX_PATH, MAX_ROOTS, root_line
from r4_mcp.policy.model import DEFAULTS
from r4_mcp.policy.policy_text import parse_policy

VAULT, ITEM = VaultId("a" * 24), ItemId("b" * 24)
ROOT: Final = f'[[write_secret_file.root]]\npath = "/srv/canary"\nvault = "{VAULT}"\n'


def test_every_key_is_understood() -> None:
    """Without an item all of the vault, without formats all of them, without a name its number."""
    named = ROOT.replace("canary", "other") + f'item = "{ITEM}"\nformats = ["env", "raw"]\nname = "web-2"\n'
    policy = parse_policy((ROOT + named).encode())
    formats = frozenset({FileFormat.ENV, FileFormat.RAW})
    assert policy.roots == (
        FileRoot(1, "/srv/canary", VAULT),
        FileRoot(2, "/srv/other", VAULT, ITEM, formats, "web-2"),
    )
    assert [root_line(root) for root in policy.roots] == [
        f"root 1: /srv/canary takes r4://{VAULT} as env, json, raw",
        f"web-2: /srv/other takes r4://{VAULT}/{ITEM} as env, raw",
    ]


def test_one_word_is_as_good_as_a_list() -> None:
    """As elsewhere in the policy."""
    (root,) = parse_policy(f'{ROOT}formats = "json"\n'.encode()).roots
    assert root.formats == {FileFormat.JSON}


@pytest.mark.parametrize("text", ["[write_secret_file]\n", "[write_secret_file]\nroot = []\n"])
def test_what_says_nothing_more_is_the_default(text: str) -> None:
    """An empty table lists nothing."""
    assert parse_policy(text.encode()) == DEFAULTS


@pytest.mark.parametrize(
    ("item", "taken"),
    [(None, {("a", "b"): True, ("a", "c"): True, ("c", "b"): False}), (ITEM, {("a", "b"): True, ("a", "c"): False})],
)
def test_a_root_takes_what_it_names(item: ItemId | None, taken: dict[tuple[str, str], bool]) -> None:
    """Its vault, and of that one item where it says so."""
    root = FileRoot(1, "/srv/canary", VAULT, item)
    assert {ids: root.takes(ids[0] * 24, ids[1] * 24) for ids in taken} == taken


REFUSED: Final = {
    "an unknown key": (ROOT + 'mode = "0644"\n', "entry 1 has an unknown key mode; known are"),
    "an unknown key beside": ("[write_secret_file]\nroots = []\n", "write_secret_file has an unknown key roots; known are root"),
    "no vault": ('[[write_secret_file.root]]\npath = "/srv/canary"\n', "entry 1: vault is not an id"),
    "a name for a vault": (ROOT.replace(VAULT, "canary"), "entry 1: vault is not an id"),
    "an item that is none": (ROOT + 'item = ""\n', "entry 1: item is not an id"),
    "no path": (f'[[write_secret_file.root]]\nvault = "{VAULT}"\n', "entry 1: path is not the absolute path"),
    "a number for a path": (ROOT.replace('"/srv/canary"', "1"), "path is not the absolute path"),
    "a relative path": (ROOT.replace("/srv", "srv"), "path is not the absolute path"),
    "a path from home": (ROOT.replace("/srv", "~"), "path is not the absolute path"),
    "a dot segment": (ROOT.replace("/srv", "/srv/.."), "path is not the absolute path"),
    "a slash at the end": (ROOT.replace("canary", "canary/"), "path is not the absolute path"),
    "two slashes": (ROOT.replace("/srv", "//srv"), "path is not the absolute path"),
    "everything": (ROOT.replace("/srv/canary", "/"), "path is not the absolute path"),
    "what is not seen": (ROOT.replace("canary", "can\u200bary"), "path is not the absolute path"),
    "a long path": (ROOT.replace("canary", "x" * MAX_PATH), "path is not the absolute path"),
    "an unknown format": (ROOT + 'formats = ["yaml"]\n', "formats is not one of env, json, raw"),
    "no format": (ROOT + "formats = []\n", "formats is an empty list"),
    "a format twice": (ROOT + 'formats = ["env", "env"]\n', "has a word twice"),
    "a name that is no word": (ROOT + 'name = "The canary"\n', "name is not a word"),
    "an empty name": (ROOT + 'name = ""\n', "name is not a word"),
    "a name twice": ((ROOT + 'name = "a"\n') + ROOT.replace("canary", "b") + 'name = "a"\n', "root has a name twice"),
    "a folder twice for one vault": (ROOT + ROOT, "root has a folder twice"),
    "a root that is no table": ('[write_secret_file]\nroot = ["/srv/canary"]\n', "entry 1 is not written as"),
    "many roots": (ROOT * (MAX_ROOTS + 1), "at most 64"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_understood_closes_the_policy(what: str) -> None:
    """The message names the key; the values, which may be those of another file, are not repeated."""
    text, told = REFUSED[what]
    with pytest.raises(ConfigurationError) as raised:
        parse_policy(text.encode())
    assert told in raised.value.message
    assert "canary" not in raised.value.message
