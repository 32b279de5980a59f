"""Rule 4 of the egress guard, both ways: a place inside a public text gives nothing away; the same value elsewhere does."""

from __future__ import annotations

import re
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r4_mcp.core.trust import SignerStatus, SignerTrust
from r4_mcp.core.wire import Classification, FieldType, ItemType, SignerType
from r4_mcp.emulator import seed_contents
from r4_mcp.errors import InvalidArgumentError, LeakBlockedError, R4Error
from r4_mcp.machine.contract import Permission
from r4_mcp.policy import standing
from r4_mcp.policy.egress import Egress
from r4_mcp.policy.views import display
from r4_mcp.secret import KnownSecrets, SecretKind
from r4_mcp.server import dispatch
from r4_mcp.server.explain import NEXT_STEPS, explain
from r4_mcp.sinks.spellings import MIN_SUBSTRING
from r4_mcp.vault.references import screaming_key, write_reference

ITEM_ID: Final = "0123456789abcdef01234567"
OTHER_ID: Final = "89abcdef0123456789abcdef"


def guard(*values: str, public: tuple[str, ...] = (), sentences: tuple[str, ...] = ()) -> Egress:
    """Return a guard that knows these values and these public texts."""
    known = KnownSecrets()
    for value in values:
        known.text(value, SecretKind.FIELD)
    known.publish(public)
    return Egress(known, sentences)


def blocks(egress: Egress, *leaves: str) -> bool:
    """Say whether a message of these leaves is blocked."""
    try:
        egress.check(list(leaves))
    except LeakBlockedError:
        return True
    return False


ENUMS: Final = (Classification, FieldType, ItemType, SignerType, SignerStatus, SignerTrust, Permission)
WORDS: Final = sorted({member.value for enum in ENUMS for member in enum} | {"registered", "not_registered", "r4://", "tofu"})


@pytest.mark.parametrize("word", WORDS)
def test_our_own_words_are_no_leak(word: str) -> None:
    """A password may be LOGIN; a listing still says LOGIN."""
    assert standing.__name__ in sys.modules
    egress = guard(word)
    assert not blocks(egress, word, f"a sentence with {word} in it")


@pytest.mark.parametrize("error", NEXT_STEPS, ids=lambda error: error.__name__)
def test_no_fragment_of_an_explanation_blocks_the_explanation(error: type[R4Error]) -> None:
    """Whole inventory: any run of its words may be somebody's password; the error is told all the same."""
    told = explain(InvalidArgumentError("the argument limit is not within 1 to 200")).payload()
    told |= {"code": error.code, "next_step": NEXT_STEPS[error]}
    words = NEXT_STEPS[error].split(" ")
    fragments = {" ".join(words[start : start + size]) for size in (1, 2, 4) for start in range(len(words))}
    fragments |= {error.code, error.code[1:], "is not within", "rgument"}
    long = {fragment for fragment in fragments if len(fragment) >= MIN_SUBSTRING}
    assert len(long) > len(words) // 2
    guard(*long).check(told)


def test_a_fragment_of_our_sentence_is_caught_elsewhere() -> None:
    """Beside the sentence, alone, in another sentence, in another spelling: each is a hit."""
    sentence = "Ask the keeper of the northern lighthouse."
    value = "keeper of the northern"
    egress = guard(value, sentences=(sentence,))
    assert not blocks(egress, sentence, f"First. {sentence} Then call again.", sentence.upper())
    for leak in (
        value,
        f"the {value} lighthouse",
        f"{sentence} {value}",
        f"{value} {sentence}",
        value.encode().hex(),
        value[::-1],
        f"{sentence[:-1]}{value[-1]}{value}",
    ):
        assert blocks(egress, leak), leak


def test_a_sentence_that_is_told_with_a_capital_is_the_same_sentence() -> None:
    """``explain`` begins each message with one."""
    egress = guard("tide tables are", sentences=("the tide tables are missing",))
    assert not blocks(egress, "The tide tables are missing.")
    egress = guard("The tide tables", sentences=("the tide tables are missing",))
    assert not blocks(egress, "The tide tables are missing.")
    assert blocks(egress, "The tide tables are here.")


