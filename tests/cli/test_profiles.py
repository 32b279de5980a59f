"""Profiles: which one counts, what contradicts, what is refused and what it says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import pytest

from r4_mcp.config import Settings, read_settings
from r4_mcp.core.keys import PrivateKey
from r4_mcp.secret import KnownSecrets
from tests.doors import World, in_memory, loopback_nowhere, private_pem, write_private

from .profiles import new_agent, write_config, write_profile
from .running import run, run_at_terminal, run_here

WORK: Final = "rk_work00000000.secret-of-the-profile-work"
HOME: Final = "rk_home00000000.secret-of-the-profile-home"
ENV: Final = "rk_fromenv00000.secret-of-the-environment"
CANARY: Final = "canary-zebra-41"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Make a home with two profiles; ``work`` is the default."""
    folder = tmp_path / "r4"
    write_profile(folder, "work", WORK, baseUrl="https://work.example")
    write_profile(folder, "home", HOME)
    write_config(folder, defaultProfile="work", baseUrl="https://all.example", theme="dark")
    return folder


def settings_of(home: Path, environment: dict[str, str] | None = None, profile: str | None = None) -> Settings:
    """Read settings with secrets of their own."""
    return read_settings({"R4_HOME": str(home), **(environment or {})}, KnownSecrets(), profile=profile)


def problem_of(settings: Settings) -> str:
    """Return the one problem and its next step; nothing of an agent comes with it."""
    assert settings.api_key is None
    assert settings.key_source is None
    (problem,) = settings.problems
    return f"{problem.message} NEXT {problem.next_step}"


PRECEDENCE: Final[dict[str, tuple[str | None, dict[str, str], str, str | None]]] = {
    "the default of config.json": (None, {}, WORK, "work"),
    "the environment's name over the default": (None, {"R4_PROFILE": "home"}, HOME, "home"),
    "the option over the default": ("home", {}, HOME, "home"),
    "the option over the environment's name": ("home", {"R4_PROFILE": "work"}, HOME, "home"),
    "an empty name is none": (None, {"R4_PROFILE": ""}, WORK, "work"),
    "an API key of the environment over the default": (None, {"R4_API_KEY": ENV}, ENV, None),
    "a switch says nothing of the agent": (None, {"R4_READ_ONLY": "1"}, WORK, "work"),
}


@pytest.mark.parametrize("what", PRECEDENCE)
def test_one_place_says_who_the_agent_is(home: Path, what: str) -> None:
    """``--profile``, then ``R4_PROFILE``; else the environment's credentials; else the default profile."""
    option, environment, api_key, profile = PRECEDENCE[what]
    settings = settings_of(home, environment, option)
    assert settings.problems == ()
    assert settings.api_key is not None
    assert (settings.api_key.reveal(), settings.profile) == (api_key, profile)
    folder = home if profile is None else home / "profiles" / profile
    assert settings.trust_store == folder / "trust-store.json"


def test_credentials_of_the_environment_leave_the_default_profile_unread(home: Path) -> None:
    """A private key alone is half an agent; the other half is not taken from a profile, and a damaged profile disturbs nobody."""
    write_private(home / "config.json", "{")
    settings = settings_of(home, {"R4_PRIVATE_KEY_PATH": "/somewhere/key.pem"})
    assert (settings.api_key, settings.profile) == (None, None)
    assert [problem.message for problem in settings.problems] == ["no API key is configured"]
    assert settings_of(home, {"R4_API_KEY": ENV}).problems == ()


IDENTITIES: Final = ("R4_API_KEY", "R4_API_KEY_FILE", "R4_CONFIG", "R4_PRIVATE_KEY_PATH", "R4_PRIVATE_KEY")


@pytest.mark.parametrize("setting", IDENTITIES)
@pytest.mark.parametrize("where", ["--profile", "R4_PROFILE"])
def test_a_named_profile_and_other_credentials_contradict_each_other(home: Path, where: str, setting: str) -> None:
    """Both are named, neither is used, and the credentials are not repeated."""
    environment = {setting: f"/path/of/{CANARY}"}
    option = "home" if where == "--profile" else None
    told = problem_of(settings_of(home, environment | ({} if option else {"R4_PROFILE": "home"}), option))
    assert told == (f"{where} home and {setting} each say who the agent is NEXT Unset {setting}, or leave out {where}.")


def test_a_malformed_setting_still_stands_in_the_way_of_the_default_profile(home: Path) -> None:
    """A key pasted where its path belongs is no reason to act as another agent."""
    settings = settings_of(home, {"R4_CONFIG": json.dumps({"accessKey": CANARY})})
    assert settings.api_key is None
    assert [problem.message for problem in settings.problems] == ["R4_CONFIG does not hold a path"]


