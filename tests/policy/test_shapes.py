"""Shapes of secrets: tokens and keys are recognised, names, links, ids and prose are not.

The shapes are made when the test runs, from parts and seeded random characters: nothing in this file is a token, and no scanner
of the repository should have to be told so.
"""

from __future__ import annotations

import base64
import json
import random
import string
import subprocess
import sys
from collections.abc import Callable
from typing import Final

import pytest

from r4_mcp.policy.shapes import has_secret_shape
from r4_mcp.server.explain import NEXT_STEPS
from r4_mcp.tools import ALL_TOOLS

LETTERS: Final = string.ascii_letters
DIGITS: Final = string.digits
MIXED: Final = LETTERS + DIGITS
SMALL: Final = string.ascii_lowercase + DIGITS
HEX: Final = "0123456789abcdef"
LIMIT: Final = 8_000


def some(length: int, alphabet: str = MIXED, seed: int = 1) -> str:
    """Return random characters, the same in each run."""
    return "".join(random.Random(seed).choices(alphabet, k=length))  # noqa: S311 - a test text, repeatable


def octets(count: int) -> bytes:
    """Return random bytes, the same in each run."""
    return random.Random(2).randbytes(count)  # noqa: S311 - a test text, repeatable


def part(claims: dict[str, object]) -> str:
    """Return a part of a JWT."""
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")


def header(label: str) -> str:
    """Return the first line of a PEM."""
    return f"-----BEGIN {label}-----"


SHAPES: Final[dict[str, Callable[[], str]]] = {
    "AWS access key": lambda: "AK" + "IA" + some(16, string.ascii_uppercase + DIGITS),
    "AWS temporary key": lambda: "AS" + "IA" + some(16, string.ascii_uppercase + DIGITS),
    "AWS secret key": lambda: base64.b64encode(octets(30)).decode(),
    "GitHub token": lambda: "gh" + "p_" + some(36),
    "GitHub app token": lambda: "gh" + "s_" + some(36),
    "GitHub fine-grained token": lambda: "github" + "_pat_" + some(22) + "_" + some(59),
    "GitLab token": lambda: "gl" + "pat-" + some(20),
    "Slack token": lambda: "-".join(["xo" + "xb", some(12, DIGITS), some(12, DIGITS), some(24)]),
    "Slack webhook": lambda: "https://hooks." + "slack.com/services/" + "/".join(["T" + some(8), "B" + some(8), some(24)]),
    "Stripe live key": lambda: "sk" + "_live_" + some(24),
    "Stripe restricted key": lambda: "rk" + "_live_" + some(24),
    "Stripe test key": lambda: "sk" + "_test_" + some(24),
    "SendGrid key": lambda: ".".join(["SG", some(22), some(43)]),
    "Twilio key": lambda: "SK" + some(32, SMALL),
    "Mailchimp key": lambda: some(32, HEX) + "-us12",
    "Square secret": lambda: "sq0" + "csp-" + some(43),
    "PyPI token": lambda: "pypi-" + "AgEIcHlwaS5vcmc" + some(80),
    "npm token": lambda: "npm" + "_" + some(36),
    "npm login line": lambda: (
        "//registry.example/:_auth" + "Token=" + "-".join([some(8, HEX), *[some(4, HEX)] * 3, some(12, HEX)])
    ),
    "OpenAI key": lambda: "sk-" + some(20) + "T3Blbk" + "FJ" + some(20),
    "key of a language model": lambda: "sk-" + "ant-api03-" + base64.urlsafe_b64encode(octets(70)).decode().rstrip("="),
    "Google key": lambda: "AI" + "za" + some(35),
    "Telegram bot token": lambda: some(9, DIGITS[1:]) + ":" + some(35),
    "Discord bot token": lambda: ".".join(["M" + some(23), some(6), some(27)]),
    "Azure storage key": lambda: "Account" + "Key=" + base64.b64encode(octets(64)).decode(),
    "IBM storage key": lambda: "cos_hmac_secret_access_key: " + some(48, HEX),
    "SoftLayer key": lambda: "softlayer_api_key = " + some(64, SMALL),
    "Hugging Face token": lambda: "hf" + "_" + some(34),
    "JSON Web Token": lambda: ".".join([part({"alg": "HS256"}), part({"sub": "keeper"}), some(43)]),
    "PKCS#8 key": lambda: header("PRIVATE" + " KEY"),
    "RSA key": lambda: header("RSA PRIVATE" + " KEY"),
    "elliptic key": lambda: header("EC PRIVATE" + " KEY"),
    "OpenSSH key": lambda: header("OPENSSH PRIVATE" + " KEY"),
    "encrypted key": lambda: header("ENCRYPTED PRIVATE" + " KEY"),
    "PGP key": lambda: header("PGP PRIVATE" + " KEY BLOCK"),
    "PuTTY key": lambda: "PuTTY-User" + "-Key-File-2: ssh-rsa",
    "a line of a PEM body": lambda: base64.b64encode(octets(48)).decode(),
    "URL with a password": lambda: "postgres://app:" + some(9) + "@db.internal:5432/main",
    "R4 API key": lambda: "rk" + "_" + some(12, SMALL) + "." + some(32),
    "R4 API key of words": lambda: "rk" + "_harbour" + ".lighthouse",
    "32 bytes in base64": lambda: base64.b64encode(octets(32)).decode(),
    "32 bytes in base64url": lambda: base64.urlsafe_b64encode(octets(32)).decode().rstrip("="),
    "16 bytes in base64, with separators": lambda: f"{some(7)}+{some(7, seed=5)}/{some(6, seed=6)}==",
    "base64 with a separator in each half": lambda: f"{some(15)}/{some(15, seed=5)}+{some(12, seed=6)}",
    "40 letters and digits": lambda: some(40),
    "40 small letters and digits": lambda: some(40, SMALL),
    "TOTP seed of 20 bytes": lambda: base64.b32encode(octets(20)).decode(),
}


