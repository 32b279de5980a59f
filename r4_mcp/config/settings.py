"""The settings of this process: the agent, its service, and what the operator decided.

What this file does not do: fail for what is absent. Nothing configured is a state that the server explains; what is malformed
is reported as a problem with its next step.

Rules:
1. Who the agent is comes from one place (``agent``); ``R4_PROJECT_ID`` and ``R4_TRUST_STORE_PATH`` win over a profile's own.
2. A switch is on unless it is empty, ``0``, ``false``, ``no`` or ``off``: a typing error never opens what the operator meant
   to close.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from r4_mcp.config.address import judge_address
from r4_mcp.config.agent import Agent, Written, agent_of_environment, agent_of_profile, choose_profile, identities
from r4_mcp.config.credentials import access_key_of
from r4_mcp.config.passphrase import Passphrases
from r4_mcp.config.paths import judge_path
from r4_mcp.config.profiles import TRUST_STORE, Profiles, named_profile
from r4_mcp.core.record import is_id
from r4_mcp.core.trust import CheckpointMode, SignerTrust, TrustPolicy
from r4_mcp.core.wire import ProjectId
from r4_mcp.errors import ConfigurationError, NotConfiguredError
from r4_mcp.machine.contract import DEFAULT_BASE_URL
from r4_mcp.policy.model import Switches
from r4_mcp.secret import KnownSecrets, Secret
from r4_mcp.vault.index import MAX_AGE
from r4_mcp.vault.key_file import KeySource

ChoiceT = TypeVar("ChoiceT", SignerTrust, CheckpointMode)

_OFF: Final = frozenset({"", "0", "false", "no", "off"})
_SECONDS: Final = re.compile(r"[0-9]{1,3}", re.ASCII)
MAX_INDEX_SECONDS: Final = 300
"""Longest that verified names may be answered from memory: a removed item is listed for as long."""

_PATHS: Final = ("R4_CONFIG", "R4_API_KEY_FILE", "R4_PRIVATE_KEY_PATH", "R4_HOME", "R4_TRUST_STORE_PATH", "R4_POLICY")

SETTINGS: Final = {
    "R4_PROFILE": "Profile that `r4-mcp init` made; `--profile` wins. Default: the one that config.json names.",
    "R4_CONFIG": "Path of the runtime JSON (mode 0600): agentId, accessKey, accessSecret, privateKey.",
    "R4_API_KEY": "API key, accessKey.secret; wins over R4_CONFIG.",
    "R4_API_KEY_FILE": "Path of a file with the API key (mode 0600).",
    "R4_PRIVATE_KEY_PATH": "Path of the agent's RSA private key in PEM (mode 0600).",
    "R4_PRIVATE_KEY": "The private key itself in PEM; prefer a file.",
    "R4_KEY_PASSPHRASE_FD": "Number of an open descriptor (3 or higher) that gives an encrypted key's passphrase.",
    "R4_KEY_PASSPHRASE_KEYRING": "1 takes that passphrase from the system's keyring, service r4-mcp; a name is another service.",
    "R4_BASE_URL": f"Address of the service: https, or http on loopback. Default {DEFAULT_BASE_URL}.",
    "R4_PROJECT_ID": (
        "Only vaults of this project are listed and found by name. A filter, not a boundary: ids still reach what the agent was "
        "granted."
    ),
    "R4_HOME": "Folder of profiles, the embedded vault and state. Default ~/.r4.",
    "R4_TRUST_STORE_PATH": "File that remembers what was verified. Default in the profile's folder, else under R4_HOME.",
    "R4_SIGNER_TRUST": (
        "tofu (default) pins a vault's signers at first contact; pinned pins only fingerprints you added. Signers that were "
        "pinned before stay; `r4-mcp trust reset` forgets them."
    ),
    "R4_CHECKPOINTS": "require (default) refuses answers without signatures; when-present lists them as unverified.",
    "R4_INDEX_SECONDS": "How long verified names are answered from memory, 0 to 300; default 30. Values are always fetched.",
    "R4_POLICY": "The operator's policy file (TOML). Default policy.toml under R4_HOME; absent there means the defaults.",
    "R4_READ_ONLY": "1 hides every tool that changes vaults (report_gap stays).",
    "R4_NO_REVEAL": "1 hides read_secret.",
}
"""Every environment variable that is read, with its meaning."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What was configured, and what is wrong with it.

    Attributes:
        profile: The profile that the credentials come from; None where they come from the environment.
        policy: The operator's policy file.
        policy_named: Whether R4_POLICY named it, so that it must be there.
        problems: Why the server can't serve yet, in the order in which they should be solved.
        own_files: All that this program is told by or remembers in: folders, and files that are there or not yet.
    """

    base_url: str
    api_key: Secret[str] | None
    access_key: str | None
    key_source: KeySource | None
    project_id: ProjectId | None
    home: Path
    trust_store: Path
    trust: TrustPolicy
    index_seconds: float
    switches: Switches
    policy: Path
    policy_named: bool
    profile: str | None
    problems: tuple[ConfigurationError, ...]
    own_files: tuple[Path, ...]


def read_settings(
    environment: Mapping[str, str],
    known: KnownSecrets,
    *,
    profile: str | None = None,
    local: bool = False,
    passphrases: Passphrases | None = None,
) -> Settings:
    """Read the configuration; problems are collected, not raised.

    Args:
        environment: The process's environment.
        known: Where every secret that is met is made known.
        profile: The profile that the command line named.
        local: The embedded vault is meant, so no profile is looked at.
        passphrases: Where the passphrase of an encrypted key comes from; by default from the environment's settings, and nobody
            is asked.
    """
    problems: list[ConfigurationError] = []
    # A setting that turns out to be malformed still says that the agent is not the default profile's.
    explicit = identities(environment)
    environment = _judge_paths(environment, known, problems)
    passphrases = Passphrases(environment, known) if passphrases is None else passphrases
    problems.extend(passphrases.problems)
    home = home_of(environment, known)
    agent = Agent()
    try:
        profiles = Profiles(home)
        name = None if local else choose_profile(named_profile(environment, profile, known), explicit, profiles)
        if name is None:
            agent = agent_of_environment(environment, known, passphrases, problems)
        else:
            agent = agent_of_profile(profiles, name, environment, known, passphrases)
    except ConfigurationError as error:
        problems.append(error)
    if agent.api_key is None and not problems:
        problems.append(NotConfiguredError("no API key is configured", next_step=_HOW_TO_CONFIGURE))
    store = environment.get("R4_TRUST_STORE_PATH")
    trust_store = Path(store).expanduser() if store else (agent.profile.folder if agent.profile else home) / TRUST_STORE
    policy = Path(environment["R4_POLICY"]).expanduser() if environment.get("R4_POLICY") else home / "policy.toml"
    named = tuple(Path(environment[name]).expanduser() for name in _PATHS if environment.get(name))
    return Settings(
        base_url=_base_url(environment, agent, problems),
        api_key=agent.api_key,
        access_key=None if agent.api_key is None else access_key_of(agent.api_key),
        key_source=agent.key_source,
        project_id=_project_id(environment, agent, problems),
        home=home,
        trust_store=trust_store,
        trust=TrustPolicy(
            mode=_choice(environment, "R4_SIGNER_TRUST", SignerTrust.TOFU, SignerTrust.PINNED, problems),
            checkpoints=_choice(environment, "R4_CHECKPOINTS", CheckpointMode.REQUIRE, CheckpointMode.REQUIRE, problems),
        ),
        index_seconds=_index_seconds(environment, problems),
        switches=read_switches(environment),
        policy=policy,
        policy_named=bool(environment.get("R4_POLICY")),
        profile=None if agent.profile is None else agent.profile.name,
        problems=tuple(problems),
        own_files=(home, trust_store, policy, *named, *(() if agent.profile is None else (agent.profile.folder,))),
    )


def read_switches(environment: Mapping[str, str]) -> Switches:
    """Read the operator's switches (rule 2)."""
    return Switches(
        read_only=environment.get("R4_READ_ONLY", "").strip().lower() not in _OFF,
        no_reveal=environment.get("R4_NO_REVEAL", "").strip().lower() not in _OFF,
    )


