"""The house rules that a linter can't say alone."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import r4_mcp
from r4_mcp import errors
from r4_mcp.server.explain import NEXT_STEPS, explain

PACKAGE = Path(r4_mcp.__file__).parent
REPOSITORY = Path(__file__).parents[2]
MAX_LINES = 400
BROAD_EXCEPT_ALLOWED = {"server/dispatch.py"}


def python_files() -> list[Path]:
    """Every module of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def every_error() -> Iterator[type[errors.R4Error]]:
    """Every class of the error tree."""
    for _, member in inspect.getmembers(errors, inspect.isclass):
        if issubclass(member, errors.R4Error):
            yield member


def relative(path: Path) -> str:
    """A module's path under the package."""
    return path.relative_to(PACKAGE).as_posix()


def test_the_import_contracts_hold() -> None:
    """import-linter keeps the staircase: no upward arrow, no circle, pure rooms pure."""
    found = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout
    assert "6 kept, 0 broken" in found.stdout


@pytest.mark.parametrize("path", python_files(), ids=relative)
def test_a_file_stays_readable(path: Path) -> None:
    """No module is longer than 400 lines, and each opens with what it is for."""
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    assert ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("path", sorted((REPOSITORY / "tests").rglob("*.py")), ids=lambda path: path.name)
def test_a_test_file_stays_readable(path: Path) -> None:
    """No test module is longer than 400 lines either."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", python_files(), ids=relative)
def test_only_the_door_catches_everything(path: Path) -> None:
    """A broad or bare except exists at the server's door alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ExceptHandler):
            caught = "everything" if node.type is None else ast.unparse(node.type)
            broad = caught in {"everything", "Exception", "BaseException"}
            assert not broad or relative(path) in BROAD_EXCEPT_ALLOWED, f"line {node.lineno} catches {caught}"


@pytest.mark.parametrize("path", python_files(), ids=relative)
def test_no_module_talks_to_stdout_but_the_command_line(path: Path) -> None:
    """The standard output belongs to the protocol: no print anywhere, sys.stdout only in cli and the emulator's announcement."""
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"^\s*print\(", text, re.MULTILINE)
    if "sys.stdout" in text:
        assert relative(path).startswith("cli/") or relative(path) == "emulator/serve.py"


def test_every_module_imports_without_side_effects() -> None:
    """Importing the whole package prints nothing and starts nothing: no work at import."""
    names = [name for _, name, _ in pkgutil.walk_packages([str(PACKAGE)], "r4_mcp.") if not name.endswith("__main__")]
    script = (
        "import importlib, sys, threading\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "assert threading.active_count() == 1\n"
    )
    found = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


@pytest.mark.parametrize("error", list(every_error()), ids=lambda error: error.__name__)
def test_every_error_is_explained(error: type[errors.R4Error]) -> None:
    """Each class has its own stable code and its own next step."""
    assert error in NEXT_STEPS
    assert re.fullmatch(r"[a-z][a-z0-9_]+", error.code)
    made = error("it happened", status=400) if issubclass(error, errors.ServiceError) else error("it happened")
    told = explain(made)
    assert (told.code, told.message) == (error.code, "It happened.")
    assert told.next_step.endswith((".", "?"))
    assert len(told.next_step) < 250


def test_error_codes_are_distinct() -> None:
    """Two classes never share a code."""
    codes = [error.code for error in every_error()]
    assert len(codes) == len(set(codes))


def test_the_error_tree_in_the_docstring_is_the_real_one() -> None:
    """The drawing at the top of errors.py names every class, and no other."""
    drawn = set(re.findall(r"\b[A-Z][A-Za-z0-9]*Error\b", errors.__doc__ or ""))
    assert drawn == {error.__name__ for error in every_error()}


def test_secrets_are_revealed_only_where_a_comment_says_who_sees_them() -> None:
    """Each reveal() outside tests is explained on its line or just above."""
    for path in python_files():
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            if ".reveal()" in line and "def reveal" not in line and path.name != "secret.py":
                nearby = lines[max(0, number - 6) : number + 1]
                assert any(("reveal" in near and "#" in near) or "seen by" in near for near in nearby) or _keeps_inside(line), (
                    f"{relative(path)}:{number + 1}"
                )


def _keeps_inside(line: str) -> bool:
    # Handing a DEK to the cipher needs no comment each time.
    return bool(re.search(r"(AESGCM|dek\.reveal|_key\.reveal|compare_digest)", line))


def test_the_top_level_is_exactly_what_was_agreed() -> None:
    """Five things and dotfiles at the top of the repository."""
    tracked = subprocess.run(
        ["git", "ls-tree", "--name-only", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    if tracked.returncode != 0:
        pytest.skip("not a git checkout")
    names = {name for name in tracked.stdout.split() if not name.startswith(".")}
    assert names == {"pyproject.toml", "README.md", "r4_mcp", "tests", "manifests", "Dockerfile"}


def test_every_room_says_what_it_is() -> None:
    """Each package of the house has a docstring with its purpose."""
    for _, name, is_package in pkgutil.iter_modules([str(PACKAGE)], "r4_mcp."):
        if is_package:
            assert (importlib.import_module(name).__doc__ or "").strip(), name
