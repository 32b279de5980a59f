"""``write_secret_file`` through the door: programs find what they need in the file, and the model sees none of it."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess as programs
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from mcp.shared.exceptions import MCPError

from r4_mcp.core.wire import Classification, FieldType, ItemType
from r4_mcp.emulator.drafts import FieldDraft
from r4_mcp.machine.contract import Level
from r4_mcp.secret import SecretKind
from tests.doors import ERAS, POLICY, Door, Era, World, in_memory, subprocess, text_of, write_private
from tests.tools.schemas import check_result

from .looking import require_absent, require_nowhere
from .services import ITEM, PASSWORD, SEED, TOKEN, USER, VAULT, reference

MANY_LINES: Final = "harbour-chart one\nharbour-chart two\n"
QUOTED: Final = "it's the harbour"
DOLLARS: Final = "price: $5 `id` \\n"
EXPANDED: Final = "wick-${HOME}-42"
UNICODE: Final = "Leuchtturm \u2603 \U0001f511"
NAUGHTY: Final = {"Lines": MANY_LINES, "Quoted": QUOTED, "Dollars": DOLLARS, "Expanded": EXPANDED, "Unicode": UNICODE}


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> None:
    """Take every log line."""
    caplog.set_level(logging.WARNING)
    caplog.set_level(logging.DEBUG, "r4_mcp")


@dataclass(frozen=True, slots=True)
class Desk:
    """An item in a world, and a folder for its files."""

    world: World
    vault_id: str
    item_id: str
    folder: Path

    def root(self, path: Path | None = None, **more: object) -> str:
        """Return the lines that list a folder, for the vault unless others are given."""
        members = {"path": str(path or self.folder), "vault": self.vault_id, **more}
        return "[[write_secret_file.root]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in members.items())

    def allow(self, *lines: str) -> None:
        """Write the operator's policy."""
        write_private(self.world.home / "policy.toml", "\n".join((*lines, POLICY)))

    def content(self, name: str = ".env") -> str:
        """Return what a file holds."""
        return (self.folder / name).read_bytes().decode()

    def files(self) -> list[str]:
        """Return what stands below the folder."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if not path.is_dir())


def make_desk(world: World, folder: Path, classification: Classification | None = Classification.INTERNAL) -> Desk:
    """Make the item, with its fields, and the folder, and list it."""
    values = {"Token": TOKEN, "User": USER, "Password": PASSWORD, **NAUGHTY}
    kinds = {"User": FieldType.TEXT, "Password": FieldType.PASSWORD}
    drafts = [
        FieldDraft(name, kinds.get(name, FieldType.SECRET), world.known.text(value, SecretKind.FIELD))
        for name, value in values.items()
    ]
    drafts.append(FieldDraft("Code", FieldType.TOTP, world.known.text(SEED, SecretKind.FIELD)))
    drafts.append(FieldDraft("Chart", FieldType.FILE, None))
    operator = world.seeded.operator
    vault_id = operator.create_vault(VAULT, classification)
    operator.grant(world.seeded.credentials.agent_id, vault_id, Level.WRITE)
    made = operator.create_item(vault_id, ITEM, ItemType.CUSTOM, [], drafts)
    folder.mkdir()
    desk = Desk(world, vault_id, made.item_id, folder)
    desk.allow(desk.root(name="web"))
    return desk


@pytest.fixture
def desk(world: World, tmp_path: Path) -> Desk:
    """Make a desk in an INTERNAL vault."""
    return make_desk(world, tmp_path / "web")


def entries(*fields: str) -> dict[str, str]:
    """Return references of fields by environment names made of their names."""
    return {field.upper(): reference(field) for field in fields}


def write(path: str = ".env", form: str = "env", **more: object) -> dict[str, Any]:
    """Return arguments: the token as an env file, unless others are given."""
    return {"path": path, "format": form, "entries": entries("Token"), **more}


def audited(world: World) -> list[dict[str, Any]]:
    """Return the lines of the audit log about the tool."""
    lines = [json.loads(line) for line in (world.home / "audit" / "audit.jsonl").read_text().splitlines()]
    return [line for line in lines if line["tool"] == "write_secret_file"]


WRITTEN: Final = {
    "env": (entries("Token", "Password"), f"TOKEN={TOKEN}\nPASSWORD='{PASSWORD}'\n"),
    "json": ({"token": reference("Token"), "pass word": reference("Password")}, {"token": TOKEN, "pass word": PASSWORD}),
    "raw": ({"": reference("Password")}, PASSWORD),
}
"""Format → what is asked for, and what then stands in the file."""


@pytest.mark.parametrize("era", ERAS)
async def test_a_file_is_written_and_nothing_shows_a_value(era: Era, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """In each format: this user's alone, its path in the answer, the use in the ledger and the audit log; no value anywhere."""
    async with in_memory(desk.world.environment, era) as door:
        for form, (wanted, content) in WRITTEN.items():
            answer = await door.ok("write_secret_file", path=f"file.{form}", format=form, entries=wanted)
            check_result("write_secret_file", answer)
            assert answer == {"path": str(desk.folder / f"file.{form}")}
            found = desk.content(f"file.{form}")
            assert (json.loads(found) if form == "json" else found) == content
            status = (desk.folder / f"file.{form}").stat()
            assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_nlink) == (0o600, os.geteuid(), 1)
        ledger = await door.ok("exposure")
        assert {(row["how"], row["count"]) for row in ledger["used"]} == {("write_secret_file", 2), ("write_secret_file", 3)}
        assert (ledger["shown"], ledger["to_rotate"]) == ([], [])
        require_nowhere(desk.world, door, caplog)
    assert desk.files() == ["file.env", "file.json", "file.raw"]
    lines = audited(desk.world)
    assert len(lines) == 5, "one line for each field that a call used"
    told = {(line["outcome"], line["decision"], line["rule"], line["item"]) for line in lines}
    assert told == {("ok", "allow", "web (default: INTERNAL)", desk.item_id)}


