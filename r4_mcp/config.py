"""Configuration: the environment and the files that it names, read once.

What this file does not do: fail for what is absent. Nothing configured is a state that the server explains; what is malformed
is reported as a problem with its next step.

Rules:
1. A setting in the environment wins over the same one in the runtime JSON that ``R4_CONFIG`` names.
2. A file with a secret is a regular file, no symlink, of this user or root, closed to group and others; else the error names
   the ``chmod``.
3. A switch is on unless it is empty, ``0``, ``false``, ``no`` or ``off``: a typing error never opens what the operator meant
   to close.
4. The service is reached by https, or by http on loopback.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

import httpx

from r4_mcp.core.record import is_id
from r4_mcp.core.trust import CheckpointMode, SignerTrust, TrustPolicy
from r4_mcp.core.wire import ProjectId
from r4_mcp.errors import ApiKeyFormatError, ConfigurationError, FileAccessError, NotConfiguredError
from r4_mcp.machine.contract import DEFAULT_BASE_URL
from r4_mcp.policy.rules import Switches
from r4_mcp.secret import KnownSecrets, Secret, SecretKind
from r4_mcp.sinks.spellings import MIN_SUBSTRING
from r4_mcp.vault.key_file import InlineKey, KeyFile, KeyForm, KeySource, pem_of_runtime_json
from r4_mcp.vault.locked_file import read_private

_MAX_CONFIG: Final = 64 * 1024
_API_KEY: Final = re.compile(r"[!-\-/-~]{3,128}\.[!-\-/-~]{8,512}", re.ASCII)
ChoiceT = TypeVar("ChoiceT", SignerTrust, CheckpointMode)

_R4_KEY_LIKE: Final = re.compile(r"rk_[A-Za-z0-9]{4,}\.\S{8,}", re.ASCII)
_PRINTABLE: Final = re.compile(r"[!-~]{1,2048}", re.ASCII)
_OFF: Final = frozenset({"", "0", "false", "no", "off"})

SETTINGS: Final = {
    "R4_CONFIG": "Path of the runtime JSON: agentId, accessKey, accessSecret, privateKey.",
    "R4_API_KEY": "API key, accessKey.secret.",
    "R4_API_KEY_FILE": "Path of a file with the API key (mode 0600).",
    "R4_PRIVATE_KEY_PATH": "Path of the agent's RSA private key in PEM (mode 0600).",
    "R4_PRIVATE_KEY": "The private key itself in PEM; prefer a file.",
    "R4_BASE_URL": f"Address of the service; default {DEFAULT_BASE_URL}.",
    "R4_PROJECT_ID": "Only vaults of this project are listed and found by name (a filter, not a boundary).",
    "R4_HOME": "Folder of profiles, the embedded vault and state; default ~/.r4.",
    "R4_TRUST_STORE_PATH": "File that remembers what was verified; default under R4_HOME.",
    "R4_SIGNER_TRUST": "tofu (default) pins a vault's signers at first contact; pinned accepts only fingerprints you added.",
    "R4_CHECKPOINTS": "require (default) refuses answers without signatures; when-present lists them as unverified.",
    "R4_READ_ONLY": "1 hides every tool that writes.",
    "R4_NO_REVEAL": "1 hides read_secret.",
}
"""Every environment variable that is read, with its meaning."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What was configured, and what is wrong with it."""

    base_url: str
    api_key: Secret[str] | None
    access_key: str | None
    key_source: KeySource | None
    project_id: ProjectId | None
    home: Path
    trust_store: Path
    trust: TrustPolicy
    switches: Switches
    problems: tuple[ConfigurationError, ...]


