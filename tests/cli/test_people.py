"""What holds for people's commands as for tools: one guard, the policy, the home that was named; and JSON for programs."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from r4_mcp.cli.guard import guard
from r4_mcp.cli.logs import SecretFilter
from r4_mcp.cli.next_steps import NEXT_STEPS, explain_to_person
from r4_mcp.cli.printing import print_error, say, say_json
from r4_mcp.cli.wiring import open_service
from r4_mcp.config import read_settings
from r4_mcp.errors import InvalidArgumentError, LeakBlockedError, NotFoundError
from r4_mcp.secret import KnownSecrets, SecretKind
from r4_mcp.tools import ALL_TOOLS
from tests.doors import World, in_memory, local_environment, write_private

from .running import run_at_terminal, run_here

SECRET: Final = "canary-zebra-0189"  # noqa: S105 - of this test
DENY_ROTATE: Final = '[[rule]]\naction = "rotate"\ndecision = "deny"\n'


def as_json(world: World, *arguments: str) -> Any:  # noqa: ANN401 - any JSON
    """Run a command that must work with ``--json``."""
    ended = run_here(*arguments, "--json", environment=world.environment)
    assert (ended.status, ended.err) == (0, ""), ended
    return json.loads(ended.out)


async def test_a_process_has_one_guard(world: World) -> None:
    """Printing, logging and serving look for the same values with the same index."""
    known = KnownSecrets()
    async with open_service(read_settings(world.environment, known), known) as service:
        assert service.dispatch._egress is guard(known)  # noqa: SLF001 - its door shows no identity
    assert SecretFilter(known)._egress is guard(known)  # noqa: SLF001 - as above
    assert guard(KnownSecrets()) is not guard(known)


def test_nothing_that_is_known_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither as lines, however they would be broken, nor as JSON, nor in an error."""
    known = KnownSecrets()
    known.text(SECRET, SecretKind.FIELD)
    wide = f"{'word ' * 14}{SECRET}"
    for printing in (partial(say, [wide], known, hanging=2), partial(say_json, {"value": [SECRET]}, known)):
        with pytest.raises(LeakBlockedError):
            printing()
    print_error(InvalidArgumentError(f"it is {SECRET}"), known)
    said = capsys.readouterr()
    assert said.out == ""
    assert SECRET not in said.err
    assert "blocked" in said.err


def test_a_denied_rotation_is_denied_to_people_too(world: World) -> None:
    """The line of the policy is named, nothing is sent, and the log has it."""
    write_private(world.home / "policy.toml", DENY_ROTATE)
    for arguments in ((), ("--abandon",)):
        ended = run_here("rotate-key", "--yes", *arguments, environment=world.environment)
        assert (ended.status, ended.out) == (1, "")
        assert "Rotating the key is denied (policy rule 1)." in ended.err
    assert {exchange.method for exchange in world.tap.exchanges} <= {"GET"}
    lines = [json.loads(line) for line in run_here("audit", "--json", environment=world.environment).out.splitlines()]
    assert [(line["tool"], line["outcome"], line["rule"]) for line in lines] == [
        ("cli_rotate_key", "denied", "policy rule 1")
    ] * 2


MALFORMED: Final = {
    "R4_HOME": "-----BEGIN",
    "R4_TRUST_STORE_PATH": "-----BEGIN",
    "R4_BASE_URL": "ftp://elsewhere.example",
}


