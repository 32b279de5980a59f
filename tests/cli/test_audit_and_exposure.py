"""``r4-mcp audit`` and ``r4-mcp exposure`` as people run them, over what an agent really did."""

from __future__ import annotations

import signal
import subprocess

import anyio
import pytest

from tests.doors import World, in_memory

from .running import COMMAND, SECONDS, run_here

REFERENCE = "r4://Engineering/Sentry/Auth%20Token"


@pytest.fixture
def used(world: World) -> World:
    """Let an agent list, and read one secret."""

    async def use() -> None:
        async with in_memory(world.environment) as door:
            await door.ok("list_vaults")
            await door.ok("read_secret", reference=REFERENCE)

    anyio.run(use)
    return world


def test_the_log_is_printed_verified_and_compared(used: World) -> None:
    """One line a call; the chain holds; its head, kept elsewhere, shows that nothing is missing."""
    listed = run_here("audit", environment=used.environment)
    assert listed.status == 0
    assert [word in listed.out for word in ("list_vaults", "read_secret")] == [True, True]
    head = run_here("audit", "--head", environment=used.environment)
    assert (head.status, len(head.out.splitlines())) == (0, 1)
    for arguments in (("--verify",), ("--verify", head.out.strip())):
        verified = run_here("audit", *arguments, environment=used.environment)
        assert verified.status == 0, verified.out + verified.err
    path = used.home / "audit" / "audit.jsonl"
    path.write_bytes(path.read_bytes().replace(b"list_vaults", b"list_items"))
    broken = run_here("audit", "--verify", environment=used.environment)
    assert broken.status == 1
    assert "BROKEN" in broken.out


def test_the_log_needs_no_credentials_and_no_profile(used: World) -> None:
    """It is the home's: whoever the agent is now, and whatever is wrong with its configuration."""
    said = run_here("audit", environment={"R4_HOME": str(used.home), "R4_PROFILE": "gone"})
    assert said.status == 0
    assert "read_secret" in said.out
    wrong = run_here("audit", environment={"R4_HOME": "-----BEGIN"})
    assert (wrong.status, wrong.out) == (1, "")
    assert "R4_HOME does not hold a path" in wrong.err


def test_the_ledger_is_printed_and_cleared(used: World) -> None:
    """By reference, never a name or a value."""
    environment = used.environment
    shown = run_here("exposure", environment=environment)
    assert shown.status == 0, shown.err
    assert used.vault_id("Engineering") in shown.out
    assert "Cleared" in run_here("exposure", "--clear", environment=environment).out
    assert used.vault_id("Engineering") not in run_here("exposure", environment=environment).out


def test_the_ledger_is_an_agents(world: World) -> None:
    """Without one there is none; the embedded vault's is its own."""
    refused = run_here("exposure", environment={"R4_HOME": str(world.home)})
    assert refused.status == 1
    assert "no API key is configured" in refused.err.replace("No API", "no API")


@pytest.mark.stdio
def test_the_log_is_followed_until_ctrl_c(used: World) -> None:
    """Each entry as it is written; status 130."""
    with subprocess.Popen(
        [*COMMAND, "audit", "--follow"], env=used.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert b"list_vaults" in process.stdout.readline()
        assert b"read_secret" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    assert (process.returncode, errors) == (130, b"")


@pytest.mark.parametrize("both", [("--follow", "--head"), ("--verify", "--head"), ("--follow", "--verify")])
def test_the_log_is_looked_at_in_one_way(both: tuple[str, str]) -> None:
    """Wrong usage otherwise."""
    with pytest.raises(SystemExit) as caught:
        run_here("audit", *both, environment={})
    assert caught.value.code == 2
