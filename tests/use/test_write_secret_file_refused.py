"""Where ``write_secret_file`` writes nothing: places that are not listed, paths that lead elsewhere, values that fit no file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

import pytest

from r4_mcp.core.wire import FieldType
from r4_mcp.policy.use_file import MAX_ENTRIES
from tests.cli.running import run_here
from tests.doors import POLICY, World, in_memory, write_private

from .services import TOKEN, reference
from .test_write_secret_file import Desk, audited, entries, make_desk, write

OTHER: Final = "r4://Engineering/Sentry/Auth%20Token"


@pytest.fixture
def desk(world: World, tmp_path: Path) -> Desk:
    """Make a desk in an INTERNAL vault."""
    return make_desk(world, tmp_path / "web")


REFUSED: Final[dict[str, tuple[str, dict[str, Any], str]]] = {
    "no entry": ("invalid_argument", {"entries": {}}, "entries"),
    "many entries": ("invalid_argument", {"entries": {f"A{n}": reference("Token") for n in range(MAX_ENTRIES + 1)}}, "entries"),
    "two values as they are": ("invalid_argument", write(form="raw", entries=entries("Token", "Password")), "raw"),
    "a large request": ("invalid_argument", {"format": "json", "entries": {"A" * 17_000: reference("Token")}}, "characters"),
    "another format": ("invalid_argument", {"format": "yaml"}, "format"),
    "a list of entries": ("invalid_argument", {"entries": [reference("Token")]}, "entries"),
    "a number for a reference": ("invalid_argument", {"entries": {"TOKEN": 1}}, "entries"),
    "a line end in the path": ("invalid_argument", {"path": ".env\n"}, "path"),
    "a NUL in the path": ("invalid_argument", {"path": "a\0b"}, "path"),
    "what is not seen in the path": ("invalid_argument", {"path": ".e\u200bnv"}, "path"),
    "a value for a reference": ("invalid_reference", {"entries": {"TOKEN": "harbour bridge"}}, "reference"),
    "an unknown vault": ("not_found", {"entries": {"TOKEN": "r4://Nowhere/Item/Field"}}, "vault"),
    "an unknown field": ("not_found", {"entries": {"TOKEN": reference("Nothing")}}, "field"),
    "an item with several secrets": ("ambiguous_reference", {"entries": {"TOKEN": reference("")[:-1]}}, "field"),
    "a one-time code": ("not_readable", {"entries": entries("Token", "Code")}, "stale"),
    "an attachment": ("not_readable", {"entries": entries("Chart")}, "attachment"),
    "another vault": ("denied", {"entries": {"TOKEN": OTHER}}, "for others than"),
    "a vault beside the right one": ("denied", {"entries": {**entries("Token"), "OTHER": OTHER}}, "for others than r4://"),
    "a name that no shell takes": ("invalid_argument", {"entries": {"the token": reference("Token")}}, "name"),
    "a name that changes how programs load": ("invalid_argument", {"entries": {"LD_PRELOAD": reference("Token")}}, "ld_preload"),
    "a path outside": ("secret_file_refused", {"path": "/etc/harbour.env"}, "no folder"),
    "the folder's neighbour": ("secret_file_refused", {"path": "{folder}-beside/.env"}, "no folder"),
    "a path that leaves": ("secret_file_refused", {"path": "../outside.env"}, "dot segment"),
    "a path that leaves and comes back": ("secret_file_refused", {"path": "{folder}/../web/.env"}, "dot segment"),
}


async def test_what_is_wrong_is_refused_before_a_value_is_opened(desk: Desk) -> None:
    """Each with its code and words; no key is fetched, nothing is written, nothing counts as used."""
    async with in_memory(desk.world.environment) as door:
        for what, (code, more, words) in REFUSED.items():
            call = {**write(), **more}
            call["path"] = call["path"].format(folder=desk.folder)
            told = await door.refused("write_secret_file", code, **call)
            assert words in told["message"].lower(), what
            assert "harbour bridge" not in json.dumps(told), what
        assert (await door.ok("exposure"))["used"] == []
    assert not any("wrapped-key" in line for line in desk.world.tap.lines())
    assert desk.files() == []
    assert not (desk.folder.parent / "outside.env").exists()


async def test_a_refusal_says_where_files_may_stand(desk: Desk) -> None:
    """By the operator's own words and by ids, with what fits there; and the audit log has it as denied."""
    desk.allow(desk.root(name="web", formats=["env"]), desk.root(item=desk.item_id, path=desk.folder / "in"))
    asked = {"path": "/etc/harbour.env"}, {"path": str(desk.folder / "a.json"), "format": "json"}
    async with in_memory(desk.world.environment) as door:
        told = await door.refused("write_secret_file", "secret_file_refused", **write(**asked[0]))
        assert told["candidates"] == [
            f"web: {desk.folder} takes r4://{desk.vault_id} as env",
            f"root 2: {desk.folder}/in takes r4://{desk.vault_id}/{desk.item_id} as env, json, raw",
        ]
        assert "[[write_secret_file.root]]" in told["next_step"]
        told = await door.refused("write_secret_file", "denied", entries=entries("Token"), **asked[1])
        assert "other formats" in told["message"]
        assert len(told["candidates"]) == 1
    assert {(line["decision"], line["rule"]) for line in audited(desk.world)} == {("deny", "no listed folder")}