@pytest.mark.parametrize("setting", MALFORMED)
@pytest.mark.parametrize(
    "arguments", [("trust", "list"), ("trust", "reset"), ("exposure",), ("exposure", "--clear")], ids=" ".join
)
def test_another_homes_state_does_not_pass_for_the_one_that_is_meant(
    world: World, arguments: tuple[str, ...], setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting is named; the default home is neither read nor written."""
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    before = sorted(tmp_path.rglob("*"))
    ended = run_here(*arguments, environment={**world.environment, setting: MALFORMED[setting]})
    assert (ended.status, ended.out) == (1, "")
    assert setting in ended.err
    assert sorted(tmp_path.rglob("*")) == before


def test_the_embedded_vault_is_not_made_in_another_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--local`` with an R4_HOME that is no path makes nothing under the default one."""
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    ended = run_here("ls", "--local", environment={"R4_HOME": "-----BEGIN"})
    assert (ended.status, ended.out) == (1, "")
    assert "R4_HOME does not hold a path" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_doctor_and_trust_in_json(calm: World) -> None:
    """The same findings and pins, with the names that were verified."""
    found = as_json(calm, "doctor")
    assert found["good"] is True
    assert {finding["step"] for finding in found["findings"]} >= {"configuration", "private key", "API key", "vault list"}
    remembered = as_json(calm, "trust", "list")
    assert {vault["name"]: vault["id"] for vault in remembered["vaults"]} == dict(calm.seeded.vaults)
    for vault in remembered["vaults"]:
        assert {"human"} <= {signer["kind"] for signer in vault["signers"]} <= {"human", "agent"}
    heads = as_json(calm, "trust", "export")["vaults"]
    assert {vault["id"] for vault in heads} == set(calm.seeded.vaults.values())


def test_doctor_in_json_says_what_fails(world: World) -> None:
    """Status 1, on stdout, with the next step."""
    ended = run_here("doctor", "--json", environment={**world.environment, "R4_API_KEY": "ak.wrong-secret"})
    found = json.loads(ended.out)
    assert (ended.status, found["good"]) == (1, False)
    assert any(finding["good"] is False and finding["next_step"] for finding in found["findings"])


async def test_audit_and_exposure_in_json(world: World) -> None:
    """One object for each call; the ledger as the tool gives it."""
    async with in_memory(world.environment) as door:
        await door.ok("list_vaults")
        read = await door.ok("read_secret", reference="r4://Engineering/Sentry/Auth%20Token")
    lines = [json.loads(line) for line in run_here("audit", "--json", environment=world.environment).out.splitlines()]
    assert [(line["sequence"], line["tool"], line["outcome"]) for line in lines] == [
        (1, "list_vaults", "ok"),
        (2, "read_secret", "ok"),
    ]
    exposure = as_json(world, "exposure")
    assert exposure["to_rotate"] == [lines[1]["reference"]]
    assert read["value"] not in str(lines) + str(exposure)
    verified = as_json(world, "audit", "--verify")
    assert verified["good"] is True
    assert as_json(world, "exposure", "--clear")["cleared"] is True
    assert as_json(world, "exposure")["shown"] == []


def test_an_empty_log_has_no_lines_in_json(world: World) -> None:
    """A sentence would be no JSON."""
    assert run_here("audit", "--json", environment=world.environment).out == ""


def test_put_is_in_the_audit_log(world: World) -> None:
    """With the place by ids; a refusal too."""
    environment = local_environment(world)
    assert run_here("put", "--local", "r4://Box/One/Token", environment=environment, stdin=b"a value of the test").status == 0
    assert run_here("put", "--local", "r4://Box/Two/Token", environment=environment, stdin=b"").status == 1
    lines = [json.loads(line) for line in run_here("audit", "--json", environment=environment).out.splitlines()]
    assert [(line["tool"], line["outcome"]) for line in lines] == [("cli_put", "ok"), ("cli_put", "invalid_argument")]
    assert lines[0]["reference"].startswith("r4://")


@pytest.mark.stdio
@pytest.mark.parametrize("reference", ["r4://Engineering/Sentry/Auth%20Token", "r4://Engineering/New/Token"])
def test_put_asks_for_no_value_that_it_may_not_store(world: World, reference: str) -> None:
    """Whether the item is there or not, the switch is told first."""
    ended = run_at_terminal("put", reference, environment={**world.environment, "R4_READ_ONLY": "1"})
    assert ended.status == 1
    assert "R4_READ_ONLY" in ended.flat
    assert "Value" not in ended.out


@pytest.mark.stdio
@pytest.mark.parametrize(("typed", "status"), [("\x03", 130), ("\x04", 1), ("\n", 1)])
def test_put_ends_where_nothing_is_entered(world: World, typed: str, status: int) -> None:
    """Ctrl-C at once, the end of input, an empty line: nothing is stored."""
    environment = local_environment(world)
    reference = "r4://Box/One/Token"
    ended = run_at_terminal("put", "--local", reference, environment=environment, typed=(("Value (not shown): ", typed),))
    assert ended.status == status
    assert run_here("ls", "--local", "r4://Box", environment=environment).status == 1


def test_next_steps_for_people_name_no_tool() -> None:
    """A person has commands, a model has tools."""
    for step in NEXT_STEPS.values():
        assert not [tool.name for tool in ALL_TOOLS if "_" in tool.name and tool.name in step], step
    assert "r4-mcp ls" in explain_to_person(NotFoundError("no such thing")).next_step
    assert explain_to_person(NotFoundError("no such thing", next_step="Do this.")).next_step == "Do this."
