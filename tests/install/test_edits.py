"""Edits of texts: every byte that is not our entry's stays, in JSON and in TOML."""

from __future__ import annotations

import json
import tomllib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from r4_mcp.cli.hosts.edit import Editor, UneditableError
from r4_mcp.cli.hosts.json_edit import JsonEditor
from r4_mcp.cli.hosts.jsonc import plain, scan
from r4_mcp.cli.hosts.toml_edit import TomlEditor

from .texts import ENTRY, NAME, SECTION, configurations

any_newline = st.sampled_from(["\n", "\r\n", "\r"]).flatmap(lambda newline: configurations(comments=True, newline=newline))
STRICT = JsonEditor(SECTION, NAME, comments=False)
LOOSE = JsonEditor(SECTION, NAME, comments=True)
TOML = TomlEditor("mcp_servers", NAME)


def meaning(text: str) -> dict[str, object]:
    """Return what a JSON text says."""
    said = plain(text, scan(text, comments=True))
    assert isinstance(said, dict)
    return said


def is_within(part: str, whole: str) -> bool:
    """Say whether a text can be had from another by leaving characters out: nothing was changed or moved."""
    rest = iter(whole)
    return all(character in rest for character in part)


def with_entry(said: dict[str, object], entry: object) -> dict[str, object]:
    """Return what a configuration should say with an entry."""
    servers = said.get(SECTION, {})
    assert isinstance(servers, dict)
    return {**said, SECTION: {**servers, NAME: entry}}


@given(configurations(comments=False))
def test_strict_json_gains_our_entry_and_nothing_else(text: str) -> None:
    """It stays strict JSON, and loses no character."""
    edited = STRICT.insert(text, ENTRY)
    assert json.loads(edited.text) == with_entry(json.loads(text), ENTRY)
    assert is_within(text, edited.text)
    assert STRICT.find(edited.text) is not None


@given(any_newline)
@example('{"a": 1 // note\r}')
def test_json_with_comments_gains_our_entry_and_nothing_else(text: str) -> None:
    """Comments, trailing commas and line breaks stay where they were."""
    edited = LOOSE.insert(text, ENTRY)
    assert meaning(edited.text) == with_entry(meaning(text), ENTRY)
    assert is_within(text, edited.text)


@given(configurations(comments=True))
def test_what_is_shown_is_what_was_added(text: str) -> None:
    """At the line that is told; it holds nothing of others."""
    edited = LOOSE.insert(text, ENTRY)
    assert edited.added in edited.text
    shown = edited.text.split("\n")[edited.line - 1 :]
    assert edited.added.split("\n")[0] in shown[0]
    assert is_within(edited.text.replace(edited.added, "", 1), edited.text)
    rest = meaning("{" + edited.added.strip() + "}") if edited.added.strip()[0] == '"' else meaning(edited.added)
    assert rest in ({NAME: ENTRY}, {SECTION: {NAME: ENTRY}})


@given(any_newline)
@example('{"mcpServers": {"a": 1 // note\n}}')
@example('{"mcpServers": {"a": 1 // note\r}}')
@example('{"mcpServers": {// note\n}}')
def test_taking_the_entry_out_leaves_what_was_there(text: str) -> None:
    """The meaning always; an emptied section that was not there stays, and only white space differs otherwise."""
    removed = LOOSE.remove(LOOSE.insert(text, ENTRY).text)
    assert meaning(removed) == {SECTION: {}} | meaning(text)
    if SECTION in meaning(text):
        assert "".join(removed.split()) == "".join(text.split())


@given(st.data(), configurations(comments=True))
def test_an_entry_is_taken_out_from_anywhere(data: st.DataObject, text: str) -> None:
    """First, last or between others; with a comma behind it or not."""
    said = meaning(LOOSE.insert(text, ENTRY).text)
    servers = said[SECTION]
    assert isinstance(servers, dict)
    order = data.draw(st.permutations(list(servers)))
    shuffled = json.dumps(
        {**said, SECTION: {name: servers[name] for name in order}}, indent=data.draw(st.sampled_from([None, 2]))
    )
    wanted = {**said, SECTION: {name: server for name, server in servers.items() if name != NAME}}
    assert meaning(LOOSE.remove(shuffled)) == wanted