ADDRESSES: Final[dict[str, tuple[str, dict[str, str], str]]] = {
    "the profile's own": ("work", {}, "https://work.example"),
    "the same one twice": ("work", {"R4_BASE_URL": "https://work.example/"}, "https://work.example"),
    "config.json's for a profile without one": ("home", {}, "https://all.example"),
    "the environment's over config.json's": ("home", {"R4_BASE_URL": "https://env.example"}, "https://env.example"),
}


@pytest.mark.parametrize("what", ADDRESSES)
def test_the_address_comes_from_the_profile(home: Path, what: str) -> None:
    """Then from the environment, then from config.json."""
    profile, environment, address = ADDRESSES[what]
    settings = settings_of(home, environment, profile)
    assert (settings.base_url, settings.problems) == (address, ())


@pytest.mark.parametrize("option", ["work", None])
def test_the_api_key_of_a_profile_goes_to_no_other_address(home: Path, option: str | None) -> None:
    """Whether the profile was named or is the default."""
    told = problem_of(settings_of(home, {"R4_BASE_URL": "https://elsewhere.example"}, option))
    assert "R4_BASE_URL is another address than that of profile work" in told
    assert f"baseUrl in {home / 'profiles' / 'work' / 'credentials.json'}" in told


def test_a_profile_may_narrow_to_a_project(home: Path) -> None:
    """The environment's project wins, and a project that is no id is a problem of its file."""
    write_profile(home, "narrow", WORK, projectId="a" * 24)
    write_profile(home, "wrong", WORK, projectId=CANARY)
    assert settings_of(home, profile="narrow").project_id == "a" * 24
    assert settings_of(home, {"R4_PROJECT_ID": "b" * 24}, "narrow").project_id == "b" * 24
    (problem,) = settings_of(home, profile="wrong").problems
    assert problem.message.startswith(f"projectId in {home}/profiles/wrong/credentials.json is not an id")
    assert CANARY not in problem.message


def test_a_trust_store_that_is_set_wins_over_the_profiles_own(home: Path, tmp_path: Path) -> None:
    """As the one setting that says where."""
    assert settings_of(home, {"R4_TRUST_STORE_PATH": str(tmp_path / "pins")}, "work").trust_store == tmp_path / "pins"


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "..",
        ".",
        "a..b",
        "a/b",
        "/etc",
        ".hidden",
        "-x",
        "_x",
        "a b",
        "a\nb",
        "x" * 65,
        "ü",
        "a\0b",
        WORK,
        "rk_0123abcd.12345678",
    ],
)
@pytest.mark.parametrize("where", ["--profile", "R4_PROFILE"])
def test_what_is_no_name_is_refused_and_not_repeated(home: Path, where: str, name: str) -> None:
    """A name is never a path; an API key that was pasted instead is a secret from then on."""
    known = KnownSecrets()
    environment = {"R4_HOME": str(home)} | ({} if where == "--profile" else {"R4_PROFILE": name})
    told = problem_of(read_settings(environment, known, profile=name if where == "--profile" else None))
    assert told.startswith(f"{where} does not hold a profile's name NEXT A name has 1 to 64 letters")
    if len(name) > 3:
        assert name not in told
    if len(name) > 7:
        assert name in known.armed()


def test_the_words_of_a_path_that_was_given_for_a_name_stay_words(home: Path) -> None:
    """Only the whole text may be a secret; else every message about profiles would be blocked from then on."""
    known = KnownSecrets()
    read_settings({"R4_HOME": str(home)}, known, profile="../profiles/settings")
    assert known.armed() == ("../profiles/settings",)


def test_an_empty_option_is_no_name(home: Path) -> None:
    """Unlike an empty variable, which is how variables are unset."""
    assert "--profile does not hold a profile's name" in problem_of(settings_of(home, profile=""))


def test_a_profile_that_is_not_there_names_the_others_and_the_way(home: Path) -> None:
    """The way to make it, and which there are; hidden and half-built folders are none."""
    (home / "profiles" / ".play.0123456789ab").mkdir()
    told = problem_of(settings_of(home, profile="play"))
    assert told == f"there is no profile play in {home}/profiles; there are home, work NEXT Make it: `r4-mcp init --profile play`"
    told = problem_of(settings_of(home / "elsewhere", profile="play"))
    assert "there is none yet" in told


def test_a_default_that_is_not_there_says_so(home: Path) -> None:
    """As for one that was named."""
    write_config(home, defaultProfile="gone")
    assert "there is no profile gone in" in problem_of(settings_of(home))