async def test_the_longest_folder_that_holds_the_path_counts(desk: Desk) -> None:
    """A folder inside another is given less, or something else; the same folder may be listed for several vaults."""
    (desk.folder / "inner").mkdir()
    engineering = desk.world.vault_id("Engineering")
    inner = desk.folder / "inner"
    desk.allow(desk.root(), desk.root(inner, vault=engineering), desk.root(inner, item="0" * 24))
    async with in_memory(desk.world.environment) as door:
        await door.ok("write_secret_file", **write(str(desk.folder / "a.env")))
        await door.refused("write_secret_file", "denied", **write(str(inner / "a.env")))
        await door.ok("write_secret_file", **write(str(inner / "b.env"), entries={"OTHER": OTHER}))
        told = await door.refused("write_secret_file", "invalid_argument", **write("a.env"))
        assert "several folders" in told["message"]
        assert len(told["candidates"]) == 3
        desk.allow(desk.root(), desk.root(vault=engineering))
        await door.ok("write_secret_file", **write("both.env", entries={**entries("Token"), "OTHER": OTHER}))
    assert desk.files() == ["a.env", "both.env", "inner/b.env"]


@pytest.mark.parametrize("replace", [False, True])
async def test_no_link_is_followed_below_the_folder(replace: bool, desk: Desk, tmp_path: Path) -> None:  # noqa: FBT001 - a row
    """In each part of the path, wherever it leads; nor is anything but a regular file replaced."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    (desk.folder / "deep").mkdir()
    (desk.folder / "deep" / "file").symlink_to(outside / "kept")
    (desk.folder / "deep" / "nowhere").symlink_to(outside / "new")
    (desk.folder / "deep" / "down").symlink_to(outside)
    (desk.folder / "first").symlink_to(desk.folder / "deep")
    async with in_memory(desk.world.environment) as door:
        for path in ("deep/file", "deep/nowhere", "deep/down/kept", "deep/down/new", "first/new", "deep"):
            await door.refused("write_secret_file", "secret_file_refused", **write(path, replace=replace))
        await door.refused("write_secret_file", "file_access", **write("missing/new", replace=replace))
    assert sorted(path.name for path in outside.iterdir()) == ["kept"]
    assert (outside / "kept").read_text() == "kept"


async def test_a_folder_inside_another_is_found_by_any_name(desk: Desk, tmp_path: Path) -> None:
    """A link to the outer folder, or a file system that knows no capitals, gives nothing more in the inner one."""
    (desk.folder / "inner").mkdir()
    (tmp_path / "link").symlink_to(desk.folder)
    desk.allow(desk.root(tmp_path / "link"), desk.root(desk.folder / "inner", vault=desk.world.vault_id("Engineering")))
    async with in_memory(desk.world.environment) as door:
        await door.ok("write_secret_file", **write(str(tmp_path / "link" / "a.env")))
        told = await door.refused("write_secret_file", "secret_file_refused", **write(str(tmp_path / "link" / "inner" / "a.env")))
        assert "into another" in told["message"]
    assert desk.files() == ["a.env"]


@pytest.mark.parametrize(
    "way", ["its home", "above its home", "a link to its home", "its policy elsewhere", "its agent file", "a trust store to come"]
)
async def test_what_the_program_is_told_by_is_never_written(way: str, desk: Desk, tmp_path: Path) -> None:
    """Whoever may fill a vault could else write the policy, or what was verified; listed or not, by any name."""
    home, environment = desk.world.home, desk.world.environment
    (tmp_path / "link").symlink_to(home)
    listed, path = {
        "its home": (home, "policy.toml"),
        "above its home": (home.parent, f"{home.name}/state/new.env"),
        "a link to its home": (tmp_path / "link", "policy.toml"),
        "its policy elsewhere": (desk.folder, "policy.toml"),
        "its agent file": (desk.folder, "agent.json"),
        "a trust store to come": (desk.folder, "trust.json"),
    }[way]
    desk.allow(desk.root(listed))
    if way == "its policy elsewhere":
        text = write_private(desk.folder / "policy.toml", "\n".join((desk.root(listed), POLICY)))
        environment = {**environment, "R4_POLICY": str(text)}
    if way == "its agent file":
        agent = desk.folder / path
        shutil.copy2(environment["R4_CONFIG"], agent)
        environment = {**environment, "R4_CONFIG": str(agent)}
    if way == "a trust store to come":
        environment = {**environment, "R4_TRUST_STORE_PATH": str(desk.folder / path)}
    before = (listed / path).read_bytes() if path in {"policy.toml", "agent.json"} else None
    async with in_memory(environment) as door:
        told = await door.refused("write_secret_file", "secret_file_refused", **write(path, "raw", replace=True))
        assert "own files" in told["message"]
        assert (await door.ok("exposure"))["used"] == []
    assert before is None or (listed / path).read_bytes() == before
    assert not (home / "state" / "new.env").exists()


@pytest.mark.parametrize("path", ["deploy.py", "bin/helper.py", "work/settings.env"])
async def test_what_a_listed_command_runs_is_never_written(path: str, desk: Desk) -> None:
    """Its program, what lies beside that, a script among its arguments, and the folder where it works."""
    for folder in ("bin", "work"):
        (desk.folder / folder).mkdir()
    (desk.folder / "deploy.py").write_text("print('old')")
    argv = json.dumps([str(desk.folder / "bin" / "run"), str(desk.folder / "deploy.py")])
    command = (
        f'[[run_command.allow]]\nname = "deploy"\nargv = {argv}\nfolder = "{desk.folder / "work"}"\n'
        f'secrets = ["r4://{desk.vault_id}"]\nenv = ["T"]\n'
    )
    desk.allow(desk.root(), command)
    async with in_memory(desk.world.environment) as door:
        told = await door.refused("write_secret_file", "secret_file_refused", **write(path, "raw", replace=True))
        assert "a listed command" in told["message"]
        await door.ok("write_secret_file", **write("beside.env"))
    assert desk.files() == ["beside.env", "deploy.py"]
    assert desk.content("deploy.py") == "print('old')"


@pytest.mark.parametrize("path", ["", "a.env/", "a\u200b.env"])
async def test_a_path_that_is_none_is_refused_before_anything_is_opened(path: str, desk: Desk) -> None:
    """What is refused afterwards has cost a use, and could be asked again and again."""
    async with in_memory(desk.world.environment) as door:
        await door.refused("write_secret_file", "invalid_argument", **write(path))
        assert (await door.ok("exposure"))["used"] == []
    assert desk.files() == []


async def test_path_and_names_hold_no_secret(desk: Desk) -> None:
    """Neither one that was read, nor what only looks like one, nor the one that goes into the file; nothing is written."""
    desk.world.add_item("Engineering", "Stage", ("Name", FieldType.SECRET, "production"))
    shaped = "gh" + "p_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0dF3gH6"
    desk.allow(desk.root(), desk.root(vault=desk.world.vault_id("Engineering")))
    async with in_memory(desk.world.environment) as door:
        into_itself = write("production.env", entries={"STAGE": "r4://Engineering/Stage/Name"})
        await door.refused("write_secret_file", "secret_in_text", **into_itself)
        await door.ok("read_secret", reference=reference("Token"))
        for text in (TOKEN, shaped):
            for more in ({"path": f"a/{text}.env"}, {"entries": {text: reference("Password")}, "format": "json"}):
                told = await door.refused("write_secret_file", "secret_in_text", **{**write(), **more})
                assert text not in json.dumps(told)
        assert {row["how"] for row in (await door.ok("exposure"))["blocked"]} == {"screening"}
    assert desk.files() == []


async def test_a_value_that_stands_in_the_listed_folders_name_blocks_nothing(desk: Desk, tmp_path: Path) -> None:
    """The folder is the operator's word, not the model's."""
    (tmp_path / "production").mkdir()
    desk.world.add_item("Engineering", "Stage", ("Name", FieldType.SECRET, "production"))
    desk.allow(desk.root(tmp_path / "production", vault=desk.world.vault_id("Engineering")))
    async with in_memory(desk.world.environment) as door:
        call = write("stage.env", entries={"STAGE": "r4://Engineering/Stage/Name"})
        assert (await door.ok("write_secret_file", **call))["path"] == str(tmp_path / "production" / "stage.env")
    assert (tmp_path / "production" / "stage.env").read_text() == "STAGE=production\n"


@pytest.mark.parametrize(
    ("broken", "code"), [("ledger", "file_access"), ("policy", "unknown_tool"), ("trust store", "file_access")]
)
async def test_what_can_not_be_noted_or_judged_is_not_used(broken: str, code: str, desk: Desk) -> None:
    """A damaged ledger, policy or memory: nothing is written."""
    async with in_memory(desk.world.environment) as door:
        await door.ok("write_secret_file", **write("first"))
        if broken == "policy":
            write_private(desk.world.home / "policy.toml", "[write_secret_file]\nroot = 1\n")
        else:
            (path,) = desk.world.home.rglob("exposure-*.json" if broken == "ledger" else "*trust*.json")
            path.write_text("{}")
        await door.refused("write_secret_file", code, **write("second"))
    assert desk.files() == ["first"]


def test_the_operator_sees_what_the_policy_comes_to(desk: Desk) -> None:
    """A line for each listed folder."""
    ended = run_here("policy", "check", environment=desk.world.environment)
    assert f"file web: {desk.folder} takes r4://{desk.vault_id} as env, json, raw" in ended.out
