"""``r4-mcp init`` as people run it: what it makes, what it asks, what it says, and that it shows nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from starlette.responses import Response

from r4_mcp.config import read_settings
from r4_mcp.machine.contract import Level, Permission
from r4_mcp.secret import KnownSecrets
from tests.doors import World, in_memory, loopback_nowhere, private_pem, write_private
from tests.switchboard import Exchange

from .profiles import Credentials, files_below, new_agent, runtime_json, shows_nothing, write_config, write_profile
from .running import Ended, run, run_at_terminal, run_here

FINE = "Everything that was checked works."
FILES = {"credentials.json": 0o600, "private-key.pem": 0o600}


def init(world: World, agent: Credentials, *arguments: str, home: str | None = None) -> Ended:
    """Make a profile with the API key on stdin, in this process; nothing secret is shown."""
    environment = {"R4_HOME": home or str(world.home)}
    ended = run_here(
        "init", "--base-url", world.base_url, *arguments, environment=environment, stdin=agent.api_key.encode() + b"\n"
    )
    shows_nothing(ended, agent.access_secret)
    return ended


def fingerprint_of(home: Path, name: str) -> str:
    """Return the fingerprint of a profile's key."""
    source = read_settings({"R4_HOME": str(home)}, KnownSecrets(), profile=name).key_source
    assert source is not None
    return source.load().public.fingerprint


@pytest.mark.stdio
async def test_a_person_sets_up_an_agent(world: World) -> None:
    """The API key is typed unseen; the key is made, registered and checked; once access is given, the server reads."""
    agent = new_agent(world)
    environment = {"R4_HOME": str(world.home), "R4_BASE_URL": world.base_url}
    asked = (("API key, accessKey.secret (not shown): ", agent.api_key + "\n"),)
    ended = run_at_terminal("init", "--profile", "work", environment=environment, typed=asked)
    assert ended.status == 0, ended.out
    shows_nothing(ended, agent.access_secret)
    folder = world.home / "profiles" / "work"
    assert files_below(folder) == FILES
    assert folder.stat().st_mode & 0o777 == 0o700
    assert json.loads((folder / "credentials.json").read_text()) == {
        "agentId": agent.agent_id,
        "accessKey": agent.access_key,
        "accessSecret": agent.access_secret,
        "baseUrl": world.base_url,
    }
    assert json.loads((world.home / "config.json").read_text()) == {"defaultProfile": "work"}
    assert "RSA 3072 bits" in ended.out
    assert FINE in ended.out
    assert f"ask the operator of R4 to give agent {agent.agent_id} access to vaults" in ended.flat
    # The operator's step, and then the main job through the real server.
    world.seeded.operator.grant(agent.agent_id, world.vault_id("Engineering"), Level.READ)
    async with in_memory({"R4_HOME": str(world.home)}) as door:
        assert [vault["name"] for vault in (await door.ok("list_vaults"))["vaults"]] == ["Engineering"]
        assert (await door.ok("read_secret", reference="r4://Engineering/Sentry/Auth%20Token"))["value"]


@pytest.mark.stdio
@pytest.mark.parametrize(("typed", "status"), [("\x03", 130), ("\x04", 1), ("\n", 1)])
def test_a_person_may_think_better_of_it(world: World, typed: str, status: int) -> None:
    """Ctrl-C, the end of input, an empty line: nothing is made."""
    environment = {"R4_HOME": str(world.home), "R4_BASE_URL": world.base_url}
    ended = run_at_terminal("init", environment=environment, typed=(("(not shown): ", typed),))
    assert ended.status == status, ended.out
    shows_nothing(ended)
    assert not (world.home / "profiles").exists()
    assert world.tap.exchanges == []


