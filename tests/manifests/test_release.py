"""The release script: the bundle that it builds is the one that people start."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

import r4_mcp

from .derived import REPOSITORY, bundle

pytestmark = [pytest.mark.slow, pytest.mark.node]

NEEDED = ("npx", "uv", "tar")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the bundle."""
    missing = [tool for tool in NEEDED if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not found")
    out = tmp_path_factory.mktemp("dist")
    done = subprocess.run([REPOSITORY / ".ci" / "release", out], capture_output=True, text=True, check=False)
    if "ENOTFOUND" in done.stderr or "ETIMEDOUT" in done.stderr:
        pytest.skip("the npm registry is out of reach")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Manifest schema validation passes!" in done.stdout
    return out / f"r4-mcp-{r4_mcp.__version__}.mcpb"


def test_the_bundle_holds_the_manifest_of_this_code(archive: Path) -> None:
    """With the lock of the versions, and none of the tests."""
    with zipfile.ZipFile(archive) as bundled:
        names = bundled.namelist()
        assert json.loads(bundled.read("manifest.json")) == bundle()
    assert "uv.lock" in names
    assert not [name for name in names if name.startswith(("tests/", ".")) or name.endswith(".pyc")]


def test_the_bundle_answers_a_host(archive: Path, tmp_path: Path) -> None:
    """Unpacked, and started as its manifest says, with every question left unanswered."""
    with zipfile.ZipFile(archive) as bundled:
        bundled.extractall(tmp_path / "bundle")
    config = bundle()["server"]["mcp_config"]
    answers = {name: str(question["default"]) for name, question in bundle()["user_config"].items()}

    def filled(text: str) -> str:
        for name, answer in answers.items():
            text = text.replace(f"${{user_config.{name}}}", {"False": "false"}.get(answer, answer))
        return text.replace("${__dirname}", str(tmp_path / "bundle"))

    environment = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    environment |= {"HOME": str(tmp_path), **{name: filled(value) for name, value in config["env"].items()}}
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "host", "version": "0"}},
    }
    answered = subprocess.run(
        [config["command"], *map(filled, config["args"])],
        input=json.dumps(hello) + "\n",
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert json.loads(answered.stdout.splitlines()[0])["result"]["serverInfo"]["version"] == r4_mcp.__version__, answered.stderr