def test_a_format_is_public_in_its_parts() -> None:
    """What a log line says around its values is our own."""
    assert dispatch.__name__ in sys.modules
    egress = guard("refused tool", "refused tools")
    assert not blocks(egress, "refused tool=read_secret code=denied")
    assert blocks(egress, "refused tool read_secret")


def test_a_value_that_reaches_over_the_end_of_a_public_text_is_a_hit() -> None:
    """It must lie inside; touching is not enough."""
    public = "harbour master"
    egress = guard("master key 7", "our harbour", "harbour master", public=(public,))
    assert not blocks(egress, f"the {public} here")
    assert blocks(egress, f"{public} key 7")
    assert blocks(egress, f"our {public}")


def test_a_value_inside_a_name_passes_where_the_name_stands() -> None:
    """In the listing, in prose about it, in its references and keys; nowhere else."""
    name = "Payment gateway token"
    egress = guard("gateway token", "Payment gateway", public=(name, "value"))
    reference = write_reference(name, ITEM_ID, "value")
    assert not blocks(egress, name, f"The item {name} was archived.", reference, str(screaming_key(name, "value")))
    for leak in ("gateway token", f"r4://gateway%20token/{ITEM_ID}", "gateway token 2", "GATEWAY_TOKEN gateway token"):
        assert blocks(egress, name, leak), leak


def test_a_value_that_is_itself_public_is_never_a_hit() -> None:
    """A SECRET field that holds the item's website gives nothing away, in whatever spelling."""
    website = "https://lighthouse.example/login?to=/a b"
    egress = guard(website, public=(website,))
    assert not blocks(egress, website, f"see {website} there", quote(website, safe=""), website.encode().hex())
    assert blocks(guard(website, public=("https://lighthouse.example/",)), website)


def test_a_value_that_becomes_public_stops_alarming() -> None:
    """And the guard looks again: what was published later counts, too."""
    known = KnownSecrets()
    known.text("breakwater", SecretKind.FIELD)
    known.text("BREAKWATER_KEY", SecretKind.FIELD)
    egress = Egress(known)
    leaves = ("The breakwater vault", "see The breakwater vault there", "BREAKWATER_KEY_VALUE")
    assert all(blocks(egress, leaf) for leaf in leaves)
    known.publish(["The breakwater vault", "breakwater key", "value"])
    assert not blocks(egress, *leaves)
    assert blocks(egress, "breakwater")


def test_a_spelling_that_is_a_public_text_by_chance_passes_there() -> None:
    """A password that differs from a word of a name in its capitals only: the name is shown all the same."""
    egress = guard("LightHouseKeeper", public=("All lighthousekeepers",))
    assert not blocks(egress, "All lighthousekeepers", "for All lighthousekeepers.")
    assert blocks(egress, "lighthousekeepers")


def test_a_name_that_is_shown_escaped_is_the_same_name() -> None:
    """Listings show what can't be seen as an escape, and cut what is too long."""
    name = "hidden\u200bcharacters before the sextant drawer" + "!" * 300
    egress = guard("the sextant drawer", public=(name,))
    assert display(name) not in name
    assert not blocks(egress, display(name), name)
    assert blocks(egress, "hidden\\u{200c}characters before the sextant drawer")


REFERENCES: Final[dict[str, tuple[str, bool]]] = {
    "a value across two public parts": ("r4://Dry%20Dock/Crane%20No%204", False),
    "with an id that nobody published": (f"r4://Dry%20Dock/Crane%20No%204/{OTHER_ID}", False),
    "with a part that nobody published": ("r4://Dry%20Dock/Crane%20No%204/Unheard", True),
    "not alone in the leaf": ("see r4://Dry%20Dock/Crane%20No%204", True),
    "not a reference at all": ("http://Dry%20Dock/Crane%20No%204", True),
    "malformed": ("r4://Dry%20Dock/Crane%20No%204//", True),
}


@pytest.mark.parametrize("what", REFERENCES)
def test_a_reference_is_public_when_each_part_is(what: str) -> None:
    """A value that is spelled like our reference passes in that reference."""
    leaf, blocked = REFERENCES[what]
    assert blocks(guard("Dock/Crane", "%20Dock/Crane%20", public=("Dry Dock", "Crane No 4")), leaf) is blocked


