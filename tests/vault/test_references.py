"""References are parsed by our own grammar, written so that they parse back, and never matched by choice."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from r4_mcp.core.record import is_id
from r4_mcp.errors import AmbiguousReferenceError, NotFoundError, ReferenceSyntaxError
from r4_mcp.vault.references import (
    MAX_REFERENCE,
    Named,
    Reference,
    ScreamingKey,
    address,
    match,
    parse_field_reference,
    parse_reference,
    screaming,
    screaming_key,
    write_reference,
)

ID = "0123456789abcdef01234567"
OTHER_ID = "89abcdef0123456789abcdef"
ADDRESSABLE = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda name: name not in {".", ".."}
)
PATIENT = settings(deadline=None)
PARTS = st.lists(ADDRESSABLE | st.just(ID), min_size=1, max_size=3)


@PATIENT
@given(PARTS)
@example(["a/b", "50% #1?", "\x00\n\x7f"])
@example(["...", "r4://", "%2e%2e"])
@example(["\U0001f511", "e\u0301", "\u202e"])
def test_parsing_what_was_written_is_identity(parts: list[str]) -> None:
    """Every addressable name comes back unchanged, whatever it holds; what is written is plain ASCII."""
    written = write_reference(*parts)
    assert parse_reference(written) == Reference(*parts)
    assert parse_field_reference(written) == Reference(*parts)
    assert written.isascii()
    assert written.count("/") == 1 + len(parts)


def test_the_longest_addressable_names_can_be_parsed() -> None:
    """What ``address`` calls addressable by name, the parser reads: 255 letters of four bytes each, three times."""
    name = "\U0001f511" * 255
    assert address(ID, name, [name]) == name
    assert parse_reference(write_reference(name, name, name)) == Reference(name, name, name)


@PATIENT
@given(st.binary(min_size=12, max_size=12).map(bytes.hex))
def test_an_id_is_always_an_id(text: str) -> None:
    """24 lowercase hex characters parse to the id, spelled plainly or percent-encoded."""
    spelled = "".join(f"%{ord(character):02x}" for character in text)
    assert parse_reference(f"r4://{text}") == parse_reference(f"r4://{spelled}") == Reference(text)
    assert is_id(parse_reference(f"r4://v/i/{text}").field or "")


ACCEPTED = {
    "a vault": ("r4://Production", Reference("Production")),
    "an item": ("r4://Production/GitHub", Reference("Production", "GitHub")),
    "a field": (f"r4://{ID}/GitHub/Access%20Key", Reference(ID, "GitHub", "Access Key")),
    "raw spaces and letters": ("r4://Prod DB/\u00e9/\U0001f511", Reference("Prod DB", "\u00e9", "\U0001f511")),
    "an encoded slash": ("r4://a%2Fb/c%2fd", Reference("a/b", "c/d")),
    "an encoded percent is decoded once": ("r4://100%2525", Reference("100%25")),
    "other reserved characters": ("r4://a:b@c;d=e&f+g", Reference("a:b@c;d=e&f+g")),
    "three dots": ("r4://...", Reference("...")),
    "an encoded NUL": ("r4://a%00b", Reference("a\x00b")),
}


@pytest.mark.parametrize(("text", "reference"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_a_reference_is_read_as_it_stands(text: str, reference: Reference) -> None:
    """Decoded once, normalised never."""
    assert parse_reference(text) == reference


REFUSED = {
    "nothing": "",
    "no scheme": "canary/item",
    "the scheme alone": "r4://",
    "an empty vault": "r4:///canary",
    "one slash": "r4:/canary",
    "another scheme": "https://canary",
    "capitals in the scheme": "R4://canary",
    "space before": " r4://canary",
    "four parts": "r4://canary/b/c/d",
    "an empty part in the middle": "r4://canary//c",
    "an empty part at the end": "r4://canary/b/",
    "a percent alone": "r4://canary%",
    "a percent and one digit": "r4://canary%2",
    "a percent without digits": "r4://canary%zz",
    "a percent and a full-width digit": "r4://canary%\uff12\uff12",
    "a raw question mark": "r4://canary?a=1",
    "a raw hash": "r4://canary#b",
    "a raw NUL": "r4://canary\x00",
    "a raw newline": "r4://canary\n",
    "a newline inside": "r4://canary\nb/c",
    "a raw tab": "r4://canary\tb",
    "a raw delete": "r4://canary\x7f",
    "a dot": "r4://canary/.",
    "two dots": "r4://canary/../b",
    "two dots, encoded": "r4://canary/%2e%2e/b",
    "two dots, half encoded": "r4://canary/.%2E",
    "a dot, encoded": "r4://%2e/canary",
    "a byte that is not UTF-8": "r4://canary%ff",
    "an overlong slash": "r4://canary%c0%af",
    "an encoded surrogate": "r4://canary%ed%a0%80",
    "half a surrogate pair": "r4://canary\ud800",
    "ten kilobytes": "r4://canary" + "a" * 10_240,
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_anything_else_is_refused_and_not_quoted(text: str) -> None:
    """The text may be a pasted secret, so nothing of it is in the error or in what the error shows of its causes."""
    for parse in (parse_reference, parse_field_reference):
        with pytest.raises(ReferenceSyntaxError) as refused:
            parse(text)
        error = refused.value
        assert "canary" not in f"{error!r} {error} {error.next_step} {error.candidates}"
        assert error.__cause__ is None
        assert error.__suppress_context__ or error.__context__ is None


def test_the_length_limit_is_exact() -> None:
    """As long as allowed is read; a character more is refused."""
    text = "r4://" + "a" * (MAX_REFERENCE - 5)
    assert parse_reference(text).vault == "a" * (MAX_REFERENCE - 5)
    with pytest.raises(ReferenceSyntaxError, match="at most"):
        parse_reference(text + "a")


SCREAMING = {
    ("Production DB", "Username"): "PRODUCTION_DB_USERNAME",
    ("AWS Credentials", "Access Key"): "AWS_CREDENTIALS_ACCESS_KEY",
    ("my-redis-cache", "connection_string"): "MY_REDIS_CACHE_CONNECTION_STRING",
    ("GitHub Production", "Token"): "GITHUB_PRODUCTION_TOKEN",
    ("  --x--  ", "a..b"): "X_A_B",
    ("S3", "v2Key"): "S3_V2KEY",
    ("caf\u00e9", "x"): "CAF_X",
    ("\u041a\u043b\u044e\u0447", "x"): None,
    ("x", "---"): None,
    ("", "x"): None,
}


@pytest.mark.parametrize(("names", "key"), SCREAMING.items(), ids=str)
def test_a_screaming_key_is_made_of_both_names(names: tuple[str, str], key: str | None) -> None:
    """Every run of other characters is one underscore; camel humps are not split; a name without letters makes no key."""
    assert screaming_key(*names) == key


@PATIENT
@given(st.text(max_size=40), st.text(max_size=40))
def test_every_screaming_key_is_one_to_the_parser(item: str, field: str) -> None:
    """What is made parses as made, and making it again changes nothing."""
    key = screaming_key(item, field)
    if key is not None:
        assert parse_field_reference(key) == ScreamingKey(key)
        assert screaming(key) == key


@pytest.mark.parametrize("text", ["token", "Token", "A__B", "_A", "A_", "A-B", "A B", "\u00c9", "A\n", "A" * 9_217])
def test_what_is_neither_reference_nor_key_is_refused(text: str) -> None:
    """Only SCREAMING_SNAKE_CASE stands for a field without the scheme."""
    with pytest.raises(ReferenceSyntaxError):
        parse_field_reference(text)


def test_a_screaming_key_names_fields_only() -> None:
    """Where a vault or item is asked for, a key is no reference."""
    with pytest.raises(ReferenceSyntaxError):
        parse_reference("GITHUB_PRODUCTION_TOKEN")


def things(*pairs: tuple[str, str]) -> list[Named[str]]:
    """Return named things that are their own id."""
    return [Named(own_id, name, own_id) for own_id, name in pairs]


def by_id(thing: Named[str]) -> str:
    """Write a candidate by id."""
    return write_reference(thing.id)


ONE, TWO, THREE = "1" * 24, "2" * 24, "3" * 24


@pytest.mark.parametrize(
    ("part", "found"),
    [("Token", ONE), ("TOKEN", TWO), ("token", None), ("secret", THREE), ("SECRET", THREE), (TWO, TWO), ("\u00c9", None)],
)
def test_exact_beats_case_insensitive(part: str, found: str | None) -> None:
    """The exact name first; else the only one that fits by case; several are an ambiguity."""
    known = things((ONE, "Token"), (TWO, "TOKEN"), (THREE, "Secret"))
    if found is not None:
        assert match(part, known, "field", by_id) == found
    elif part == "token":
        with pytest.raises(AmbiguousReferenceError, match="2 fields fit that name") as refused:
            match(part, known, "field", by_id)
        assert refused.value.candidates == (f"r4://{ONE}", f"r4://{TWO}")
    else:
        with pytest.raises(NotFoundError, match="no field of that name is visible"):
            match(part, known, "field", by_id)


def test_two_exact_fits_are_an_ambiguity() -> None:
    """The same name twice lists both, by id, and never the names."""
    with pytest.raises(AmbiguousReferenceError) as refused:
        match("canary", things((ONE, "canary"), (TWO, "canary"), (THREE, "Canary")), "item", by_id)
    assert refused.value.candidates == (f"r4://{ONE}", f"r4://{TWO}")
    assert "canary" not in str(refused.value)


def test_a_part_that_looks_like_an_id_matches_ids_only() -> None:
    """A thing whose name imitates another's id can't be taken for it."""
    known = things((ONE, ID), (ID, "real"))
    assert match(ID, known, "item", by_id) == ID
    with pytest.raises(NotFoundError, match="no item of that id is visible"):
        match(ID, known[:1], "item", by_id)


BY_ID = {
    "empty": ("", []),
    "a dot": (".", []),
    "two dots": ("..", []),
    "like an id": (OTHER_ID, []),
    "half a surrogate pair": ("a\ud800", []),
    "longer than a name can be": ("x" * 256, []),
    "a twin": ("Token", ["Token"]),
    "a twin by case": ("Token", ["TOKEN"]),
    "a twin by full case folding": ("Stra\u00dfe", ["STRASSE"]),
}


@pytest.mark.parametrize(("name", "siblings"), BY_ID.values(), ids=BY_ID.keys())
def test_a_name_that_can_be_mistaken_is_addressed_by_id(name: str, siblings: list[str]) -> None:
    """Rule 2, and names that are not the only ones of their kind."""
    assert address(ID, name, [name, *siblings]) == ID


@PATIENT
@given(st.lists(ADDRESSABLE | st.sampled_from(["Token", "TOKEN", "token", ".", "", ID]), min_size=1, max_size=5), st.data())
def test_an_address_leads_back_to_its_thing(names: list[str], data: st.DataObject) -> None:
    """Written and parsed, the address of a thing matches that thing and no other, whatever stands beside it."""
    known = things(*((f"{number:024x}", name) for number, name in enumerate(names)))
    chosen = data.draw(st.sampled_from(known))
    part = parse_reference(write_reference(address(chosen.id, chosen.name, names))).vault
    assert match(part, known, "item", by_id) == chosen.id
