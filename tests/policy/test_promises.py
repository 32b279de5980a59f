"""Cursors, drafts and views: the product's promises as plain functions; the rules have files of their own."""

from __future__ import annotations

import base64
import dataclasses
import string
import typing
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r4_mcp.core.wire import FieldType, ItemType
from r4_mcp.errors import InvalidArgumentError
from r4_mcp.policy import outcomes, views
from r4_mcp.policy.cursors import Cursors
from r4_mcp.policy.drafts import Alphabet, Generate, NewField, NewItem, check_item, check_name, check_websites, generate
from r4_mcp.policy.invisible import unmistakable
from r4_mcp.policy.views import MAX_DISPLAY, display
from r4_mcp.secret import HIDDEN, KnownSecrets, Secret, SecretKind
from r4_mcp.tools import ALL_TOOLS

NOW: Final = 1_790_000_000.0
SEED: Final = "GEZDGNBVGY3TQOJQ" * 2


def cursors(api_key: str = "rk_test00000000.not-a-real-secret-000") -> Cursors:
    """Return the cursors of one agent."""
    known = KnownSecrets()
    return Cursors(known.text(api_key, SecretKind.API_KEY), known)


def test_a_cursor_reads_back_in_another_process_of_the_agent() -> None:
    """Its key derives from the API key, not from the process."""
    assert cursors().read(cursors().write("items a", 50), "items a") == 50


def test_a_cursor_is_of_one_listing_and_one_agent() -> None:
    """Another listing and another agent refuse it."""
    given_out = cursors().write("items a", 50)
    with pytest.raises(InvalidArgumentError):
        cursors().read(given_out, "items b")
    with pytest.raises(InvalidArgumentError):
        cursors("rk_test00000000.another-secret-000000").read(given_out, "items a")


@pytest.mark.parametrize("listing", ["items a", "items ab", "vaults "])
def test_every_changed_byte_of_a_cursor_is_refused(listing: str) -> None:
    """Each byte, each bit of it: nothing but what was given out is read."""
    text = cursors().write(listing, 50)
    raw = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    for index in range(len(raw)):
        for bit in range(8):
            changed = bytearray(raw)
            changed[index] ^= 1 << bit
            with pytest.raises(InvalidArgumentError):
                cursors().read(base64.urlsafe_b64encode(changed).decode().rstrip("="), listing)
    for length in range(len(text)):
        with pytest.raises(InvalidArgumentError):
            cursors().read(text[:length], listing)


@given(st.text(max_size=80))
def test_any_text_as_a_cursor_is_an_invalid_argument(text: str) -> None:
    """Never another error."""
    with pytest.raises(InvalidArgumentError):
        cursors().read(text, "items a")


def draft(*fields: NewField, name: str = "n", websites: tuple[str, ...] = ()) -> NewItem:
    """Return an item as asked for."""
    return NewItem(name, ItemType.CUSTOM, websites, fields)


def valued(known: KnownSecrets, value: str, kind: FieldType = FieldType.SECRET, name: str = "f") -> NewField:
    """Return a field with a value."""
    return NewField(name, kind, known.text(value, SecretKind.FIELD, armed=False), None)


def test_the_limits_of_a_draft_are_inclusive() -> None:
    """What is exactly at a limit is fine."""
    known = KnownSecrets()
    assert check_name("n" * 255, "name")
    assert check_websites(["w" * 2048] * 20)
    fields = [valued(known, "v", name=f"f{number}") for number in range(99)] + [valued(known, "x" * 262_144)]
    made = check_item(draft(*fields, name="n" * 255), NOW, known)
    assert len(made.fields) == 100


@pytest.mark.parametrize("seed", [SEED, f" {SEED[:16]} {SEED[16:]} ".lower(), f"otpauth://totp/a?secret={SEED}&period=60"])
def test_a_totp_seed_is_kept_as_it_was_given(seed: str) -> None:
    """It is tried out, never repaired."""
    known = KnownSecrets()
    made = check_item(draft(valued(known, seed, FieldType.TOTP)), NOW, known)
    assert made.fields[0].value.reveal() == seed


