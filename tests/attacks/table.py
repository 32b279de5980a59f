"""Which lie is refused how: one row per fault.

What this file does not do: play. A row says the exact code, the calls that meet the lie, and the last request that may be made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from r4_mcp.emulator.faults_checkpoints import SPELLINGS

from .stage import ITEM, VAULT, Reach, Stage


@dataclass(frozen=True)
class Probe:
    """One tool call.

    Attributes:
        tool: The tool.
        arguments: Its arguments on a stage.
        at_once: How far its requests go before the first answer is looked at.
    """

    tool: str
    arguments: Callable[[Stage], dict[str, object]]
    at_once: Reach = Reach.ACCOUNT


LIST: Final = Probe("list_items", lambda _: {"vault": VAULT})
LIST_BY_ID: Final = Probe("list_items", lambda stage: {"vault": stage.vault_id})
DESCRIBE: Final = Probe("describe_item", lambda _: {"reference": f"r4://{VAULT}/{ITEM}"})
READ: Final = Probe("read_secret", lambda stage: {"reference": stage.by_name})
# By ids, the vault and the field are asked for at once; nothing is asked that depends on an answer.
READ_BY_ID: Final = Probe("read_secret", lambda stage: {"reference": stage.by_id}, Reach.ITEM)
READ_BY_KEY: Final = Probe("read_secret", lambda _: {"reference": "CANARY_PASSWORD"})
ARCHIVE: Final = Probe("archive_item", lambda _: {"reference": f"r4://{VAULT}/{ITEM}"})
NEW_VAULT: Final = Probe("create_vault", lambda _: {"name": "Mine"})
VAULTS: Final = Probe("list_vaults", lambda _: {})
CREATE: Final = Probe(
    "create_item",
    lambda stage: {
        "vault": VAULT,
        "name": "New",
        "type": "LOGIN",
        "fields": [{"name": "Password", "type": "PASSWORD", "value": stage.posted}],
    },
)


@dataclass(frozen=True)
class Row:
    """How a lie is refused.

    Attributes:
        code: The stable error code, exactly.
        probes: The calls that meet the lie.
        reach: The last request that may be made.
        times: How often one request may be made in one call.
        once_per_home: Whether it is asked once and remembered on disk, so that the lie takes a home that forgot the answer.
        moves: Whether a signer who works with the service validly signs something newer, which is remembered as that.
    """

    code: str
    probes: tuple[Probe, ...]
    reach: Reach
    times: int = 2
    once_per_home: bool = False
    moves: bool = False


def of_vault(code: str, *probes: Probe) -> Row:
    """Return the row of a lie in a vault's directory or listing: no item, no key, no write is asked for."""
    return Row(code, probes or (LIST, READ, READ_BY_ID, CREATE), Reach.VAULT)


def of_item(code: str, *probes: Probe) -> Row:
    """Return the row of a lie in an item or field: no key is asked for."""
    return Row(code, probes or (DESCRIBE, READ, READ_BY_ID), Reach.ITEM)


def of_key(code: str, *probes: Probe, times: int = 2, moves: bool = False) -> Row:
    """Return the row of a lie in a wrapped key, or of a ciphertext that does not open: nothing is written."""
    return Row(code, probes or (READ, READ_BY_ID, CREATE), Reach.KEY, times, moves=moves)


EVERY_WAY: Final = (LIST, LIST_BY_ID, DESCRIBE, READ, READ_BY_ID, READ_BY_KEY, CREATE, ARCHIVE)
DIFFERS: Final = "served_differs_from_signed"
MALFORMED: Final = "malformed_response"
SIGNATURE: Final = "signature_invalid"
SIGNER: Final = "signer_not_trusted"
LOG: Final = "transparency_failed"
# A key that disagrees with the summary is asked for twice, then the summary again, then the key twice (reader rule 2).
_STRADDLING: Final = 4

