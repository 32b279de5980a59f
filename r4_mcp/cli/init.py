"""``r4-mcp init``: makes a profile, registers its key, and says what R4's operator does next.

What this file does not do: write the profile's files; ``config.new_profile`` does. It replaces nothing that exists.

Rules:
1. What can be refused is refused before anybody types a secret, and before anything is written.
2. The service is asked who the API key is before the profile is written: a key that it does not accept, or an agent that has
   another key, makes no profile. A service that can't be reached is no reason not to make one.
3. The key is on disk before the service hears of it. From then on the profile stays, whatever the service answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import anyio

from r4_mcp.cli.doctor import doctor
from r4_mcp.cli.new_agent import Outside, Wishes, gather
from r4_mcp.cli.printing import say, say_findings
from r4_mcp.cli.wiring import open_service
from r4_mcp.config import Passphrases, Settings, read_settings
from r4_mcp.config.agent import identities
from r4_mcp.config.credentials import access_key_of
from r4_mcp.config.new_profile import Made, NewProfile, make_profile, require_possible
from r4_mcp.config.profiles import PRIVATE_KEY, Profiles, named_profile
from r4_mcp.config.settings import home_of
from r4_mcp.config.system_keyring import SystemKeyring
from r4_mcp.core.keys import dump_private_key
from r4_mcp.core.served import Me
from r4_mcp.errors import (
    ConfigurationError,
    DeadlineExceededError,
    InvalidArgumentError,
    KeyMismatchError,
    NetworkError,
    R4Error,
    UnreachableError,
)
from r4_mcp.secret import KnownSecrets
from r4_mcp.vault.key_file import InlineKey

DEFAULT_NAME: Final = "default"
_ANOTHER: Final = (
    "Nothing was made. Import the key that is registered with --key FILE, or ask the operator of R4 for a new agent."
)


def init(wishes: Wishes, environment: Mapping[str, str], known: KnownSecrets, passphrases: Passphrases) -> int:
    """Make a profile.

    Args:
        wishes: The command line.
        environment: The process's environment.
        known: The secrets of this process.
        passphrases: What gives passphrases.

    Returns:
        0 if everything that was checked works, else 1; the profile is there in both cases.

    Raises:
        R4Error: No profile was made; or it was, and its key is not registered yet, as the next step then says.
    """
    outside = Outside(environment, known, passphrases)
    named = named_profile(environment, wishes.profile, known)
    name = DEFAULT_NAME if named is None else named.name
    _refuse_contradictions(wishes, environment)
    profiles = Profiles(home_of(environment, known))
    require_possible(profiles, name)
    keyring = _free_keyring(outside, profiles, name) if wishes.keyring else None
    new = gather(wishes, name, profiles, outside)
    if keyring is not None:
        _as_text(new)
    answer = anyio.run(_introduce, new, outside)
    if isinstance(answer, Me):
        new = replace(new, agent_id=new.agent_id or answer.agent_id)
    made = make_profile(profiles, new, known)
    _keep_passphrase(made, new, outside, keyring)
    say(_told(made, new, wishes, profiles), known, hanging=2)
    if isinstance(answer, NetworkError):
        raise _with_way_on(answer, name)
    return anyio.run(_register, new, outside)


def _refuse_contradictions(wishes: Wishes, environment: Mapping[str, str]) -> None:
    explicit = identities(environment)
    if explicit:
        raise ConfigurationError(
            f"{' and '.join(explicit)} in the environment would win over the profile that is to be made",
            next_step=f"Unset {' and '.join(explicit)} first. Files are imported with --config and --key.",
        )
    if wishes.keyring and not wishes.encrypt:
        raise InvalidArgumentError("--keyring keeps the passphrase of --encrypt", next_step="Add --encrypt.")


def _free_keyring(outside: Outside, profiles: Profiles, name: str) -> SystemKeyring:
    keyring = outside.passphrases.keyring or SystemKeyring()
    keyring.require_free(_holder(profiles, name))
    return keyring


def _holder(profiles: Profiles, name: str) -> str:
    return str((profiles.path(name) / PRIVATE_KEY).absolute())


def _as_text(new: NewProfile) -> str:
    try:
        # reveal: handed to the system's keyring alone.
        return "" if new.passphrase is None else new.passphrase.reveal().decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidArgumentError("a passphrase for the keyring is UTF-8 text", next_step="Choose another one.") from None


def _keep_passphrase(made: Made, new: NewProfile, outside: Outside, keyring: SystemKeyring | None) -> None:
    if new.passphrase is None:
        return
    holder = str((made.folder / PRIVATE_KEY).absolute())
    outside.passphrases.remember(holder, new.passphrase)
    if keyring is not None:
        try:
            keyring.keep(holder, _as_text(new))
        except ConfigurationError as error:
            error.next_step = f"The profile {new.name} is made. Store its passphrase yourself: `{keyring.command('set', holder)}`"
            raise


async def _introduce(new: NewProfile, outside: Outside) -> Me | NetworkError:
    """Ask the service who the API key is (rule 2). Changes nothing there; gives the error where there is no answer.

    Raises:
        R4Error: The service does not accept the key, or is none.
    """
    pem = outside.known.private_key_pem(dump_private_key(new.key.rsa, None))
    settings = replace(
        _settings(outside, None),
        base_url=new.base_url,
        api_key=new.api_key,
        access_key=access_key_of(new.api_key),
        key_source=InlineKey(pem, lambda: None),
        problems=(),
    )
    async with open_service(settings, outside.known) as service:
        if service.runtime is None:
            raise AssertionError  # unreachable: an API key and no problem
        try:
            me = await service.runtime.registration.me()
        except (UnreachableError, DeadlineExceededError) as error:
            return error
    mine = new.key.public.fingerprint
    if me.active_fingerprint not in {None, mine}:
        raise KeyMismatchError(
            f"this agent is registered with key {(me.active_fingerprint or '')[:12]}…, not with ours, {mine[:12]}…",
            next_step=_ANOTHER,
        )
    return me


async def _register(new: NewProfile, outside: Outside) -> int:
    settings = _settings(outside, new.name)
    try:
        async with open_service(settings, outside.known) as service:
            if service.runtime is None:
                raise service.missing[0]
            await service.runtime.registration.ensure()
    except R4Error as error:
        raise _with_way_on(error, new.name) from None
    healthy = await say_findings(doctor(settings, outside.known, local=False), outside.known)
    agent = "this agent" if new.agent_id is None else f"agent {new.agent_id}"
    say(
        [
            "",
            f"Next: ask the operator of R4 to give {agent} access to vaults, now that its key is registered.",
            "      Access that was given before does not count; it has to be given again.",
        ],
        outside.known,
        hanging=6,
    )
    return 0 if healthy else 1


def _settings(outside: Outside, name: str | None) -> Settings:
    return read_settings(outside.environment, outside.known, profile=name, local=name is None, passphrases=outside.passphrases)


def _with_way_on(error: R4Error, name: str) -> R4Error:
    error.next_step = (
        f"The profile is kept. Run `r4-mcp doctor --profile {name}` later: it says what is missing. "
        "The first command or tool that needs a vault registers the key."
    )
    return error


def _told(made: Made, new: NewProfile, wishes: Wishes, profiles: Profiles) -> list[str]:
    lines = [
        f"Profile {new.name} is made: {made.folder}",
        f"  service {new.base_url}",
        f"  private key RSA {new.key.rsa.key_size} bits, fingerprint {new.key.public.fingerprint}",
    ]
    if made.default_profile == new.name:
        lines.append("  It is the default: r4-mcp serve")
    else:
        default = "none" if made.default_profile is None else made.default_profile
        lines += [
            f"  Serve it: r4-mcp serve --profile {new.name} (or R4_PROFILE={new.name})",
            f"  The default stays {default}; defaultProfile in {profiles.config_path} names it.",
        ]
    if new.passphrase is not None:
        how = "R4_KEY_PASSPHRASE_KEYRING=1" if wishes.keyring else "R4_KEY_PASSPHRASE_FD=N"
        lines.append(f"  The key is encrypted: `serve` takes the passphrase through {how}; other commands also ask.")
    if wishes.config is not None:
        lines.append(f"  Delete {wishes.config} now: its API secret and private key are in the profile.")
    if wishes.key is not None:
        lines.append(f"  {wishes.key} was copied; delete it if nothing else needs it.")
    return [*lines, ""]