@given(configurations(comments=True))
def test_replacing_changes_the_entry_only(text: str) -> None:
    """In its place."""
    before = LOOSE.insert(text, {"command": "other", "args": [1, {"b": []}]}).text
    after = LOOSE.replace(before, ENTRY).text
    assert meaning(after) == with_entry(meaning(text), ENTRY)
    assert list(meaning(after)) == list(meaning(before))


def ours(unit: str = "  ", newline: str = "\n") -> str:
    """Return our entry on lines of its own, two levels deep."""
    return newline.join([f'{unit * 2}"r4": {{', f'{unit * 3}"command": "r4-mcp"', f"{unit * 2}}}"])


LAYOUTS = {
    "indented by two": (
        '{\n  "mcpServers": {\n    "a": {}\n  }\n}\n',
        '{\n  "mcpServers": {\n    "a": {},\n' + ours() + "\n  }\n}\n",
    ),
    "indented by tabs": (
        '{\n\t"mcpServers": {\n\t\t"a": {}\n\t}\n}',
        '{\n\t"mcpServers": {\n\t\t"a": {},\n' + ours("\t") + "\n\t}\n}",
    ),
    "CR LF": (
        '{\r\n    "x": 1\r\n}',
        '{\r\n    "x": 1,\r\n    "mcpServers": {\r\n' + ours("    ", "\r\n") + "\r\n    }\r\n}",
    ),
    "a comma after the last": (
        '{\n  "mcpServers": {\n    "a": {},\n  },\n}',
        '{\n  "mcpServers": {\n    "a": {},\n' + ours() + ",\n  },\n}",
    ),
    "a comment after the last": (
        '{\n  "mcpServers": {\n    "a": {} // one\n  }\n}',
        '{\n  "mcpServers": {\n    "a": {}, // one\n' + ours() + "\n  }\n}",
    ),
    "on one line": ('{"mcpServers": {"a": {}}}', '{"mcpServers": {"a": {}, "r4": {"command": "r4-mcp"}}}'),
    "an empty section": ('{\n  "mcpServers": {}\n}\n', '{\n  "mcpServers": {\n' + ours() + "\n  }\n}\n"),
    "an empty object": ("{}", '{\n  "mcpServers": {\n' + ours() + "\n  }\n}"),
    "an empty file": ("", '{\n  "mcpServers": {\n' + ours() + "\n  }\n}\n"),
}


@pytest.mark.parametrize("case", LAYOUTS.values(), ids=list(LAYOUTS))
def test_the_entry_is_laid_out_as_its_neighbours(case: tuple[str, str]) -> None:
    """Line breaks, indentation, one line or many, the comma after the last."""
    before, after = case
    assert LOOSE.insert(before, {"command": "r4-mcp"}).text == after


