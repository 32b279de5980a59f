"""What the demo's vaults hold: names as in real life, values random and of no provider's shape.

What this file does not do: store. Values are made anew by each call, so no two seeds share a secret.
"""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from r4_mcp.core.wire import Classification, FieldType, ItemType
from r4_mcp.emulator.drafts import FieldDraft, ItemDraft
from r4_mcp.machine.contract import Level
from r4_mcp.secret import KnownSecrets, SecretKind


@dataclass(frozen=True, slots=True)
class VaultDraft:
    """A vault of the demo, and what its agent gets on it."""

    name: str
    classification: Classification | None
    level: Level
    in_project: bool
    items: Sequence[ItemDraft]


PRODUCTION: Final = "Production"
ENGINEERING: Final = "Engineering"
PUBLIC_SITE: Final = "Public Site"
SANDBOX: Final = "Personal Sandbox"


class _Values:
    """Makes fields; secret ones get a fresh random value."""

    def __init__(self, known: KnownSecrets) -> None:
        self._known = known

    def plain(self, name: str, value: str, kind: FieldType = FieldType.TEXT) -> FieldDraft:
        return FieldDraft(name, kind, self._known.text(value, SecretKind.FIELD, armed=False))

    def random(self, name: str, kind: FieldType = FieldType.SECRET, *, form: str = "{}") -> FieldDraft:
        return FieldDraft(name, kind, self._known.text(form.format("demo-" + secrets.token_urlsafe(18)), SecretKind.FIELD))

    def totp(self, name: str) -> FieldDraft:
        seed = base64.b32encode(os.urandom(20)).decode("ascii")
        return FieldDraft(name, FieldType.TOTP, self._known.text(seed, SecretKind.FIELD))

    def lines(self, name: str) -> FieldDraft:
        text = "\n".join("demo-" + secrets.token_urlsafe(36) for _ in range(6)) + "\n"
        return FieldDraft(name, FieldType.SECRET, self._known.text(text, SecretKind.FIELD))

    @staticmethod
    def file(name: str) -> FieldDraft:
        return FieldDraft(name, FieldType.FILE, None)


def demo_vaults(known: KnownSecrets) -> tuple[VaultDraft, ...]:
    """Return the demo's vaults with fresh values."""
    make = _Values(known)
    return (
        VaultDraft(PRODUCTION, Classification.CONFIDENTIAL, Level.READ, in_project=False, items=_production(make)),
        VaultDraft(ENGINEERING, Classification.INTERNAL, Level.WRITE, in_project=True, items=_engineering(make)),
        VaultDraft(PUBLIC_SITE, Classification.PUBLIC, Level.READ, in_project=True, items=_public_site(make)),
        VaultDraft(SANDBOX, None, Level.ADMIN, in_project=False, items=_sandbox(make)),
    )


def _production(make: _Values) -> list[ItemDraft]:
    return [
        ItemDraft(
            "GitHub Production",
            ItemType.API_KEY,
            ["https://api.github.com"],
            [make.random("Token"), make.plain("Organization", "example-org")],
        ),
        ItemDraft(
            "Stripe",
            ItemType.API_KEY,
            ["https://api.stripe.com"],
            [make.random("Secret Key"), make.random("Webhook Secret"), make.plain("Account", "Example GmbH")],
        ),
        ItemDraft(
            "Production DB",
            ItemType.DATABASE,
            [],
            [
                make.plain("Host", "db.example.com"),
                make.plain("Port", "5432", FieldType.NUMBER),
                make.plain("Username", "app"),
                make.random("Password", FieldType.PASSWORD),
            ],
        ),
        ItemDraft(
            "AWS Credentials",
            ItemType.API_KEY,
            ["https://console.aws.amazon.com"],
            [make.random("Access Key"), make.random("Secret Key"), make.plain("Region", "eu-central-1")],
        ),
        ItemDraft(
            "Deploy Key",
            ItemType.SSH_KEY,
            [],
            [make.lines("Private Key"), make.plain("Comment", "deploy@example.com"), make.file("Key File")],
        ),
        ItemDraft(
            "Bastion",
            ItemType.SERVER,
            [],
            [
                make.plain("Address", "ssh://bastion.example.com:22", FieldType.URL),
                make.plain("Username", "ops"),
                make.random("Password", FieldType.PASSWORD),
            ],
        ),
    ]


def _engineering(make: _Values) -> list[ItemDraft]:
    return [
        ItemDraft(
            "GitHub",
            ItemType.LOGIN,
            ["https://github.com"],
            [
                make.plain("Username", "example-bot"),
                make.random("Password", FieldType.PASSWORD),
                make.totp("One-Time Code"),
                make.plain("Login URL", "https://github.com/login", FieldType.URL),
            ],
        ),
        ItemDraft(
            "my-redis-cache",
            ItemType.DATABASE,
            [],
            [make.random("connection_string", form="redis://default:{}@cache.example.com:6379/0")],
        ),
        ItemDraft(
            "Staging DB",
            ItemType.DATABASE,
            [],
            [make.plain("Username", "staging"), make.random("Password", FieldType.PASSWORD)],
        ),
        ItemDraft("Sentry", ItemType.API_KEY, ["https://sentry.io"], [make.random("Auth Token")]),
        ItemDraft(
            "Incident Runbook",
            ItemType.SECURE_NOTE,
            [],
            [make.plain("Note", "Page the on-call engineer, then open a bridge."), make.random("Break-Glass Code")],
        ),
    ]


def _public_site(make: _Values) -> list[ItemDraft]:
    return [
        ItemDraft(
            "Analytics",
            ItemType.CUSTOM,
            ["https://www.example.com"],
            [
                make.plain("Site Id", "4711", FieldType.NUMBER),
                make.plain("Script", "https://www.example.com/a.js", FieldType.URL),
            ],
        ),
        ItemDraft("CDN", ItemType.API_KEY, ["https://cdn.example.com"], [make.random("Purge Token")]),
    ]


def _sandbox(make: _Values) -> list[ItemDraft]:
    return [
        ItemDraft(
            "Company Card",
            ItemType.CREDIT_CARD,
            [],
            [make.plain("Cardholder", "Alex Example"), make.random("Number"), make.random("Security Code")],
        ),
        ItemDraft("Scratch Notes", ItemType.SECURE_NOTE, [], [make.random("Note")]),
        ItemDraft("Playground", ItemType.CUSTOM, ["https://example.com"], [make.random("Key"), make.plain("Owner", "Alex")]),
    ]