def test_only_secret_fields_arm_the_guard() -> None:
    """A user name may stand in a listing; a password may not."""
    known = KnownSecrets()
    check_item(draft(valued(known, "plain-user-name", FieldType.TEXT)), NOW, known)
    assert "plain-user-name" not in known.armed()
    check_item(draft(valued(known, "secret-password", FieldType.PASSWORD)), NOW, known)
    assert "secret-password" in known.armed()


@pytest.mark.parametrize("bad", ["", "   ", "\u2003", "a\nb", "a\x00b", "a\x7f", "a\x85b", "\ud800", "n" * 256])
def test_bad_names_are_refused(bad: str) -> None:
    """Empty, blank, control characters, halves of pairs, too long; never quoted."""
    with pytest.raises(InvalidArgumentError) as caught:
        check_name(bad, "name")
    assert caught.value.message.isascii()
    assert "the argument name" in caught.value.message


@pytest.mark.parametrize("alphabet", Alphabet)
@pytest.mark.parametrize("length", [12, 256])
def test_generated_values_have_their_length_and_alphabet(alphabet: Alphabet, length: int) -> None:
    """And no character that breaks in a shell."""
    value = generate(Generate(length, alphabet), "generate")
    assert len(value) == length
    assert not set(value) & set("'\"\\` ")
    if alphabet is Alphabet.DIGITS:
        assert set(value) <= set(string.digits)


@pytest.mark.parametrize("length", [-1, 0, 11, 257, 10**9])
def test_a_wish_out_of_bounds_is_refused(length: int) -> None:
    """Before a character is drawn."""
    with pytest.raises(InvalidArgumentError):
        generate(Generate(length, Alphabet.HEX), "generate")


ESCAPED: Final = {
    "line break": ("a\nb", "a\\u{a}b"),
    "escape": ("\x1b[31m", "\\u{1b}[31m"),
    "NUL": ("\0", "\\u{0}"),
    "C1 control": ("\x9b", "\\u{9b}"),
    "right-to-left override": ("\u202egpj", "\\u{202e}gpj"),
    "isolate": ("\u2066x\u2069", "\\u{2066}x\\u{2069}"),
    "zero-width space": ("a\u200bb", "a\\u{200b}b"),
    "zero-width joiner": ("\u200d", "\\u{200d}"),
    "byte order mark": ("\ufeff", "\\u{feff}"),
    "soft hyphen": ("\u00ad", "\\u{ad}"),
    "tag characters": ("\U000e0041\U000e0042", "\\u{e0041}\\u{e0042}"),
    "line separator": ("\u2028", "\\u{2028}"),
    "paragraph separator": ("\u2029", "\\u{2029}"),
    "private use": ("\ue000", "\\u{e000}"),
    "unassigned": ("\U0003fffe", "\\u{3fffe}"),
    "half of a pair": ("\ud800", "\\u{d800}"),
}


@pytest.mark.parametrize("what", ESCAPED)
def test_what_can_not_be_seen_is_escaped(what: str) -> None:
    """A model and a person see the same text."""
    text, shown = ESCAPED[what]
    assert display(text) == shown


@pytest.mark.parametrize("text", ["plain", "Grüße, 世界 ✓", "a  b", "emoji 🔑", '"quoted"\\'])
def test_what_can_be_seen_is_shown_as_it_is(text: str) -> None:
    """Ordinary names of any script."""
    assert display(text) == text


@given(st.text(max_size=2000))
def test_shown_text_is_short_and_visible(text: str) -> None:
    """Whatever the vault holds."""
    shown = display(text)
    assert len(shown) <= 2 * MAX_DISPLAY
    assert all(character.isprintable() or character.isspace() for character in shown)
    assert not set(shown) & {"\n", "\r", "\t", "\x1b", "\u202e", "\u200b"}


