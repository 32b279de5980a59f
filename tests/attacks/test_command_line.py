"""``r4-mcp emulator --fault NAME``: anyone can watch a refusal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from r4_mcp.cli import main
from r4_mcp.cli.wiring import Service, open_service
from r4_mcp.config import read_settings
from r4_mcp.emulator.faults import FAULTS, describe_faults
from r4_mcp.secret import KnownSecrets

from .stage import call, succeed

SECONDS = 60
REFERENCE = "r4://Engineering/Sentry/Auth%20Token"


@contextmanager
def emulator(directory: Path, fault: str) -> Iterator[dict[str, str]]:
    """Run the program; gives the environment of its agent."""
    command = [sys.executable, "-m", "r4_mcp", "emulator", "--data", str(directory), "--seed", "--fault", fault]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.communicate(timeout=SECONDS)[1]
            told = json.loads(line)
            yield {
                "R4_CONFIG": told["agentConfig"],
                "R4_BASE_URL": told["baseUrl"],
                "R4_HOME": str(directory / "home"),
                "R4_INDEX_SECONDS": "0",
            }
            process.send_signal(signal.SIGTERM)
            assert process.communicate(timeout=SECONDS) == ("", "")
        finally:
            if process.poll() is None:
                process.kill()


def copy_of(template: Path, directory: Path) -> Path:
    """Copy the session's seed, so that none is made."""
    directory.mkdir(mode=0o700)
    for path in template.iterdir():
        (directory / path.name).write_bytes(path.read_bytes())
        (directory / path.name).chmod(0o600)
    return directory


async def read(service: Service) -> str:
    """Read one field; returns the error code, or "read"."""
    outcome = await call(service, "read_secret", {"reference": REFERENCE})
    return str(outcome.payload.get("code", "read"))


WATCHED = {
    "dek-substituted-unsigned": "signature_invalid",
    "summary-forked": "equivocation",
    "summary-replayed": "rollback",
    "revoked-status-flipped-back": "signer_not_trusted",
}
READS = 6


@pytest.mark.parametrize("fault", WATCHED)
async def test_a_person_can_watch_the_refusal(fault: str, tmp_path: Path, template: Path) -> None:
    """A lie that takes memory to notice is told once the client has some, and after what must happen before it."""
    directory = copy_of(template, tmp_path / "r4")
    with emulator(directory, fault) as environment:
        known = KnownSecrets()
        async with open_service(read_settings(environment, known), known) as service:
            codes = [await read(service) for _ in range(READS)]
            # The truth for as long as the lie could not be noticed; then the refusal, every time.
            told = codes.count("read")
            assert codes == ["read"] * told + [WATCHED[fault]] * (READS - told)
            assert READS > told >= FAULTS[fault].remembered
            await succeed(service, "report_gap", summary="Watched", details="The service still answers.")


def test_every_lie_is_listed_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """``--fault list`` needs no folder."""
    assert main(["emulator", "--fault", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == describe_faults()
    assert [line.split()[0] for line in lines] == list(FAULTS)
    assert all(fault.description.endswith(".") for fault in FAULTS.values())


def test_an_unknown_lie_is_a_clear_error(tmp_path: Path) -> None:
    """Exit status 1 and the command that lists them; nothing is made."""
    command = [sys.executable, "-m", "r4_mcp", "emulator", "--data", str(tmp_path / "r4"), "--fault", "none-such"]
    found = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ), timeout=SECONDS)
    assert found.returncode == 1
    assert "--fault list" in found.stderr
    assert not (tmp_path / "r4").exists()


def test_the_emulator_needs_a_folder() -> None:
    """Exit status 2: wrong usage."""
    with pytest.raises(SystemExit) as caught:
        main(["emulator"])
    assert caught.value.code == 2