REFUSED = {
    "an array": ("[]", "it is JSON, but no object"),
    "a section that is a list": ('{\n"mcpServers": []}', "mcpServers on line 2 is no object"),
    "a section that is null": ('{"mcpServers": null}', "mcpServers on line 1 is no object"),
    "two sections": (
        '{"mcpServers": {},\n"mcpServers": {}}',
        "mcpServers stands there more than once, on lines 1 and 2 (rule 2)",
    ),
    "two entries": ('{"mcpServers": {"r4": 1,\n\n"r4": 1}}', "r4 stands there more than once, on lines 1 and 3 (rule 2)"),
    "two spellings of one name": (
        '{"mcpServers": {"r4": 1, "\\u0072\\u0034": 1}}',
        "r4 stands there more than once, on lines 1 and 1 (rule 2)",
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_be_edited_is_refused(case: tuple[str, str]) -> None:
    """By looking already."""
    text, told = case
    with pytest.raises(UneditableError) as caught:
        LOOSE.find(text)
    assert str(caught.value) == told


@pytest.mark.parametrize("editor", [STRICT, LOOSE], ids=["strict", "loose"])
def test_a_broken_text_is_refused_without_a_word_of_it(editor: Editor) -> None:
    """Line and column only."""
    with pytest.raises(UneditableError) as caught:
        editor.insert('{\n  "env": {"TOKEN": "hunter2-of-others" "x": 1}\n}', ENTRY)
    assert "line 2, column 40 should have a comma or }" in str(caught.value)
    assert "hunter2" not in str(caught.value)


TABLES = {
    "nothing": "",
    "blank lines": "\n\n",
    "no table": 'model = "x" # mine\n',
    "no line break at the end": "[a]\nb = 1",
    "another server": '[mcp_servers.a]\ncommand = "a" # c\n\n# about b\n[mcp_servers.b]\ncommand = "b"\n',
    "CR LF": 'x = 1\r\n\r\n[mcp_servers.a]\r\ncommand = "a"\r\n',
    "servers before other tables": '[mcp_servers.a]\ncommand = "a"\n[[list]]\nx = 1\n[tui]\ny = """\n[mcp_servers.b]\n"""\n',
    "dotted servers in a table": '[mcp_servers]\na.command = "a"\n',
}


@pytest.mark.parametrize("text", TABLES.values(), ids=list(TABLES))
def test_toml_gains_our_table_and_loses_it_again(text: str) -> None:
    """Appended; taken out, the text is what it was, a line break at its end apart."""
    edited = TOML.insert(text, ENTRY)
    assert edited.text.startswith(text)
    assert tomllib.loads(edited.text)["mcp_servers"][NAME] == ENTRY
    assert edited.text.endswith(edited.added)
    found = TOML.find(edited.text)
    assert found is not None
    assert (found.value, found.line) == (ENTRY, edited.line)
    assert TOML.remove(edited.text).rstrip("\r\n") == text.rstrip("\r\n")


def test_a_toml_entry_goes_with_its_subtables_and_no_comment_of_others() -> None:
    """Sub-tables are ours, wherever they stand; the comment behind belongs to what follows."""
    text = (
        '[mcp_servers.r4] # ours\ncommand = "r4-mcp"\nargs = [\n  "serve", # first\n]\n\n# about foo\n[mcp_servers.foo]\n'
        'x = 1\n\n[mcp_servers.r4.tools.read_secret]\napproval = "ask"\n\n[mcp_servers."r4".env]\nA = "b"\n# the end\n'
    )
    assert TOML.remove(text) == "\n# about foo\n[mcp_servers.foo]\nx = 1\n\n\n# the end\n"


HARD = {
    "an inline table": 'mcp_servers = { r4 = { command = "r4-mcp" } }\n',
    "dotted keys": 'mcp_servers.r4.command = "r4-mcp"\n',
    "a key of the table of servers": '[mcp_servers]\nr4 = { command = "r4-mcp" }\n',
    "our header inside a string of others": '[tui]\ny = """\n[mcp_servers.r4]\n"""\n[mcp_servers.r4]\nx = 1\n',
    "a header inside a string of ours": '[mcp_servers.r4]\nx = """\n[mcp_servers.foo]\n"""\n',
}


@pytest.mark.parametrize("text", HARD.values(), ids=list(HARD))
def test_a_toml_entry_in_another_form_is_left_to_a_person(text: str) -> None:
    """It is found, and not taken out."""
    assert TOML.find(text) is not None
    with pytest.raises(UneditableError, match="in a form that can't be changed"):
        TOML.remove(text)


@pytest.mark.parametrize("text", ["mcp_servers = {}\n", 'mcp_servers = { a = { command = "a" } }\n', "mcp_servers = 1\n"])
def test_a_toml_table_that_cannot_grow_is_left_to_a_person(text: str) -> None:
    """Inline tables are closed (TOML 1.0)."""
    with pytest.raises(UneditableError):
        TOML.insert(text, ENTRY)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a = 1\nb = hunter2\n", "line 2, column 5"),
        ('x = "hunter2', "its end"),
        ("[a]\n[a]\n", "line 2"),
        ("a = " + "[" * 9000, "nests"),
    ],
)
def test_broken_toml_is_refused_without_a_word_of_it(text: str, place: str) -> None:
    """By its place."""
    with pytest.raises(UneditableError) as caught:
        TOML.find(text)
    assert place in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_toml_text_may_hold_any_path() -> None:
    """Quotes, backslashes, DEL and letters of the world."""
    entry: dict[str, object] = {"command": 'C:\\Prog "x"\\é中\x7f\t\U0001f511', "args": []}
    assert tomllib.loads(TOML.insert("", entry).text)["mcp_servers"][NAME] == entry
