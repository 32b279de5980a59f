"""What a new profile is made of: imported from files, typed by a person, or generated.

What this file does not do: write anything, or ask the service.

Rules:
1. Files are read before a person is asked: what can be refused is refused before anybody types a secret.
2. An imported key that is encrypted stays encrypted, with its own passphrase.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

from r4_mcp.cli.passphrase import new_passphrase
from r4_mcp.cli.prompts import ask_hidden, at_terminal
from r4_mcp.config import Passphrases
from r4_mcp.config.address import judge_address
from r4_mcp.config.credentials import judge_api_key, read_private_file, read_runtime_json
from r4_mcp.config.new_profile import NewProfile
from r4_mcp.config.paths import judge_path
from r4_mcp.config.profiles import Profiles
from r4_mcp.core.keys import EXPONENT, MAX_PEM_SIZE, PrivateKey, dump_private_key, load_private_key
from r4_mcp.core.record import is_id
from r4_mcp.errors import InvalidArgumentError, PrivateKeyError
from r4_mcp.machine.contract import DEFAULT_BASE_URL
from r4_mcp.secret import KnownSecrets, Secret
from r4_mcp.vault.key_file import NEW_BITS, pem_of_runtime_json

_MAX_API_KEY: Final = 1024
_NOT_THAT: Final = "Give the file of the agent's RSA private key in PEM, 2048 to 4096 bits, or leave it out: a key is made then."
_FROM_R4: Final = "Copy it from R4 as it is shown there: accessKey, a dot, secret. Or import the runtime JSON with --config FILE."
_EXPORT_AGAIN: Final = "Export the agent's runtime configuration from R4 again, or leave --config out."


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asked for; names, paths and addresses as they were typed."""

    profile: str | None = None
    config: str | None = None
    key: str | None = None
    bits: int | None = None
    base_url: str | None = None
    encrypt: bool = False
    keyring: bool = False


@dataclass(frozen=True, slots=True)
class Outside:
    """What is around a command: the environment, this process's secrets, and what gives passphrases."""

    environment: Mapping[str, str]
    known: KnownSecrets
    passphrases: Passphrases


def gather(wishes: Wishes, name: str, profiles: Profiles, outside: Outside) -> NewProfile:
    """Gather what a profile is made of.

    Args:
        wishes: The command line.
        name: The profile's name, judged.
        profiles: The home's profiles.
        outside: What is around the command.

    Raises:
        ConfigurationError: A file, address or key can't be used.
        InvalidArgumentError: The wishes contradict each other, or nothing was entered.
    """
    known = outside.known
    base_url = _base_url(wishes, profiles, outside.environment)
    runtime: dict[str, str] = {}
    if wishes.config is not None:
        path = judge_path(wishes.config, "--config", known)
        runtime = read_runtime_json(path, _EXPORT_AGAIN)
    imported = _imported_key(wishes, runtime, outside)
    if runtime:
        text = f"{runtime['accessKey']}.{runtime['accessSecret']}"
        api_key = judge_api_key(text, "--config", known, _EXPORT_AGAIN)
    else:
        api_key = judge_api_key(_api_key_text(), "this command", known, _FROM_R4)
    key, passphrase = imported or (None, None)
    if wishes.encrypt and passphrase is None:
        passphrase = new_passphrase(outside.passphrases, known, profiles.path(name))
    agent_id = runtime.get("agentId", "")
    return NewProfile(
        name=name,
        agent_id=agent_id if is_id(agent_id) else None,
        api_key=api_key,
        base_url=base_url,
        key=_generate(wishes.bits or NEW_BITS, known) if key is None else key,
        passphrase=passphrase,
    )


def _base_url(wishes: Wishes, profiles: Profiles, environment: Mapping[str, str]) -> str:
    asked = environment.get("R4_BASE_URL", "").strip()
    if wishes.base_url is not None:
        wanted = judge_address(wishes.base_url, "--base-url")
        if asked.rstrip("/") not in {"", wanted}:
            raise InvalidArgumentError(
                "--base-url and R4_BASE_URL differ", next_step="Unset R4_BASE_URL, or leave --base-url out."
            )
        return wanted
    if asked:
        return judge_address(asked, "R4_BASE_URL")
    return judge_address(profiles.config().base_url or DEFAULT_BASE_URL, "baseUrl in config.json")


def _imported_key(wishes: Wishes, runtime: Mapping[str, str], outside: Outside) -> tuple[PrivateKey, Secret[bytes] | None] | None:
    """Return the key that is imported and the passphrase that protects it, if one is."""
    brought = runtime.get("privateKey")
    if wishes.key is not None and brought:
        raise InvalidArgumentError(
            "--config brings a private key, and --key names another one", next_step="Leave one of the two out."
        )
    if wishes.key is None and not brought:
        return None
    if wishes.bits is not None:
        raise InvalidArgumentError("--bits is the size of a new key, and one is imported", next_step="Leave --bits out.")
    named = wishes.config if wishes.key is None else wishes.key
    path = judge_path(named or "", "--key", outside.known)
    raw = pem_of_runtime_json(brought) if wishes.key is None else read_private_file(path, MAX_PEM_SIZE)
    pem = outside.known.private_key_pem(raw)
    passphrase = outside.passphrases.source(str(path.absolute()))() if b"ENCRYPTED" in raw else None
    try:
        # reveal: both are seen by the PEM parser only.
        key = load_private_key(pem.reveal(), passphrase=None if passphrase is None else passphrase.reveal())
    except PrivateKeyError as error:
        raise PrivateKeyError(f"{path}: {error.message}", next_step=_NOT_THAT) from None
    return key, passphrase


def _api_key_text() -> str:
    if at_terminal():
        return (ask_hidden("API key, accessKey.secret (not shown): ") or "").strip()
    return sys.stdin.buffer.read(_MAX_API_KEY).decode("ascii", "replace").strip()


def _generate(bits: int, known: KnownSecrets) -> PrivateKey:
    pem = dump_private_key(rsa.generate_private_key(public_exponent=EXPONENT, key_size=bits), None)
    # reveal: seen by the PEM parser only.
    return load_private_key(known.private_key_pem(pem).reveal())
