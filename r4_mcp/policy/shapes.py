"""Shapes of secrets: whether a text looks as if it held one, whoever's it is.

What this file does not do: know any value (that is ``egress``), ask a service whether a token works, read a file, or say what it
found. It can't see a password that a person made up.

Rules:
1. Token formats are a library's work (detect-secrets). Only its expressions are used: never ``analyze_line``, which may ask the
   provider whether a token works, and none of its settings.
2. A text is looked at line by line, and a long line in overlapping windows: several of those expressions take time that grows
   with the square of what they are given.
3. A run of random characters counts from ``MIN_MIXED`` on, when upper case, lower case and digits mix; with digits and one case
   only, from ``MIN_NARROW`` on. Hexadecimal never counts: a key of that form can't be told from a commit, a digest or an R4 id.
   Nor do words, paths and identifiers, however long: their characters change their kind too seldom.
4. The library is imported at the first look: its import costs thousands of looks (it brings an HTTP client, which is not used).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from detect_secrets.plugins.base import RegexBasedDetector

MIN_MIXED: Final = 20
MIN_NARROW: Final = 32
"""Characters from which a run can count (rule 3): three kinds of characters, two kinds."""

_DETECTORS: Final = {
    "aws": "AWSKeyDetector",
    "azure_storage_key": "AzureStorageKeyDetector",
    "basic_auth": "BasicAuthDetector",
    "cloudant": "CloudantDetector",
    "discord": "DiscordBotTokenDetector",
    "github_token": "GitHubTokenDetector",
    "gitlab_token": "GitLabTokenDetector",
    "ibm_cos_hmac": "IbmCosHmacDetector",
    "jwt": "JwtTokenDetector",
    "mailchimp": "MailchimpDetector",
    "npm": "NpmDetector",
    "openai": "OpenAIDetector",
    "private_key": "PrivateKeyDetector",
    "pypi_token": "PypiTokenDetector",
    "sendgrid": "SendGridDetector",
    "slack": "SlackDetector",
    "softlayer": "SoftlayerDetector",
    "square_oauth": "SquareOAuthDetector",
    "stripe": "StripeDetector",
    "telegram_token": "TelegramBotTokenDetector",
    "twilio": "TwilioKeyDetector",
}
"""Module → class of the detectors that are used. Left out on purpose:

- ``ArtifactoryDetector``: takes one-word names in capitals, such as APACHESERVER01, for passwords.
- ``HexHighEntropyString``: rule 3.
- ``IbmCloudIamDetector``: takes any word of 44 characters behind "key" or "token"; rule 3 sees the real ones.
- ``IPPublicDetector``: an address is no secret, and a version number is no address.
- ``KeywordDetector``: prose about passwords is what a gap report is made of; one line of 8,000 characters kept it busy for 12 s.

``Base64HighEntropyString`` is used for its measure alone: by itself it looks between quotes only."""

_R4_API_KEY: Final = re.compile(r"(?<![A-Za-z0-9])rk_[A-Za-z0-9]{6,}\.[A-Za-z0-9_\-]{8,}")
_PRIVATE_KEY: Final = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
"""Of our own: R4's API key, which no library knows, and every label of RFC 7468 and OpenSSH that names a private key."""

_WINDOW: Final = 1024
_OVERLAP: Final = 512
"""Characters (rule 2). No format that is looked for needs more than the overlap to be recognised."""

_RUN: Final = re.compile(rf"[A-Za-z0-9+/=_-]{{{MIN_MIXED},}}")
_SEPARATOR: Final = re.compile("[+/=_-]+")
_HEX: Final = re.compile("[0-9a-f]*|[0-9A-F]*")
_RUN_PER_SEPARATOR: Final = 10
"""Random base64 has a separator (two of 64 characters) in 32 characters; words and paths have one in six. Where they are rarer
than one in this many, the run is looked at as if they were not there."""

_DIGIT: Final = 2
"""A third kind of character, beside lower and upper case."""

_MIN_ENTROPY: Final = 3.8
"""Bits per character (Shannon). Twenty random characters have 4.1 on average; twenty letters of English have 3.6."""

_MIN_CHANGES: Final = {3: 0.4, 2: 0.2}
"""Kinds of characters → least share of neighbours of different kinds. Random base62 has 0.62 on average, base36 0.40, base32
0.30; CamelCase names with digits have up to 0.4, words with a number behind them under 0.1.

Measured over 50,000 runs of documentation and source code: five that are no keys are taken for one. Of random keys are seen: 99 %
of 32 bytes in base64, 88 % of 20 characters, 97 % of 32 in small letters and digits, 80 % of 32 in base32."""


def has_secret_shape(text: str) -> bool:
    """Say whether a text holds something of the form of a secret: a provider's token, a private key, a JWT, a random key.

    Args:
        text: What the model wrote; of any length.
    """
    return any(_is_token(window) or any(map(_is_random, _RUN.findall(window))) for window in _windows(text))


def _windows(text: str) -> Iterator[str]:
    for line in text.splitlines():
        for start in range(0, max(1, len(line) - _OVERLAP), _WINDOW - _OVERLAP):
            yield line[start : start + _WINDOW]


def _is_token(window: str) -> bool:
    if _PRIVATE_KEY.search(window) or _R4_API_KEY.search(window):
        return True
    from detect_secrets.filters.heuristic import is_templated_secret  # noqa: PLC0415 - rule 4

    # {password} and <password> stand for one.
    return any(not is_templated_secret(found) for detector in _detectors() for found in detector.analyze_string(window))


def _is_random(run: str) -> bool:
    run = run.rstrip("=")
    parts = [part for part in _SEPARATOR.split(run) if not _HEX.fullmatch(part)]
    if any(_is_random_part(part, {3: MIN_MIXED, 2: MIN_NARROW}) for part in parts):
        return True
    # A narrow alphabet has no separators, so that what has them is a base64 or made of words.
    rare = len(_SEPARATOR.findall(run)) * _RUN_PER_SEPARATOR <= len(run)
    return rare and _is_random_part("".join(parts), {3: MIN_MIXED})


def _is_random_part(part: str, least: Mapping[int, int]) -> bool:
    kinds = [_DIGIT if character.isdigit() else character.isupper() for character in part]
    variety = len(set(kinds))
    if _DIGIT not in kinds or len(part) < least.get(variety, len(part) + 1):
        return False
    changes = sum(one != other for one, other in pairwise(kinds)) / len(part)
    return changes >= _MIN_CHANGES[variety] and _entropy(part) >= _MIN_ENTROPY


def _entropy(part: str) -> float:
    from detect_secrets.plugins.high_entropy_strings import Base64HighEntropyString  # noqa: PLC0415 - rule 4

    return Base64HighEntropyString().calculate_shannon_entropy(part)


@lru_cache(maxsize=1)
def _detectors() -> tuple[RegexBasedDetector, ...]:
    return tuple(getattr(import_module(f"detect_secrets.plugins.{module}"), name)() for module, name in _DETECTORS.items())