def read_settings(environment: Mapping[str, str], known: KnownSecrets) -> Settings:
    """Read the configuration; problems are collected, not raised."""
    problems: list[ConfigurationError] = []
    environment = _judge_paths(environment, known, problems)
    runtime = _runtime_json(environment, problems)
    api_key = _api_key(environment, runtime, known, problems)
    home = Path(environment.get("R4_HOME") or Path.home() / ".r4").expanduser()
    store = environment.get("R4_TRUST_STORE_PATH")
    return Settings(
        base_url=_base_url(environment, problems),
        api_key=api_key,
        # reveal: only the part before the dot, which names the key and is no secret.
        access_key=None if api_key is None else api_key.reveal().partition(".")[0],
        key_source=_key_source(environment, runtime, known),
        project_id=_project_id(environment, problems),
        home=home,
        trust_store=Path(store).expanduser() if store else home / "trust-store.json",
        trust=TrustPolicy(
            mode=_choice(environment, "R4_SIGNER_TRUST", SignerTrust.TOFU, SignerTrust.PINNED, problems),
            checkpoints=_choice(environment, "R4_CHECKPOINTS", CheckpointMode.REQUIRE, CheckpointMode.REQUIRE, problems),
        ),
        switches=read_switches(environment),
        problems=tuple(problems),
    )


def read_switches(environment: Mapping[str, str]) -> Switches:
    """Read the operator's switches (rule 3)."""
    return Switches(
        read_only=environment.get("R4_READ_ONLY", "").strip().lower() not in _OFF,
        no_reveal=environment.get("R4_NO_REVEAL", "").strip().lower() not in _OFF,
    )


def read_private_file(path: Path, max_size: int) -> bytes:
    """Read a file that holds a secret (rule 2).

    Raises:
        FileAccessError: Missing, unreadable, a symlink, too large, of another user, or open to others.
    """
    try:
        return read_private(path, max_size, root_may_own=True)
    except FileNotFoundError:
        raise FileAccessError(f"{path} does not exist") from None


_PATHS: Final = ("R4_CONFIG", "R4_API_KEY_FILE", "R4_PRIVATE_KEY_PATH", "R4_HOME", "R4_TRUST_STORE_PATH")
_MAX_PATH: Final = 1024


def _judge_paths(environment: Mapping[str, str], known: KnownSecrets, problems: list[ConfigurationError]) -> dict[str, str]:
    """Return the environment without path settings that hold no path.

    A key pasted where its path belongs is a common slip, and errors about files name the path: so such a text is armed, reported
    by its setting's name alone, and never becomes a path.
    """
    judged = dict(environment)
    for name in _PATHS:
        text = environment.get(name, "")
        looks_secret = "-----" in text or text.lstrip().startswith("{") or _R4_KEY_LIKE.fullmatch(text.strip()) is not None
        if looks_secret or len(text) > _MAX_PATH or not text.isprintable() or _has_no_home(text):
            del judged[name]
            if len(text) >= MIN_SUBSTRING:
                known.private_key_pem(text.encode("utf-8", "replace"))
                known.text(text, SecretKind.API_KEY)
                for part in re.findall(r"[A-Za-z0-9_+/=-]{8,}", text):
                    known.text(part, SecretKind.API_KEY)
            problems.append(ConfigurationError(f"{name} does not hold a path", next_step=f"Set {name} to the path of a file."))
    return judged


def _has_no_home(text: str) -> bool:
    try:
        Path(text).expanduser()
    except RuntimeError:  # "~somebody" who is not there
        return True
    return False


def _runtime_json(environment: Mapping[str, str], problems: list[ConfigurationError]) -> dict[str, str]:
    named = environment.get("R4_CONFIG")
    if not named:
        return {}
    path = Path(named).expanduser()
    try:
        parsed: object = json.loads(read_private_file(path, _MAX_CONFIG))
    except FileAccessError as error:
        problems.append(error)
        return {}
    except (ValueError, RecursionError):
        parsed = None  # The parser's own message quotes the document.
    if not isinstance(parsed, dict) or not all(isinstance(parsed.get(key), str) for key in ("accessKey", "accessSecret")):
        problems.append(
            ConfigurationError(
                f"{path} is not a runtime JSON with accessKey, accessSecret and privateKey",
                next_step="Export the agent's runtime configuration from R4 again, or set R4_API_KEY and R4_PRIVATE_KEY_PATH.",
            )
        )
        return {}
    return {key: member for key, member in parsed.items() if isinstance(key, str) and isinstance(member, str)}