def test_an_id_is_let_pass_only_where_it_was_published() -> None:
    """A value of the form of an id must not leave as if it were one."""
    leaf = f"r4://{OTHER_ID}/{ITEM_ID}"
    assert blocks(guard(ITEM_ID), leaf)
    assert blocks(guard(ITEM_ID[4:20]), leaf)
    assert not blocks(guard(ITEM_ID, public=(ITEM_ID,)), leaf, ITEM_ID, f"item {ITEM_ID} is gone")
    for spelled in (b"fathom line!".hex(), ITEM_ID[::-1]):
        assert blocks(guard("fathom line!", ITEM_ID), f"r4://{spelled}/{OTHER_ID}")


KEYS: Final[dict[str, tuple[str, bool]]] = {
    "the key of two names": ("TIDE_TABLE_API_TOKEN", False),
    "cut elsewhere": ("TIDE_TABLE_API_TOKENS", True),
    "one name alone": ("TIDE_TABLE", True),
    "in a sentence": ("set TIDE_TABLE_API_TOKEN", True),
    "half of it": ("TIDE_TABLE_API", True),
    "of an unheard item": ("UNHEARD_TABLE_API_TOKEN", True),
}


@pytest.mark.parametrize("what", KEYS)
def test_a_screaming_key_of_public_names_is_public(what: str) -> None:
    """Somebody stored the key instead of the value; the description of the item still shows it."""
    leaf, blocked = KEYS[what]
    assert blocks(guard("TIDE_TABLE_API", "TIDE_TABLE", "TABLE_API_TOKEN", public=("tide table", "API-token")), leaf) is blocked


def test_the_contents_of_the_emulator_are_not_our_words() -> None:
    """Its constants are what the demo's vaults hold; a value that stands in its code is as secret as any other."""
    code = Path(seed_contents.__file__).read_text(encoding="utf-8")
    values = {text for text in re.findall(r'"([^"\\{}\n]{12,})"', code) if " " in text}
    assert values
    for value in values:
        assert blocks(guard(value), f"before {value} behind"), value


def test_a_module_whose_code_is_gone_makes_no_hole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its words can't be read, so they alarm; the others are still known, and nothing raises."""
    gone = ModuleType("r4_mcp.gone_since_the_start")
    gone.__spec__ = ModuleSpec(gone.__name__, SourceFileLoader(gone.__name__, str(tmp_path / "gone.py")))
    bare = ModuleType("r4_mcp.without_a_spec")
    for module in (gone, bare):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    egress = guard("CONFIDENTIAL", "binnacle lamp")
    assert not blocks(egress, "CONFIDENTIAL")
    assert blocks(egress, "a binnacle lamp")


def test_a_key_is_never_public() -> None:
    """Bytes are keys: that a name spells one out is an alarm, not a coincidence."""
    known = KnownSecrets()
    known.octets(bytes(range(32)), SecretKind.DEK)
    known.publish([bytes(range(32)).hex()])
    assert blocks(Egress(known), bytes(range(32)).hex())


@pytest.mark.parametrize("word", ["LOGIN", "sloop"])
def test_a_short_value_passes_where_the_whole_leaf_is_public(word: str) -> None:
    """As above, for values that are only matched whole."""
    egress = guard("LOGIN", "sloop", "barque", public=("sloop",))
    assert not blocks(egress, word, f"{word} barque")
    assert blocks(egress, word, "barque")


words = st.text(alphabet="abcdé €\"&/%'", min_size=1, max_size=12)


@settings(deadline=None)
@given(st.text(alphabet="vwxyz", min_size=MIN_SUBSTRING, max_size=14), words, words, words)
def test_the_law_of_the_place(value: str, before: str, behind: str, apart: str) -> None:
    """For any value and any name around it: the name passes, the name with the value behind it does not."""
    name = f"{before}{value}{behind}"
    egress = guard(value, public=(name,))
    leaves: tuple[Any, ...] = (name, apart + name + apart, quote(name, safe=""), write_reference(name))
    assert not blocks(egress, *leaves)
    for leaf in leaves:
        assert blocks(egress, f"{leaf}{apart}{value}")
        assert blocks(egress, f"{value}{apart}{leaf}")