def home_of(environment: Mapping[str, str], known: KnownSecrets) -> Path:
    """Return the folder of profiles and state.

    Raises:
        ConfigurationError: ``R4_HOME`` holds no path.
    """
    text = environment.get("R4_HOME")
    return judge_path(text, "R4_HOME", known) if text else Path.home() / ".r4"


_HOW_TO_CONFIGURE: Final = (
    "Make a profile with `r4-mcp init` (or set R4_CONFIG to the agent's runtime JSON, or R4_API_KEY and R4_PRIVATE_KEY_PATH) "
    "and start again; or use the embedded vault, which needs no account, with --local (`r4-mcp serve --local`)."
)


def _judge_paths(environment: Mapping[str, str], known: KnownSecrets, problems: list[ConfigurationError]) -> dict[str, str]:
    judged = dict(environment)
    for name in _PATHS:
        try:
            judge_path(environment.get(name, ""), name, known)
        except ConfigurationError as error:
            del judged[name]
            problems.append(error)
    return judged


def _base_url(environment: Mapping[str, str], agent: Agent, problems: list[ConfigurationError]) -> str:
    asked = environment.get("R4_BASE_URL", "").strip()
    written = agent.base_url or (Written(asked, "R4_BASE_URL") if asked else agent.default_base_url)
    try:
        return DEFAULT_BASE_URL if written is None else judge_address(written.text, written.source)
    except ConfigurationError as error:
        problems.append(error)
        return DEFAULT_BASE_URL


def _index_seconds(environment: Mapping[str, str], problems: list[ConfigurationError]) -> float:
    asked = environment.get("R4_INDEX_SECONDS", "").strip()
    if asked and not (_SECONDS.fullmatch(asked) and int(asked) <= MAX_INDEX_SECONDS):
        problems.append(NotConfiguredError(f"R4_INDEX_SECONDS is not a number from 0 to {MAX_INDEX_SECONDS}"))
        return MAX_AGE
    return float(asked or MAX_AGE)


def _project_id(environment: Mapping[str, str], agent: Agent, problems: list[ConfigurationError]) -> ProjectId | None:
    asked = environment.get("R4_PROJECT_ID", "").strip()
    written = Written(asked, "R4_PROJECT_ID") if asked else agent.project_id
    if written is None:
        return None
    if not is_id(written.text):
        problems.append(ConfigurationError(f"{written.source} is not an id of 24 lowercase hex characters"))
        return None
    return ProjectId(written.text)


def _choice(
    environment: Mapping[str, str], name: str, default: ChoiceT, strictest: ChoiceT, problems: list[ConfigurationError]
) -> ChoiceT:
    text = environment.get(name, "").strip().lower()
    if not text:
        return default
    kind = type(default)
    try:
        return kind(text)
    except ValueError:
        # The problem keeps the server from serving; the strictest choice stands in case anything asks meanwhile.
        problems.append(ConfigurationError(f"{name} is not one of {', '.join(kind)}"))
        return strictest
