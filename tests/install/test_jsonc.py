"""The scanner: what it reads is what ``json`` reads, comments apart, and what ``json`` refuses it refuses."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r4_mcp.cli.hosts.jsonc import MAX_DEPTH, Container, JsonSyntaxError, Member, Node, plain, scan

from .texts import dressed, values


def by_json(text: str) -> object:
    """Read a text by the standard library, without its extension for numbers that JSON has not."""

    def refuse(constant: str) -> object:
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


def spans(node: Node) -> list[tuple[int, int]]:
    """Return where each value stands."""
    inner = [span for member in node.members for span in spans(member.node)] if isinstance(node, Container) else []
    return [(node.start, node.end), *inner]


@given(values, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_what_json_writes_is_read_as_json_reads_it(value: object, indent: int | str | None, ascii_only: bool) -> None:  # noqa: FBT001 - drawn
    """With comments allowed or not."""
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    for comments in (False, True):
        node = scan(text, comments=comments)
        assert plain(text, node) == by_json(text)
        assert all(by_json(text[start:end]) is not ... for start, end in spans(node))


@given(st.text('{}[]:,"\\ \n\t/*-+.eE0123456789truefalsnul\x00\u00a0x', max_size=14))
def test_any_text_is_taken_or_refused_as_json_does(text: str) -> None:
    """Both refuse, or both read the same."""
    try:
        wanted = by_json(text)
    except ValueError:
        with pytest.raises(JsonSyntaxError):
            scan(text, comments=False)
    else:
        assert plain(text, scan(text, comments=False)) == wanted


@given(st.data(), values, st.integers(0, 60), st.sampled_from(['"', "{", "}", "[", "]", ",", ":", "1", "\\", "\n", ""]))
def test_a_damaged_text_is_judged_as_json_does(data: st.DataObject, value: object, place: int, put: str) -> None:
    """One character changed, anywhere."""
    text = json.dumps(value, indent=data.draw(st.sampled_from([None, 2])))
    damaged = text[:place] + put + text[place + 1 :]
    try:
        wanted = by_json(damaged)
    except ValueError:
        with pytest.raises(JsonSyntaxError):
            scan(damaged, comments=False)
    else:
        assert plain(damaged, scan(damaged, comments=False)) == wanted


@given(st.data(), values)
def test_comments_and_trailing_commas_change_nothing(data: st.DataObject, value: object) -> None:
    """Wherever white space may stand."""
    text = data.draw(dressed(json.dumps(value)))
    assert plain(text, scan(text, comments=True)) == value


PLACES = {
    "a comma is missing": ('{\n  "a": 1\n  "b": 2\n}', 3, 3, "a comma or }"),
    "a bracket is missing": ('{\n  "a": [1, 2\n', 3, 1, "a comma or ]"),
    "a value is missing": ('{"a": }', 1, 7, "a value"),
    "a colon is missing": ('{"a" 1}', 1, 6, "a colon"),
    "a name without quotes": ("{a: 1}", 1, 2, "a name in double quotes, or }"),
    "a name in single quotes": ("{'a': 1}", 1, 2, "a name in double quotes, or }"),
    "a string over two lines": ('{"a": "x\ny"}', 1, 7, "a string that ends and holds no line break"),
    "a string with an unknown escape": (r'{"a": "\x"}', 1, 7, "a string that ends and holds no line break"),
    "two values": ("{}\n{}", 2, 1, "nothing more after the value"),
    "nothing": ("", 1, 1, "a value"),
    "NaN": ("[NaN]", 1, 2, "a value"),
    "a number with a leading zero": ("[01]", 1, 3, "a comma or ]"),
}


@pytest.mark.parametrize("case", PLACES.values(), ids=list(PLACES))
@pytest.mark.parametrize("comments", [False, True])
def test_an_error_names_the_place(case: tuple[str, int, int, str], comments: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Line and column from 1, and what should stand there."""
    text, line, column, expected = case
    with pytest.raises(JsonSyntaxError) as caught:
        scan(text, comments=comments)
    assert (caught.value.line, caught.value.column, caught.value.expected) == (line, column, expected)


@pytest.mark.parametrize("text", ["{} // x", "/**/{}", "[1,]", '{"a": 1,}'])
def test_the_extension_is_refused_where_it_is_not_allowed(text: str) -> None:
    """And read where it is."""
    scan(text, comments=True)
    with pytest.raises(JsonSyntaxError):
        scan(text, comments=False)


@pytest.mark.parametrize("text", ["{} /", "{} /* x", "{}/*/", "[,]", "[1,,]", '{"a": 1,,}', "{,}", "[1 /]"])
def test_half_a_comment_or_a_second_comma_is_refused(text: str) -> None:
    """Also where the extension is allowed."""
    with pytest.raises(JsonSyntaxError):
        scan(text, comments=True)


def test_nesting_is_bounded() -> None:
    """The last level that is read, and the first that is not; a text of brackets can't exhaust the stack."""
    scan("[" * MAX_DEPTH + "]" * MAX_DEPTH, comments=False)
    for text in ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "[" * 1_000_000, '{"a":' * 1_000_000):
        with pytest.raises(JsonSyntaxError):
            scan(text, comments=False)


def test_members_of_one_name_are_all_told() -> None:
    """The scanner keeps both; who looks one up has to choose."""
    text = '{"a": 1, "b": 2, "\\u0061": 3}'
    root = scan(text, comments=False)
    assert isinstance(root, Container)
    found: list[Member] = root.of("a")
    assert [plain(text, member.node) for member in found] == [1, 3]