def test_profiles_without_a_default_have_to_be_chosen(home: Path) -> None:
    """None is guessed."""
    write_config(home, theme="dark")
    told = problem_of(settings_of(home))
    assert "no profile is chosen, and none is the default; there are home, work" in told
    assert "--profile or R4_PROFILE" in told
    assert settings_of(home, profile="home").problems == ()


def test_a_long_list_of_profiles_is_cut(tmp_path: Path) -> None:
    """An error stays readable."""
    for number in range(25):
        write_profile(tmp_path, f"p{number:02}", WORK)
    assert "p18, p19 and 5 more" in problem_of(settings_of(tmp_path, profile="play"))


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701, 0o770])
def test_a_profile_folder_open_to_others_names_the_chmod(home: Path, mode: int) -> None:
    """Nothing in it is read."""
    folder = home / "profiles" / "work"
    folder.chmod(mode)
    told = problem_of(settings_of(home))
    assert told == f"{folder} is open to other users (mode {mode:04o}) NEXT Run: chmod 700 {folder}"


def test_the_folder_of_profiles_is_not_writable_by_others(home: Path) -> None:
    """Who can rename a profile can put another one in its place."""
    (home / "profiles").chmod(0o770)
    assert f"chmod 700 {home / 'profiles'}" in problem_of(settings_of(home))
    (home / "profiles").chmod(0o755)
    assert settings_of(home).problems == ()


@pytest.mark.parametrize("name", ["profiles/work/credentials.json", "config.json"])
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o606])
def test_a_file_open_to_others_names_the_chmod(home: Path, name: str, mode: int) -> None:
    """The exact command, for this very file."""
    (home / name).chmod(mode)
    assert f"chmod 600 {home / name}" in problem_of(settings_of(home))


def test_a_key_file_open_to_others_is_refused_when_it_is_needed(home: Path, spare_keys: tuple[PrivateKey, ...]) -> None:
    """With its chmod; closed, it loads."""
    path = write_profile(home, "play", WORK, private_pem(spare_keys[0]), baseUrl=loopback_nowhere()) / "private-key.pem"
    path.chmod(0o644)
    assert f"chmod 600 {path}" in run_here("doctor", "--profile", "play", environment={"R4_HOME": str(home)}).flat
    path.chmod(0o600)
    source = settings_of(home, profile="play").key_source
    assert source is not None
    assert source.load().public.fingerprint == spare_keys[0].public.fingerprint


@pytest.mark.parametrize("what", ["profiles", "profiles/work"])
def test_a_folder_that_is_a_symbolic_link_is_refused(home: Path, tmp_path: Path, what: str) -> None:
    """The link is not followed, wherever it leads."""
    (home / what).rename(tmp_path / "real")
    (home / what).symlink_to(tmp_path / "real")
    assert f"{home / what} is a symbolic link, which is not followed" in problem_of(settings_of(home))


@pytest.mark.parametrize("name", ["profiles/work/credentials.json", "config.json"])
def test_a_file_that_is_a_symbolic_link_is_refused(home: Path, tmp_path: Path, name: str) -> None:
    """Nor are files."""
    (home / name).rename(tmp_path / "real")
    (home / name).symlink_to(tmp_path / "real")
    assert f"{home / name} is a symbolic link" in problem_of(settings_of(home))