@pytest.mark.stdio
def test_a_script_sets_up_an_agent(world: World) -> None:
    """The API key comes from stdin; the registered key is the one in the file."""
    agent = new_agent(world)
    environment = {"R4_HOME": str(world.home), "R4_PROFILE": "ci"}
    ended = run("init", "--base-url", world.base_url, environment=environment, stdin=f"  {agent.api_key}\r\n".encode())
    assert (ended.status, ended.err) == (0, ""), ended.out + ended.err
    shows_nothing(ended, agent.access_secret)
    assert fingerprint_of(world.home, "ci") in ended.flat
    assert fingerprint_of(world.home, "ci") in world.dump()
    assert world.tap.lines()[:3] == ["GET /me", "GET /me", "POST /vault/public-key"]


def test_a_runtime_json_is_imported(world: World) -> None:
    """Whole, and the person is told to delete it; nothing is asked."""
    agent = new_agent(world)
    path = runtime_json(world, agent, world.spare_keys[0])
    ended = run_here("init", "--config", str(path), "--base-url", world.base_url, environment={"R4_HOME": str(world.home)})
    assert ended.status == 0, ended.err
    shows_nothing(ended, agent.access_secret, private_pem(world.spare_keys[0]))
    assert f"Delete {path} now" in ended.flat
    assert fingerprint_of(world.home, "default") == world.spare_keys[0].public.fingerprint
    assert path.exists()


def test_a_runtime_json_without_a_key_gets_one(world: World) -> None:
    """Of the size that was asked for."""
    path = runtime_json(world, new_agent(world))
    environment = {"R4_HOME": str(world.home), "R4_BASE_URL": world.base_url}
    ended = run_here("init", "--config", str(path), "--bits", "2048", environment=environment)
    assert ended.status == 0, ended.err
    assert "RSA 2048 bits" in ended.flat


def test_a_key_that_is_registered_already_is_imported(world: World) -> None:
    """The seed's agent on a second machine: the same key, and its vaults are there at once."""
    members = world.agent_members()
    agent = Credentials(members["agentId"], members["accessKey"], members["accessSecret"])
    assert run_here("doctor", environment=world.environment).status == 0
    key = write_private(world.home / "key.pem", members["privateKey"])
    ended = init(world, agent, "--key", str(key), home=str(world.home / "second"))
    assert ended.status == 0, ended.err
    assert f"{key} was copied" in ended.flat
    assert ended.flat.count("opens with our key") == 4


def test_an_agent_with_another_key_makes_no_profile(world: World) -> None:
    """A new key is never put in place of the registered one."""
    assert run_here("doctor", environment=world.environment).status == 0
    members = world.agent_members()
    ended = init(world, Credentials(members["agentId"], members["accessKey"], members["accessSecret"]), "--bits", "2048")
    assert (ended.status, ended.out) == (1, "")
    assert "is registered with key" in ended.err
    assert "--key FILE" in ended.err
    assert not (world.home / "profiles").exists()


def test_the_first_profile_is_the_default_and_later_ones_are_not(world: World) -> None:
    """What else is in config.json stays; the message says how to choose."""
    write_config(world.home, theme="dark")
    first = init(world, new_agent(world), "--profile", "one", "--bits", "2048")
    second = init(world, new_agent(world), "--profile", "two", "--bits", "2048")
    assert (first.status, second.status) == (0, 0), first.err + second.err
    assert json.loads((world.home / "config.json").read_text()) == {"theme": "dark", "defaultProfile": "one"}
    assert (world.home / "config.json").stat().st_mode & 0o777 == 0o600
    assert "It is the default: r4-mcp serve" in first.flat
    assert "r4-mcp serve --profile two (or R4_PROFILE=two)" in second.flat
    assert f"The default stays one; defaultProfile in {world.home / 'config.json'} names it." in second.flat


def test_a_default_that_somebody_chose_stays(world: World) -> None:
    """Even where its profile was moved away."""
    write_config(world.home, defaultProfile="gone")
    ended = init(world, new_agent(world), "--profile", "one", "--bits", "2048")
    assert ended.status == 0, ended.err
    assert json.loads((world.home / "config.json").read_text()) == {"defaultProfile": "gone"}
    assert "The default stays gone" in ended.flat