@pytest.mark.parametrize("what", SHAPES)
def test_a_shape_is_recognised_alone_and_inside(what: str) -> None:
    """In a name, a sentence, a quoted line, on its own line, at the end of the longest report."""
    shape = SHAPES[what]()
    assert has_secret_shape(shape)
    for around in ("{} (old)", "I used {} and it failed", 'key="{}"', "first line\n{}\nlast line", "see `{}`,"):
        assert has_secret_shape(around.format(shape)), around
    prose = "words and words " * (LIMIT // 16)
    assert has_secret_shape(f"{prose[: LIMIT - len(shape) - 1]} {shape}")


def test_no_place_in_a_long_line_is_overlooked() -> None:
    """Long lines are looked at in windows; a token across their borders is seen."""
    token = SHAPES["GitHub token"]()
    for start in range(400, 1700, 7):
        assert has_secret_shape("x " * (start // 2) + token + " y" * 900)


INNOCENT: Final = (
    # Names and labels.
    "Stripe live key",
    "AWS root account",
    "GitHub token (CI)",
    "Production database password",
    "OPENAI_API_KEY",
    "PRODUCTION_DB_PASSWORD_2024",
    "GITHUB_PRODUCTION_TOKEN",
    "sk_live key of the shop",
    "Wi-Fi guest password, 2nd floor",
    "root@bastion-01.eu-west-1",
    "PostgreSQL16-Primary-ReadWriteEndpoint",
    "APACHESERVER01",
    "VPN (WireGuard) — büro köln",
    "密码 — 生产环境",
    "🔑 main key",
    "JWT signing key v2",
    "SSH key: deploy@build-agent-07",
    "my-very-long-vault-name-for-the-production-environment-2024",
    "OAuth2 client secret for the staging tenant",
    "TerraformCloudWorkspaceAutomationTokenProductionEurope",
    "com.example.platform.identity.OAuth2AuthorizationServerConfiguration",
    # Websites.
    "https://github.com/login",
    "https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
    "https://console.aws.amazon.com/iam/home?region=eu-central-1#/users/keeper?section=security_credentials",
    "https://github.com/example/platform/blob/main/src/Components/Auth2/LoginForm.tsx#L120-L145",
    "https://gitlab.example.com:8443/group/sub-group/project/-/settings/ci_cd",
    "https://dashboard.stripe.com/test/apikeys",
    "https://example.atlassian.net/browse/OPS-1234",
    "https://user.example.com/@keeper:harbour",
    "http://localhost:8080/actuator/health",
    "postgres://db.internal:5432/main",
    "redis://default:{password}@cache.internal:6379/0",
    "https://<user>:<password>@registry.example/simple/",
    "ssh://git@git.example.com:2222/ops/vault.git",
    # Ids and digests.
    "550e8400-e29b-41d4-a716-446655440000",
    "user-550e8400-e29b-41d4-a716-446655440000",
    "65f0c0ffee65f0c0ffee65f0",
    "item 65f0c0ffee65f0c0ffee65f0 in vault 0123456789abcdef01234567",
    "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "cpan/ExtUtils-PL2Bat/lib/ExtUtils/PL2Bat",
    "BSD-3-clause-Aaron-D-Gifford",
    "xX0xX0xX0xX0xX0xX0xX0xX0",
    "commit 3f786850e387550fdab836ed7e6dc881de23001b broke it",
    "fixed in 3f78685 and 89e6c98",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "fingerprint 9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08",
    "arn:aws:iam::123456789012:role/DeployRole2024",
    "i-0abcd1234ef567890",
    "error id a1b2c3d4e5f6",
    "DE89370400440532013000",
    "4111 1111 1111 1111",
    "nginx-deployment-7f9c8d6b5-x2x4q",
    "2026-11-23T14:05:09.123456Z",
    # References.
    "r4://Production/Stripe/Live%20Key",
    "r4://65f0c0ffee65f0c0ffee65f0/0123456789abcdef01234567/89abcdef0123456789abcdef",
    "r4://B%C3%BCro%20K%C3%B6ln/Router/Admin%20password",
    "I read r4://Production/GitHub/Token; it was expired.",
    # Reasons and reports.
    "Deploy to production needs the database password.",
    "The password: it has to be rotated every 90 days, but there is no tool for that.",
    "read_secret said not_readable for a FILE field; I expected the attachment's name.",
    "list_items returned 200 items and next_cursor, but the second page was empty.",
    'create_item refused {"name": "token", "type": "SECRET", "generate": {"length": 64, "alphabet": "hex"}}.',
    "There is no way to rotate an API key: I had to create a new item and archive the old one.",
    "Please support passkeys (WebAuthn/FIDO2) and certificates (X.509, PKCS#12).",
    "-----BEGIN CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----",
    'Traceback (most recent call last): File "/usr/lib/python3.11/asyncio/base_events.py", line 654, in run_until_complete',
    "pip install r4-mcp==0.1.0 && r4-mcp serve --local",
    "PyPI mcp-2.3.0-py3-none-any.whl, ahocorasick_rs-1.0.3-cp311-cp311-manylinux_2_17_x86_64.whl",
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "e-mail keeper+vault@lighthouse.example, phone +49 30 901820, room 4.2.117",
    "use ${DB_PASSWORD} or <your token here> instead of the value",
    "self.network_address.is_multicast and self.network_address.is_reserved",
    "============================================================",
    "--------------------------------",
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore magna aliqua.",
    "Der Schlüssel für den Leuchtturm liegt im Tresor „Produktion“, Eintrag „Strandweg 7“.",
    "パスワードの更新方法がわかりません。",
)


@pytest.mark.parametrize("text", INNOCENT)
def test_an_innocent_text_passes(text: str) -> None:
    """A screen that stops ordinary names is one that gets switched off."""
    assert not has_secret_shape(text)
    assert not has_secret_shape(f"{text}\n{text}")


def test_the_innocent_in_one_report_pass_too() -> None:
    """What is innocent line by line is so as one text, and as one line."""
    assert len(INNOCENT) >= 60
    assert not has_secret_shape("\n".join(INNOCENT))
    assert not has_secret_shape("; ".join(INNOCENT))


def test_our_own_texts_pass() -> None:
    """What we tell a model, it may quote in a report."""
    texts = [*NEXT_STEPS.values(), *(tool.description for tool in ALL_TOOLS)]
    assert len(texts) > 40
    for text in texts:
        assert not has_secret_shape(text), text


UNSEEN: Final = {
    "a made-up password": "Lighthouse2024!",
    "a passphrase": "correct horse battery staple",
    "a key in hexadecimal": some(64, HEX),
    "an assignment": 'password = "hunter2hunter2"',
    "fifteen random characters": some(15),
}


@pytest.mark.parametrize("what", UNSEEN)
def test_what_no_shape_can_tell_passes(what: str) -> None:
    """The limits, written down: such a value is only found when it is known."""
    assert not has_secret_shape(UNSEEN[what])


ODD: Final = {
    "empty": "",
    "empty lines": "\n\n",
    "endless": "x" * 20_000,
    "not encodable": "\ud800" * 2000,
    "NUL": "\0",
    "odd line ends": "a\u2028b\x85c",
}


@pytest.mark.parametrize("what", ODD)
def test_odd_texts_are_looked_at_without_a_stumble(what: str) -> None:
    """And a token behind them is seen."""
    text = ODD[what]
    assert not has_secret_shape(text)
    assert has_secret_shape(f"{text} {SHAPES['GitHub token']()}")


def test_a_look_touches_neither_network_nor_files() -> None:
    """A hook that ends the process at any open, connect or import stays silent once the first look has imported its library."""
    script = (
        "import json, os, sys\n"
        "texts = json.load(sys.stdin)\n"
        "from r4_mcp.policy import egress, screen\n"
        "from r4_mcp.policy.shapes import has_secret_shape\n"
        "assert not {'detect_secrets', 'requests', 'yaml'} & set(sys.modules)\n"
        "assert has_secret_shape(texts[0]) and has_secret_shape(texts[-1])\n"
        "watched = ('open', 'socket.', 'os.', 'subprocess.', 'import')\n"
        "sys.addaudithook(lambda event, _: os._exit(3) if event.startswith(watched) else None)\n"
        "found = [has_secret_shape(text) for text in texts]\n"
        "os._exit(0 if all(found) else 4)\n"
    )
    texts = json.dumps([make() for make in SHAPES.values()])
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], input=texts, capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