def test_a_file_where_a_profile_should_be_is_refused(home: Path) -> None:
    """Not taken for a missing one."""
    write_private(home / "profiles" / "play", CANARY)
    assert "is not a folder" in problem_of(settings_of(home, profile="play"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_folder_of_another_user_is_refused(home: Path) -> None:
    """With the chown."""
    os.chown(home / "profiles" / "work", 12345, -1)
    assert "belongs to another user NEXT Run: chown" in problem_of(settings_of(home))


BROKEN: Final = {
    "no JSON": CANARY,
    "a list": f'["{CANARY}"]',
    "no secret": f'{{"accessKey": "{CANARY}"}}',
    "a number": f'{{"accessKey": "{CANARY}", "accessSecret": 5}}',
    "endless nesting": "[" * 20_000,
    "no API key": f'{{"accessKey": "a b", "accessSecret": "{CANARY}"}}',
    "an address that is none": f'{{"accessKey": "abc", "accessSecret": "{CANARY}", "baseUrl": ["{CANARY}"]}}',
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_profile_names_its_file_and_not_its_content(home: Path, what: str) -> None:
    """One sentence, with what to do."""
    path = write_private(home / "profiles" / "work" / "credentials.json", BROKEN[what])
    told = problem_of(settings_of(home))
    assert str(path) in told
    assert CANARY not in told


@pytest.mark.parametrize(
    "text", [CANARY, "[]", '{"defaultProfile": 5}', f'{{"defaultProfile": "../{CANARY}"}}', '{"baseUrl": []}']
)
def test_a_broken_config_names_its_file(home: Path, text: str) -> None:
    """It is read where a profile is looked for."""
    path = write_private(home / "config.json", text)
    told = problem_of(settings_of(home))
    assert str(path) in told
    assert CANARY not in told


async def test_a_profile_serves_its_vaults(world: World) -> None:
    """The seed's agent as a profile: it reads, and remembers in the profile's folder."""
    members = world.agent_members()
    api_key = f"{members['accessKey']}.{members['accessSecret']}"
    folder = write_profile(world.home, "seed", api_key, members["privateKey"], baseUrl=world.base_url, agentId="0" * 24)
    async with in_memory({"R4_HOME": str(world.home), "R4_PROFILE": "seed"}) as door:
        assert len((await door.ok("list_vaults"))["vaults"]) == 4
    assert (folder / "trust-store.json").exists()
    assert not (world.home / "trust-store.json").exists()


def test_two_profiles_remember_apart(world: World) -> None:
    """Each in its own folder."""
    members = world.agent_members()
    api_key = f"{members['accessKey']}.{members['accessSecret']}"
    for name in ("one", "two"):
        write_profile(world.home, name, api_key, members["privateKey"], baseUrl=world.base_url)
    said = run_here("doctor", "--profile", "one", environment={"R4_HOME": str(world.home)})
    assert said.status == 0
    assert f"service is {world.base_url}, profile one" in said.out
    assert (world.home / "profiles" / "one" / "trust-store.json").exists()
    assert not (world.home / "profiles" / "two" / "trust-store.json").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--profile", "work", "trust", "list"),
        ("trust", "--profile", "work", "list"),
        ("trust", "list", "--profile", "work"),
        ("--profile", "home", "trust", "list", "--profile", "work"),
    ],
)
def test_the_option_stands_before_or_after_the_command(home: Path, arguments: tuple[str, ...]) -> None:
    """And the later one counts; without it the default, which is another, would be refused."""
    write_config(home, defaultProfile="gone")
    done = run_here(*arguments, environment={"R4_HOME": str(home)})
    assert (done.status, done.err) == (0, "")


@pytest.mark.parametrize(
    "command", [("serve",), ("put", "r4://a/b/c"), ("doctor",), ("trust", "list"), ("rotate-key",), ("exposure",)]
)
@pytest.mark.parametrize("where", ["--profile", "R4_PROFILE"])
def test_the_embedded_vault_and_a_named_profile_contradict_each_other(home: Path, where: str, command: tuple[str, ...]) -> None:
    """Refused before anything is made or served."""
    named = {"R4_PROFILE": "work"} if where == "R4_PROFILE" else {}
    option = ("--profile", "work") if where == "--profile" else ()
    done = run_here(*command, "--local", *option, environment={"R4_HOME": str(home), **named})
    assert (done.status, done.out) == (1, "")
    assert f"--local means the embedded vault, and {where} work means an agent of R4" in done.err.replace("R4-mcp", "r4-mcp")
    assert not (home / "local").exists()


def test_the_embedded_vault_does_not_look_at_the_default_profile(home: Path) -> None:
    """Nor at a damaged one: its trust store is the home's."""
    write_private(home / "config.json", "{")
    settings = read_settings({"R4_HOME": str(home)}, KnownSecrets(), local=True)
    assert settings.trust_store == home / "trust-store.json"
    assert [problem.message for problem in settings.problems] == ["no API key is configured"]


@pytest.mark.stdio
def test_without_a_command_a_profile_is_served(home: Path) -> None:
    """``r4-mcp --profile NAME`` serves over a pipe, and prints help at a terminal."""
    served = run("--profile", "play", environment={"R4_HOME": str(home)})
    assert served.status == 0
    assert "not ready: there is no profile play" in served.err
    assert "usage: r4-mcp" in run_at_terminal("--profile", "play", environment={"R4_HOME": str(home)}).out


async def test_a_server_with_a_wrong_profile_explains_itself(world: World) -> None:
    """It starts, and every tool says which profiles there are."""
    write_profile(world.home, "work", new_agent(world).api_key, baseUrl=world.base_url)
    async with in_memory({"R4_HOME": str(world.home), "R4_PROFILE": "play"}) as door:
        told = await door.refused("list_vaults", "not_configured")
        assert "there are work" in told["message"]
        assert told["next_step"] == "Make it: `r4-mcp init --profile play`"
    assert world.tap.exchanges == []