def _api_key(
    environment: Mapping[str, str], runtime: Mapping[str, str], known: KnownSecrets, problems: list[ConfigurationError]
) -> Secret[str] | None:
    text = environment.get("R4_API_KEY", "").strip()
    source = "R4_API_KEY"
    if not text and environment.get("R4_API_KEY_FILE"):
        path = Path(environment["R4_API_KEY_FILE"]).expanduser()
        source = str(path)
        try:
            text = read_private_file(path, _MAX_CONFIG).decode("ascii", "replace").strip()
        except FileAccessError as error:
            problems.append(error)
            return None
    if not text and runtime:
        text, source = f"{runtime['accessKey']}.{runtime['accessSecret']}", "R4_CONFIG"
    if not text:
        if not problems:
            problems.append(NotConfiguredError("no API key is configured", next_step=_HOW_TO_CONFIGURE))
        return None
    # Known before it is judged: a malformed key is still somebody's secret.
    secret = known.text(text, SecretKind.API_KEY)
    known.text(text.rpartition(".")[2], SecretKind.API_KEY)
    if not _API_KEY.fullmatch(text):
        problems.append(ApiKeyFormatError(f"the API key of {source} is not of the form accessKey.secret"))
        return None
    return secret


_HOW_TO_CONFIGURE: Final = (
    "Set R4_CONFIG to the agent's runtime JSON, or R4_API_KEY and R4_PRIVATE_KEY_PATH, and start again; "
    "or use the embedded vault, which needs no account, with --local (`r4-mcp serve --local`)."
)


def _key_source(environment: Mapping[str, str], runtime: Mapping[str, str], known: KnownSecrets) -> KeySource | None:
    if environment.get("R4_PRIVATE_KEY_PATH"):
        return KeyFile(Path(environment["R4_PRIVATE_KEY_PATH"]).expanduser(), KeyForm.PEM, known, _no_passphrase)
    if environment.get("R4_PRIVATE_KEY"):
        pem = pem_of_runtime_json(environment["R4_PRIVATE_KEY"])
        return InlineKey(known.private_key_pem(pem), _no_passphrase)
    if runtime.get("privateKey"):
        # Known from now on, whether or not it is ever loaded.
        known.private_key_pem(pem_of_runtime_json(runtime["privateKey"]))
        return KeyFile(Path(environment["R4_CONFIG"]).expanduser(), KeyForm.RUNTIME_JSON, known, _no_passphrase)
    return None


def _no_passphrase() -> Secret[bytes] | None:
    return None


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


def _project_id(environment: Mapping[str, str], problems: list[ConfigurationError]) -> ProjectId | None:
    text = environment.get("R4_PROJECT_ID", "").strip()
    if text and not is_id(text):
        problems.append(ConfigurationError("R4_PROJECT_ID is not an id of 24 lowercase hex characters"))
        return None
    return ProjectId(text) if text else None


def _base_url(environment: Mapping[str, str], problems: list[ConfigurationError]) -> str:
    text = environment.get("R4_BASE_URL", "").strip() or DEFAULT_BASE_URL
    try:
        # The address that is judged is the one that is dialled: what httpx can't read, or urlsplit would clean, is refused.
        # (httpx reads the host on access; an IDNAError of it is a ValueError.)
        host = httpx.URL(text).host
        url = urlsplit(text if _PRINTABLE.fullmatch(text) else "")
        port_is_fine = url.port != 0 and bool(url.hostname)
    except (ValueError, httpx.InvalidURL):
        host, port_is_fine, url = "", False, urlsplit("")
    plain = not (url.query or url.fragment or url.username or url.password) and port_is_fine and bool(host)
    if plain and (url.scheme == "https" or (url.scheme == "http" and is_loopback(host))):
        return text.rstrip("/")
    problems.append(
        ConfigurationError(
            "R4_BASE_URL is not an https address (http is allowed on loopback only; no user, query or fragment)",
            next_step=f"Set R4_BASE_URL to the service's address, such as {DEFAULT_BASE_URL}, and start the server again.",
        )
    )
    return DEFAULT_BASE_URL


def is_loopback(host: str) -> bool:
    """Say whether a host of a URL is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