async def test_a_shell_reads_what_was_written(desk: Desk) -> None:
    """Each value comes out of ``.env`` as it is in the vault."""
    names = {"Token": TOKEN, "Password": PASSWORD, "Dollars": DOLLARS, "Unicode": UNICODE}
    async with in_memory(desk.world.environment) as door:
        await door.ok("write_secret_file", path=".env", format="env", entries=entries(*names))
    script = "set -a; . ./.env; exec env -0"
    done = await anyio.run_process(["/bin/sh", "-c", script], cwd=desk.folder, env={})
    found = dict(line.split("=", 1) for line in done.stdout.decode().split("\0") if line)
    assert {name: found[name.upper()] for name in names} == names


REPRESENTED: Final = {
    ("env", "Lines"): None,
    ("env", "Quoted"): None,
    ("env", "Expanded"): None,
    ("env", "Dollars"): f"DOLLARS='{DOLLARS}'\n",
    ("env", "Unicode"): f"UNICODE='{UNICODE}'\n",
    **{("raw", field): value for field, value in NAUGHTY.items()},
    **{
        ("json", field): json.dumps({field.upper(): value}, ensure_ascii=False, indent=2) + "\n"
        for field, value in NAUGHTY.items()
    },
}
"""Format and field → the whole file; None where readers would disagree about it."""