@pytest.mark.parametrize("what", ["a profile", "an empty folder", "a file", "a dangling link"])
def test_what_has_the_name_is_never_overwritten(world: World, what: str) -> None:
    """Nothing is asked or sent; the error names the ways out."""
    folder = world.home / "profiles" / "work"
    if what == "a profile":
        write_profile(world.home, "work", "rk_work00000000.secret-of-the-profile-work")
    else:
        folder.parent.mkdir(mode=0o700)
        if what == "an empty folder":
            folder.mkdir()
        elif what == "a file":
            folder.touch()
        else:
            folder.symlink_to("nowhere")
    before = files_below(world.home)
    ended = init(world, new_agent(world), "--profile", "work")
    assert (ended.status, ended.out) == (1, "")
    assert "the profile work exists already" in ended.err.lower()
    assert f"Choose another name with --profile, or move {folder} away." in ended.err
    assert files_below(world.home) == before
    assert world.tap.exchanges == []


def test_a_service_that_is_down_keeps_the_profile(world: World) -> None:
    """Whole, with what to do later; the next init says that it exists."""
    agent = new_agent(world)
    arguments = ("init", "--profile", "later", "--base-url", loopback_nowhere(), "--bits", "2048")
    environment = {"R4_HOME": str(world.home)}
    ended = run_here(*arguments, environment=environment, stdin=agent.api_key.encode())
    assert ended.status == 1
    shows_nothing(ended, agent.access_secret)
    assert "Profile later is made" in ended.flat
    assert "no connection to the service" in ended.err
    assert "The profile is kept. Run `r4-mcp doctor --profile later` later" in ended.err
    folder = world.home / "profiles" / "later"
    assert files_below(folder) == FILES
    assert "agentId" not in json.loads((folder / "credentials.json").read_text())
    assert "exists already" in run_here(*arguments, environment=environment, stdin=agent.api_key.encode()).err


async def test_a_registration_that_fails_keeps_the_profile(world: World) -> None:
    """The service may have heard of the key: it stays on disk, and the first tool call registers it."""
    agent = new_agent(world)

    async def refuse(exchange: Exchange) -> Response | None:
        return Response(status_code=500) if exchange.line == "POST /vault/public-key" else None

    world.tap.intercept = refuse
    ended = await in_thread(world, agent)
    assert ended.status == 1
    assert "The profile is kept." in ended.err
    assert "POST /vault/public-key was refused with status 500" in ended.err
    world.tap.intercept = None
    world.seeded.operator.grant(agent.agent_id, world.vault_id("Engineering"), Level.READ)
    async with in_memory({"R4_HOME": str(world.home)}) as door:
        await door.refused("read_secret", "awaiting_grant", reference="r4://Engineering/Sentry/Auth%20Token")
    assert fingerprint_of(world.home, "default") in world.dump()


async def in_thread(world: World, agent: Credentials) -> Ended:
    """Run ``init`` as a process, from a test that has an event loop of its own."""
    import anyio  # noqa: PLC0415 - the only use

    def start() -> Ended:
        arguments = ("init", "--base-url", world.base_url, "--bits", "2048")
        return run(*arguments, environment={"R4_HOME": str(world.home)}, stdin=agent.api_key.encode())

    ended = await anyio.to_thread.run_sync(start)
    shows_nothing(ended, agent.access_secret)
    return ended


def test_a_permission_that_is_missing_is_said_and_the_profile_kept(world: World) -> None:
    """Without ``machine.agent.all`` a key can't be registered."""
    ended = init(world, new_agent(world, (Permission.VAULT_READ.value,)), "--bits", "2048")
    assert ended.status == 1
    assert "needs the permission" in ended.err
    assert "The profile is kept." in ended.err
    assert files_below(world.home / "profiles" / "default") == FILES


def test_doctor_speaks_for_the_new_profile(world: World) -> None:
    """What it finds is in the exit status; the profile is there all the same."""
    ended = init(world, new_agent(world, (Permission.AGENT.value,)), "--bits", "2048")
    assert ended.status == 1
    assert "FAIL permissions: missing: machine.vault.read" in ended.flat
    assert "Next: ask the operator of R4" in ended.out
    assert files_below(world.home / "profiles" / "default") == FILES