_CONTENTS: Final[dict[str, Row]] = {
    **{
        f"ciphertext-{name}": of_key("envelope_invalid", READ, READ_BY_ID)
        for name in ("of-another-field", "of-another-item", "of-another-vault", "truncated")
    },
    **{
        f"envelope-{name}": of_key("envelope_invalid", READ, READ_BY_ID)
        for name in ("version-2", "respelled", "with-unknown-member")
    },
    **{f"field-{name}": of_item(DIFFERS) for name in ("renamed", "retyped", "in-an-unsigned-instance")},
    **{f"field-{name}": of_item(DIFFERS, DESCRIBE, READ) for name in ("hidden", "added", "duplicated")},
    "field-swapped": of_item(DIFFERS, READ_BY_ID),
    **{f"item-{name}": of_vault(DIFFERS) for name in ("hidden", "added", "duplicated")},
    **{f"item-{name}-in-listing": of_vault(DIFFERS) for name in ("renamed", "retyped", "websites-changed", "regrouped")},
    "item-renamed-on-get": of_item(DIFFERS),
    "item-retyped-on-get": of_item(DIFFERS, DESCRIBE, READ),
    "item-websites-changed-on-get": of_item(DIFFERS, DESCRIBE, READ),
    "item-swapped": of_item(DIFFERS, DESCRIBE, READ),
    "item-denied-on-get": of_item("not_found"),
    "vault-swapped": of_vault(DIFFERS),
    "vault-renamed-in-listing": of_vault(DIFFERS),
    "classification-changed-in-listing": of_vault(DIFFERS),
    "dek-version-changed-in-listing": of_vault(DIFFERS),
    "item-count-lied": of_vault(MALFORMED),
    # A read by id does not look at the list; a search by key looks at no vault's name.
    "vault-listed-under-another-name": Row(DIFFERS, (LIST, DESCRIBE, READ, CREATE, ARCHIVE), Reach.ITEM),
}

_CHECKPOINTS: Final[dict[str, Row]] = {
    "summary-replayed": of_vault("rollback", *EVERY_WAY),
    "detail-replayed": of_item("rollback"),
    "everything-replayed": of_vault("rollback"),
    "summary-forked": of_vault("equivocation"),
    "detail-forked": of_item("equivocation"),
    "new-detail-under-old-summary": of_item(DIFFERS),
    "new-summary-with-old-detail": of_item(DIFFERS),
    "summary-of-another-vault": of_vault(DIFFERS),
    "detail-of-another-item": of_item(DIFFERS),
    "checkpoints-stripped": of_vault("checkpoint_missing"),
    "summary-stripped": of_vault("checkpoint_missing", *EVERY_WAY),
    "summary-nulled": of_vault("checkpoint_missing"),
    "detail-stripped": of_item("checkpoint_missing"),
    "detail-stripped-of-one-item": of_item("checkpoint_missing"),
    "conflict-that-never-advances": Row("busy", (CREATE, ARCHIVE), Reach.WRITE, 16),
    "conflict-that-always-advances": Row("busy", (CREATE, ARCHIVE), Reach.WRITE, 16, moves=True),
    **{f"summary-version-{name}": of_vault(MALFORMED, LIST, READ_BY_ID) for name in SPELLINGS},
    **{f"detail-version-{name}": of_item(MALFORMED, READ, READ_BY_ID) for name in SPELLINGS if name != "null"},
    "detail-version-null": of_item(MALFORMED, READ, READ_BY_ID),
    **{f"key-version-{name}": of_key(MALFORMED, READ_BY_ID, CREATE) for name in SPELLINGS},
}