def members(kind: Any, seen: set[Any]) -> set[tuple[Any, str, Any]]:  # noqa: ANN401 - types are walked as values
    """Walk the fields of a view, and of every view inside it."""
    found: set[tuple[Any, str, Any]] = set()
    if dataclasses.is_dataclass(kind) and kind not in seen:
        seen.add(kind)
        for name, hint in typing.get_type_hints(kind).items():
            found.add((kind, name, hint))
            found |= members(hint, seen)
    for argument in typing.get_args(kind):
        found |= members(argument, seen)
    return found


def test_only_one_view_has_a_place_for_a_plaintext() -> None:
    """No view holds a ``Secret``, bytes, a mapping or ``Any``; ``value`` exists in ``RevealedField`` alone."""
    walked: set[tuple[Any, str, Any]] = set()
    for tool in ALL_TOOLS:
        assert tool.result.__module__ in {views.__name__, outcomes.__name__}
        walked |= members(tool.result, set())
    assert len(walked) > 50
    assert {kind for kind, name, _ in walked if name in {"value", "plaintext", "secret_value", "seed", "code"}} == {
        views.RevealedField
    }
    allowed = {str, int, bool, type(None), Ellipsis, tuple, typing.Literal}
    for kind, name, hint in walked:
        for leaf in leaves(hint):
            assert leaf in allowed or isinstance(leaf, str) or dataclasses.is_dataclass(leaf), (kind, name, leaf)


def leaves(hint: Any) -> list[Any]:  # noqa: ANN401 - as above
    """Return what a type hint is made of."""
    arguments = typing.get_args(hint)
    return [leaf for argument in arguments for leaf in leaves(argument)] if arguments else [hint]


def test_views_are_frozen_and_hold_no_unnamed_member() -> None:
    """Frozen and slotted: nothing is added after it was built."""
    for kind in {kind for tool in ALL_TOOLS for kind, _, _ in members(tool.result, set())}:
        assert kind.__dataclass_params__.frozen
        assert "__slots__" in vars(kind)


def test_the_revealed_view_holds_the_text_and_nothing_hides() -> None:
    """The one place where a Secret becomes a text."""
    secret: Secret[str] = KnownSecrets().text("demo value", SecretKind.FIELD)
    view = views.revealed_field("r4://a/b/c", secret, ("a\u200b", "b", "c"), "SECRET", None)
    assert view.value == "demo value"
    assert view.vault == "a\\u{200b}"
    assert repr(secret) == HIDDEN


@pytest.mark.parametrize("listing", ["items a", "items ab", "items abc"])
def test_a_cursor_has_one_spelling(listing: str) -> None:
    """Trailing bits, padding and the other base64 alphabet make no second cursor of the same page."""
    text = cursors().write(listing, 50)
    others = [
        text[:at] + character + text[at + 1 :]
        for at in range(len(text))
        for character in string.ascii_letters + string.digits + "-_+/="
        if character != text[at]
    ]
    for other in [*others, text + "=" * (-len(text) % 4 or 1)]:
        with pytest.raises(InvalidArgumentError):
            cursors().read(other, listing)


@pytest.mark.parametrize(
    "text", ["\ufe0f", "\U000e0101", "\u3164", "\u115f", "\uffa0", "\u034f", "\u17b4", "\u2800", "\u180b"], ids=ascii
)
def test_blank_letters_are_escaped(text: str) -> None:
    """Characters that show nothing although they count as letters, marks or symbols could carry hidden text."""
    assert display(f"a{text}b") == f"a\\u{{{ord(text):x}}}b"


def test_what_a_person_is_asked_has_one_order_and_plain_blanks() -> None:
    """Blanks that push the end out of sight, and letters that turn the order round, are escaped."""
    assert unmistakable("deploy --stage live \u00e9") == "deploy --stage live \u00e9"
    assert unmistakable("a\u3000b\u2003c\u05d0\u0661") == "a\\u{3000}b\\u{2003}c\\u{5d0}\\u{661}"
