"""Who the agent is: credentials from the environment, or from one profile.

What this file does not do: mix the two, or load a private key; it says where the key lives.

Rules:
1. Settings that say who the agent is (``IDENTITY``) win over a profile that is merely the default, whole: nothing of the profile
   is read. A profile that was named (``--profile``, ``R4_PROFILE``) together with one of them is refused.
2. In the environment: ``R4_API_KEY``, then ``R4_API_KEY_FILE``, then the runtime JSON of ``R4_CONFIG``; ``R4_PRIVATE_KEY_PATH``,
   then ``R4_PRIVATE_KEY``, then the runtime JSON.
3. A profile's API key goes to the profile's own address: another one in ``R4_BASE_URL`` is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from r4_mcp.config.credentials import MAX_FILE, judge_api_key, read_private_file, read_runtime_json
from r4_mcp.config.passphrase import Passphrases
from r4_mcp.config.profiles import PRIVATE_KEY, NamedProfile, Profile, Profiles, listed
from r4_mcp.errors import ConfigurationError, NotConfiguredError
from r4_mcp.secret import KnownSecrets, Secret
from r4_mcp.vault.key_file import InlineKey, KeyFile, KeyForm, KeySource, pem_of_runtime_json

IDENTITY: Final = ("R4_API_KEY", "R4_API_KEY_FILE", "R4_CONFIG", "R4_PRIVATE_KEY_PATH", "R4_PRIVATE_KEY")
"""Settings that say who the agent is (rule 1)."""


@dataclass(frozen=True, slots=True)
class Written:
    """A text as somebody wrote it, not judged yet, and where: for the error."""

    text: str
    source: str


@dataclass(frozen=True, slots=True)
class Agent:
    """Who the agent is.

    Attributes:
        api_key: Its API key, or None where none is configured.
        key_source: Where its private key lives, or None.
        profile: The profile that this comes from, or None for the environment.
        base_url: The address that its API key is for, where one is noted.
        default_base_url: The address of profiles that note none.
        project_id: The project that it is narrowed to.
    """

    api_key: Secret[str] | None = None
    key_source: KeySource | None = None
    profile: Profile | None = None
    base_url: Written | None = None
    default_base_url: Written | None = None
    project_id: Written | None = None


def identities(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the settings that say who the agent is, as far as they are set."""
    return tuple(name for name in IDENTITY if environment.get(name))


def choose_profile(named: NamedProfile | None, explicit: tuple[str, ...], profiles: Profiles) -> str | None:
    """Return the name of the profile that counts; None leaves it to the environment (rule 1).

    Args:
        named: What the command line or the environment named.
        explicit: The settings of ``IDENTITY`` that are set.
        profiles: The profiles that there are.

    Raises:
        ConfigurationError: Both are given; or profiles are there and nothing chooses one.
    """
    if named is not None and explicit:
        raise ConfigurationError(
            f"{named.where} {named.name} and {' and '.join(explicit)} each say who the agent is",
            next_step=f"Unset {' and '.join(explicit)}, or leave out {named.where}.",
        )
    if named is not None:
        return named.name
    if explicit:
        return None
    default = profiles.config().default_profile
    if default is None and profiles.names():
        raise NotConfiguredError(
            f"no profile is chosen, and none is the default; there are {listed(profiles.names())}",
            next_step=f'Choose one with --profile or R4_PROFILE, or put "defaultProfile" into {profiles.config_path}.',
        )
    return default


def agent_of_profile(
    profiles: Profiles, name: str, environment: Mapping[str, str], known: KnownSecrets, passphrases: Passphrases
) -> Agent:
    """Read an agent from a profile.

    Raises:
        ConfigurationError: The profile is missing, open to others, or malformed; or rule 3.
    """
    profile = profiles.read(name, known)
    path = profile.credentials_path
    asked = environment.get("R4_BASE_URL", "").strip().rstrip("/")
    if profile.base_url is not None and asked not in {"", profile.base_url.rstrip("/")}:
        raise ConfigurationError(
            f"R4_BASE_URL is another address than that of profile {name}, and its API key goes nowhere else",
            next_step=f"Unset R4_BASE_URL, or change baseUrl in {path}.",
        )
    key_path = profile.folder / PRIVATE_KEY
    default_base_url = None if profile.base_url is not None else profiles.config().base_url
    return Agent(
        api_key=profile.api_key,
        key_source=KeyFile(key_path, KeyForm.PEM, known, passphrases.source(str(key_path.absolute()))),
        profile=profile,
        base_url=_written(profile.base_url, f"baseUrl in {path}"),
        default_base_url=_written(default_base_url, f"baseUrl in {profiles.config_path}"),
        project_id=_written(profile.project_id, f"projectId in {path}"),
    )


def agent_of_environment(
    environment: Mapping[str, str], known: KnownSecrets, passphrases: Passphrases, problems: list[ConfigurationError]
) -> Agent:
    """Read an agent from the environment and the files that it names (rule 2); problems are collected, not raised."""
    runtime: dict[str, str] = {}
    api_key = None
    if environment.get("R4_CONFIG"):
        try:
            runtime = read_runtime_json(Path(environment["R4_CONFIG"]).expanduser())
        except ConfigurationError as error:
            problems.append(error)
    try:
        api_key = _api_key(environment, runtime, known)
    except ConfigurationError as error:
        problems.append(error)
    return Agent(api_key=api_key, key_source=_key_source(environment, runtime, known, passphrases))


def _written(text: str | None, source: str) -> Written | None:
    return None if text is None else Written(text, source)


def _api_key(environment: Mapping[str, str], runtime: Mapping[str, str], known: KnownSecrets) -> Secret[str] | None:
    text = environment.get("R4_API_KEY", "").strip()
    source = "R4_API_KEY"
    if not text and environment.get("R4_API_KEY_FILE"):
        path = Path(environment["R4_API_KEY_FILE"]).expanduser()
        source = str(path)
        text = read_private_file(path, MAX_FILE).decode("ascii", "replace").strip()
    if not text and runtime:
        text, source = f"{runtime['accessKey']}.{runtime['accessSecret']}", "R4_CONFIG"
    return judge_api_key(text, source, known) if text else None


def _key_source(
    environment: Mapping[str, str], runtime: Mapping[str, str], known: KnownSecrets, passphrases: Passphrases
) -> KeySource | None:
    if environment.get("R4_PRIVATE_KEY_PATH"):
        path = Path(environment["R4_PRIVATE_KEY_PATH"]).expanduser()
        return KeyFile(path, KeyForm.PEM, known, passphrases.source(str(path.absolute())))
    if environment.get("R4_PRIVATE_KEY"):
        pem = pem_of_runtime_json(environment["R4_PRIVATE_KEY"])
        return InlineKey(known.private_key_pem(pem), passphrases.source("R4_PRIVATE_KEY"))
    if runtime.get("privateKey"):
        # Known from now on, whether or not it is ever loaded.
        known.private_key_pem(pem_of_runtime_json(runtime["privateKey"]))
        path = Path(environment["R4_CONFIG"]).expanduser()
        return KeyFile(path, KeyForm.RUNTIME_JSON, known, passphrases.source(str(path.absolute())))
    return None