_SIGNATURES: Final[dict[str, Row]] = {
    **{
        name: of_vault(SIGNATURE, LIST, READ_BY_ID)
        for name in (
            "signature-flipped",
            "signature-empty",
            "signature-respelled",
            "summary-altered",
            "summary-signed-by-attacker",
            "detail-signature-as-summary",
            "wrapped-key-signature-as-summary",
            "signature-without-context",
            "signature-salt-none",
            "signature-salt-20",
            "signature-salt-max",
            "signature-mgf-sha1",
            "signature-sha512",
            "signature-pkcs1",
        )
    },
    **{
        name: of_vault(MALFORMED, LIST, READ_BY_ID)
        for name in (
            "envelope-member-missing",
            "envelope-member-unknown",
            "envelope-names-two-signers",
            "envelope-names-no-signer",
            "checkpoint-member-missing",
            "checkpoint-member-unknown",
        )
    },
    "envelope-names-another-kind": of_vault(SIGNER),
    "detail-signed-by-attacker": of_item(SIGNATURE),
    "summary-signature-as-detail": of_item(SIGNATURE),
}

_SIGNERS: Final[dict[str, Row]] = {
    "signer-key-substituted": of_vault(DIFFERS),
    "signer-key-substituted-in-place": of_vault(LOG),
    "attacker-signer-added": of_vault(SIGNER, *EVERY_WAY),
    "attacker-signer-added-for-details": of_item(SIGNER),
    "attacker-signer-unlisted": of_vault(SIGNER),
    # Each sync asks for a directory that has grown alone.
    "signer-of-an-invented-vault": Row(SIGNER, (LIST, READ, READ_BY_ID, CREATE), Reach.VAULT, 2 * 2),
    "attacker-continues-with-own-signature": of_vault(SIGNATURE),
    "attacker-continues-without-signature": of_vault(SIGNER),
    "signer-forked": of_vault(SIGNER),
    **{f"log-{name}": of_vault(LOG) for name in ("shrunk", "rewritten", "inclusion-proof-bad")},
    **{f"log-consistency-proof-{name}": of_vault(LOG) for name in ("bad", "missing", "shifted")},
    "signer-hidden": of_vault(DIFFERS),
    "signer-duplicated": of_vault(DIFFERS),
    "signer-fingerprint-lied": of_vault(MALFORMED),
    "directory-replayed": of_vault(LOG),
    **{
        name: of_vault(SIGNER)
        for name in (
            "retired-signer-signs-newer",
            "retired-status-flipped-back",
            "revoked-signer-signs",
            "revoked-status-flipped-back",
            "succeeded-signer-signs-newer",
        )
    },
    "retired-signer-signs-newer-detail": of_item(SIGNER),
    "revoked-signer-signs-detail": of_item(SIGNER),
}

_KEYS: Final[dict[str, Row]] = {
    "dek-substituted-unsigned": of_key(SIGNATURE),
    "dek-substituted-by-attacker": of_key(SIGNER),
    "dek-substituted-by-listed-attacker": of_key(SIGNER),
    "dek-substituted-in-a-signers-name": of_key(SIGNATURE),
    "dek-substituted-in-the-readers-name": of_key(SIGNATURE),
    "dek-substituted-by-another-agent": of_key(SIGNER),
    "dek-forked": of_key("equivocation"),
    "wrapped-key-replayed": of_key(DIFFERS, times=_STRADDLING),
    "dek-version-lowered": of_key("rollback", moves=True),
    "dek-version-higher-than-signed": of_key(DIFFERS, times=_STRADDLING),
    "retired-signer-wraps-newer": of_key(SIGNER, moves=True),
    "wrapped-key-for-another-reader": of_key("wrapped_key_not_mine"),
    "wrapped-key-of-another-vault": of_key(DIFFERS, times=_STRADDLING),
    "wrapped-key-relabelled": of_key(SIGNATURE),
    **{
        f"wrapped-key-{name}": of_key("wrapped_key_damaged")
        for name in ("oaep-sha1", "labelled", "pkcs1", "noise", "short", "long")
    },
    **{f"wrapped-key-{name}": of_key(MALFORMED) for name in ("member-unknown", "member-missing", "signer-type-lied")},
}


def _of_account(code: str, *probes: Probe) -> Row:
    return Row(code, probes, Reach.ACCOUNT, once_per_home=True)


