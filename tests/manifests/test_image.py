"""The image, as far as it can be known without an engine: what its recipe copies, runs and becomes.

What this file does not do: build the image. The commands that install and compile run here, in folders of their own; those that
make a user or a mount point are only read.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]  # the library has no types of its own; detect-secrets brings it

import r4_mcp

from .derived import FOLDER, REPOSITORY

Step = tuple[str, str]
DOCKERFILE: Final = REPOSITORY / "Dockerfile"
STATE: Final = "/state"


def stages() -> list[list[Step]]:
    """Return the instructions of each stage, with their line continuations joined."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE))
    found: list[list[Step]] = []
    for line in filter(None, joined.splitlines()):
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            found.append([])
        found[-1].append((instruction, rest.strip()))
    return found


def of(stage: list[Step], instruction: str) -> list[str]:
    """Return what a stage says with one instruction."""
    return [rest for name, rest in stage if name == instruction]


def context() -> list[str]:
    """Return what the engine gets to see: every file that ``.dockerignore`` lets through (its last matching pattern counts)."""
    patterns = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]

    def is_sent(path: str) -> bool:
        sent = True
        for pattern in patterns:
            bare = pattern.removeprefix("!").replace("**/", "*")
            parents = [path, *(str(parent) for parent in Path(path).parents)]
            if any(fnmatch.fnmatch(name, bare) or fnmatch.fnmatch("/" + name, bare) for name in parents):
                sent = pattern.startswith("!")
        return sent

    files = (path.relative_to(REPOSITORY).as_posix() for path in REPOSITORY.rglob("*") if path.is_file())
    return sorted(path for path in files if is_sent(path))


def test_the_engine_sees_the_package_and_nothing_else() -> None:
    """No history, no tests, no state, no bytecode of this machine."""
    sent = context()
    assert {"pyproject.toml", "README.md", "r4_mcp/__main__.py", "r4_mcp/py.typed"} <= set(sent)
    assert all(path in {"pyproject.toml", "README.md"} or path.startswith("r4_mcp/") for path in sent)
    assert not [path for path in sent if "__pycache__" in path or path.endswith(".pyc")]


def test_the_recipe_copies_only_what_the_engine_sees() -> None:
    """By name, from the context; and from the first stage only what was installed there."""
    build, image = stages()
    copied = [name for line in of(build, "COPY") for name in shlex.split(line)[:-1]]
    assert all((REPOSITORY / name).exists() for name in copied)
    assert {name.removeprefix("./") for name in copied} == {"pyproject.toml", "README.md", "r4_mcp"}
    assert of(image, "COPY") == ["--from=build /opt/r4-mcp /opt/r4-mcp"]
    assert of(build, "ADD") == of(image, "ADD") == []


def test_the_image_runs_as_nobody_in_particular_on_a_read_only_root() -> None:
    """A fixed user that owns the state alone; everything that is written goes there; no bytecode is tried to be written."""
    _, image = stages()
    assert of(image, "USER") == ["10001:10001"]
    assert of(image, "VOLUME") == [f'["{STATE}"]']
    assert of(image, "ENTRYPOINT") == ['["r4-mcp"]']
    environment = dict(pair.split("=", 1) for line in of(image, "ENV") for pair in shlex.split(line))
    assert environment["R4_HOME"] == environment["HOME"] == STATE
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"
    assert not [name for name in environment if "KEY" in name or "SECRET" in name]
    (user,) = [line for line in of(image, "RUN") if "useradd" in line]
    assert f"install -d -o r4 -g r4 -m 0700 {STATE}" in user
    # The user comes after everything that needs root.
    names = [name for name, _ in image]
    assert names.index("USER") > max(index for index, name in enumerate(names) if name in {"RUN", "COPY"})


def test_both_stages_have_one_slim_base() -> None:
    """A Python that the package takes; the library path that is compiled is its own."""
    bases = [of(stage, "FROM")[0].split(" ")[0] for stage in stages()]
    assert len(set(bases)) == 1
    found = re.fullmatch(r"python:(3\.[0-9]+)-slim", bases[0])
    assert found is not None
    assert f"/usr/local/lib/python{found[1]}" in DOCKERFILE.read_text()


def test_the_composition_is_as_closed_as_it_can_be() -> None:
    """No network, no capability, a read-only root, a named volume for the state."""
    composed: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    (service,) = composed["services"].values()
    assert service["command"] == ["serve", "--local"]
    assert service["network_mode"] == "none"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["stdin_open"] is True
    (volume,) = service["volumes"]
    assert volume == f"{next(iter(composed['volumes']))}:{STATE}"
    assert (FOLDER / service["build"]).resolve() == REPOSITORY


@pytest.mark.slow
def test_the_first_stage_installs_and_compiles(tmp_path: Path) -> None:
    """Its own commands, in folders of their own: what comes out starts, has no pip, and every module of it is compiled."""
    source, target = tmp_path / "src", tmp_path / "opt"
    for name in context():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, source / name)
    build, _ = stages()
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python").symlink_to(sys.executable)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    for command in of(build, "RUN"):
        here = command.replace("/opt/r4-mcp", str(target))
        subprocess.run(here, shell=True, cwd=source, env=environment, check=True, capture_output=True)  # noqa: S602 - our recipe
    said = subprocess.run([target / "bin" / "r4-mcp", "--version"], capture_output=True, check=True, text=True).stdout
    assert said == f"r4-mcp {r4_mcp.__version__}\n"
    modules = [path for path in target.rglob("*.py") if "site-packages" in path.parts]
    compiled = {path.name.split(".")[0] for path in target.rglob("__pycache__/*.pyc")}
    assert modules
    assert [path for path in modules if path.stem not in compiled and path.parent.name != "bin"] == []
    assert not list(target.rglob("site-packages/pip"))