async def test_a_value_is_written_as_it_is_or_not_at_all(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Line ends, quotes, dollars and what is beyond ASCII: readers agree about the file, or there is none."""
    async with in_memory(desk.world.environment) as door:
        for (form, field), content in REPRESENTED.items():
            name = f"{field}.{form}"
            if content is None:
                told = await door.refused("write_secret_file", "invalid_argument", **write(name, form, entries=entries(field)))
                assert "json or raw" in told["message"]
                assert name not in desk.files()
            else:
                await door.ok("write_secret_file", **write(name, form, entries=entries(field)))
                assert desk.content(name) == content
        require_nowhere(desk.world, door, caplog)


async def test_an_existing_file_is_replaced_only_on_request(desk: Desk) -> None:
    """By a new private one: whoever has the old one open keeps the old content. Replacing nothing is writing."""
    (desk.folder / ".env").write_text("old")
    (desk.folder / ".env").chmod(0o644)
    async with in_memory(desk.world.environment) as door:
        told = await door.refused("write_secret_file", "already_exists", **write())
        assert "replaced" in told["next_step"]
        assert desk.content() == "old"
        with (desk.folder / ".env").open() as kept:
            await door.ok("write_secret_file", **write(replace=True))
            assert kept.read() == "old"
        await door.ok("write_secret_file", **write("new.env", replace=True))
    assert desk.content() == desk.content("new.env") == f"TOKEN={TOKEN}\n"
    assert stat.S_IMODE((desk.folder / ".env").stat().st_mode) == 0o600
    assert desk.files() == [".env", "new.env"]


async def code_of(door: Door, call: dict[str, Any], codes: list[str]) -> None:
    """Call the tool and note the code of its answer."""
    result = await door.result("write_secret_file", call)
    codes.append(json.loads(text_of(result))["code"] if result.is_error else "ok")


async def test_of_many_at_once_one_makes_the_file(desk: Desk) -> None:
    """The others are told that it is there; with leave to replace, the file is one of them, whole."""
    contents = {f"TOKEN={TOKEN}\n", f"PASSWORD='{PASSWORD}'\n"}
    async with in_memory(desk.world.environment) as door:
        for replaces in (False, True):
            codes: list[str] = []
            async with anyio.create_task_group() as tasks:
                for field in ("Token", "Password") * 4:
                    tasks.start_soon(code_of, door, write("one", entries=entries(field), replace=replaces), codes)
            assert sorted(codes) == (["ok"] * 8 if replaces else ["already_exists"] * 7 + ["ok"])
            assert desk.content("one") in contents
            assert desk.files() == ["one"]


@pytest.mark.stdio
async def test_a_crash_in_the_middle_of_replacing_leaves_the_old_file(desk: Desk, tmp_path: Path) -> None:
    """The real program dies where the new file would take the old one's place: beside it, private and whole, it stays."""
    (desk.folder / ".env").write_text("old")
    (tmp_path / "deadly").mkdir()
    hook = "lambda event, args: event == 'os.rename' and args[1] == '.env' and os._exit(9)"
    (tmp_path / "deadly" / "sitecustomize.py").write_text(f"import os, sys\nsys.addaudithook({hook})\n")
    environment = {**desk.world.environment, "PYTHONPATH": str(tmp_path / "deadly")}
    async with subprocess(environment, stderr=tmp_path / "stderr") as door:
        with pytest.raises(MCPError):
            await door.result("write_secret_file", write(replace=True))
    (beside,) = set(desk.files()) - {".env"}
    assert desk.content() == "old"
    assert beside.startswith(".env.")
    assert desk.content(beside) == f"TOKEN={TOKEN}\n"
    assert stat.S_IMODE((desk.folder / beside).stat().st_mode) == 0o600
    async with subprocess(desk.world.environment, stderr=tmp_path / "stderr") as door:
        await door.ok("write_secret_file", **write(replace=True))
    assert desk.content() == f"TOKEN={TOKEN}\n"


@pytest.mark.stdio
async def test_the_real_program_shows_nothing_either(desk: Desk, tmp_path: Path) -> None:
    """A subprocess over stdio, as hosts start it; whatever its umask is, the file is private and readable by its owner."""
    old = os.umask(0o277)
    try:
        async with subprocess(desk.world.environment, stderr=tmp_path / "stderr") as door:
            await door.ok("write_secret_file", **write(entries=entries("Token", "Password")))
    finally:
        os.umask(old)
    assert stat.S_IMODE((desk.folder / ".env").stat().st_mode) == 0o600
    require_absent("\n".join(door.raw), "the transcript")
    require_absent((tmp_path / "stderr").read_text(), "stderr")


def git(folder: Path, *arguments: str) -> None:
    """Run git as a person would."""
    programs.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments], cwd=folder, check=True, capture_output=True)


async def test_git_must_leave_the_file_alone(desk: Desk) -> None:
    """Tracked, untracked and not ignored, ignored, ignored but tracked; the words say what to do."""
    git(desk.folder, "init", "--quiet")
    (desk.folder / ".gitignore").write_text("*.env\n")
    (desk.folder / "kept.env").write_text("kept")
    git(desk.folder, "add", "--force", "kept.env", ".gitignore")
    git(desk.folder, "commit", "--quiet", "--message", "one")
    async with in_memory(desk.world.environment) as door:
        for path, told in (("kept.env", "tracks"), ("open.txt", "does not ignore"), (".git/x.env", "own folder")):
            refused = await door.refused("write_secret_file", "secret_file_refused", **write(path, replace=True))
            assert told in refused["message"], path
        await door.ok("write_secret_file", **write("own.env"))
    assert [name for name in desk.files() if not name.startswith(".git")] == ["kept.env", "own.env"]
    assert desk.content("kept.env") == "kept"