_ACCOUNT: Final[dict[str, Row]] = {
    "me-another-fingerprint": _of_account("key_mismatch", LIST, READ, READ_BY_ID, CREATE, NEW_VAULT),
    "registration-answers-another-key": _of_account(DIFFERS, LIST, READ, READ_BY_ID, CREATE, NEW_VAULT),
    "me-another-key-id": Row("signer_refused", (NEW_VAULT,), Reach.WRITE, once_per_home=True),
    "created-vault-id-not-chosen": Row(DIFFERS, (NEW_VAULT,), Reach.WRITE),
    "created-item-id-not-chosen": Row(DIFFERS, (CREATE,), Reach.WRITE, 4, moves=True),
    "create-vault-not-done": Row("served_differs_from_signed", (NEW_VAULT,), Reach.WRITE),
    "create-item-not-done": Row("served_differs_from_signed", (CREATE,), Reach.WRITE, 4),
    "archive-item-not-done": Row(DIFFERS, (ARCHIVE,), Reach.WRITE, 4),
    "refusal-with-instructions": of_vault("permission_denied"),
    "bad-request-with-instructions": of_vault("request_rejected"),
    **{
        f"vault-id-{name}": Row(MALFORMED, (VAULTS, READ, READ_BY_KEY), Reach.LISTS)
        for name in ("traversal", "percent", "query", "fragment", "nul", "newline", "upper-case", "long", "empty")
    },
}

_JSON: Final[dict[str, Row]] = {
    name: of_vault(MALFORMED, LIST, READ_BY_ID)
    for name in (
        *(
            f"json-{word}"
            for word in (
                "duplicate-key",
                "nan",
                "infinity",
                "fraction",
                "minus-zero",
                "huge-integer",
                "deep",
                "very-deep",
                "lone-surrogate",
                "surrogate-bytes",
                "overlong",
                "control-character",
                "byte-order-mark",
                "utf-16",
                "trailing",
                "truncated",
                "list",
                "empty",
            )
        ),
        "html-instead-of-json",
    )
}

REFUSED: Final[dict[str, Row]] = {
    **_CONTENTS,
    **_CHECKPOINTS,
    **_SIGNATURES,
    **_SIGNERS,
    **_KEYS,
    **_ACCOUNT,
    **_JSON,
}
"""Lies that a call refuses."""

BOUNDED: Final[dict[str, Row]] = {
    "body-of-200-mb": Row("response_too_large", (LIST, READ), Reach.VAULT),
    "error-body-of-200-mb": Row("request_rejected", (LIST, READ), Reach.VAULT),
    "gzip-bomb": Row("response_too_large", (LIST, READ), Reach.VAULT),
    "slow-drip": Row("deadline_exceeded", (LIST,), Reach.VAULT),
    "silence": Row("deadline_exceeded", (LIST,), Reach.VAULT),
    "endless-pages": Row(MALFORMED, (LIST, READ), Reach.LISTS),
    "page-loop": Row(MALFORMED, (LIST, READ), Reach.LISTS),
    "page-repeated": Row(MALFORMED, (LIST, READ), Reach.LISTS),
    **{
        f"redirect-{status}": Row("redirect_refused", (VAULTS, READ, CREATE), Reach.ACCOUNT, once_per_home=True)
        for status in (301, 302, 303, 307, 308)
    },
    "not-modified": Row("redirect_refused", (VAULTS, READ), Reach.ACCOUNT, once_per_home=True),
}
"""Lies about bytes, refused within bounded memory and time."""

CONTAINED: Final = (
    "me-another-agent",
    "name-duplicate",
    "name-case-duplicate",
    "name-look-alike",
    "name-bidirectional",
    "name-zero-width",
    "name-with-tags",
    "name-with-control-characters",
    "name-with-instructions",
    "name-very-long",
)
"""What is shown or asked about, and moves nothing."""
