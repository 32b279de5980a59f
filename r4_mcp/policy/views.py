"""The types that a tool may return that looks or reads, built field by field.

What this file does not do: filter. A member that nobody copies here can't leak. Names and websites come out of the vault, so they
are untrusted text: ``display`` escapes what can't be seen and caps what is too long.

No view but ``RevealedField`` has a place for a plaintext. None prints what it holds or is compared with another: nobody needs
it, and to make those methods would take a part of each start. What tools return that change or use something is in ``outcomes``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from r4_mcp.core.directory import Signer
from r4_mcp.core.wire import SignerType
from r4_mcp.policy.invisible import escaped, is_invisible, is_odd_space
from r4_mcp.secret import Secret

MAX_DISPLAY: Final = 255
"""Characters of a name or website that are shown."""

MAX_QUOTED: Final = 80
"""Characters of a name that a person is asked about."""

SHORT_FINGERPRINT: Final = 16


def display(text: str, limit: int = MAX_DISPLAY) -> str:
    """Return vault text fit for a model: what can't be seen or is not assigned is escaped, and the length is capped."""
    # Most texts are plain, and a listing has hundreds of them.
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    shown = "".join(escaped(character) if is_invisible(character) else character for character in text[: limit + 1])
    return shown if len(text) <= limit and len(shown) <= 2 * limit else shown[:limit] + "…"


def quoted(text: str) -> str:
    """Return vault text fit for a question to a person: in quotes, short, and with no blank but the plain space."""
    plain = "".join(escaped(character) if is_odd_space(character) else character for character in display(text))
    shown = plain.replace('"', "'")
    return f'"{shown}"' if len(shown) <= MAX_QUOTED else f'"{shown[:MAX_QUOTED]}…"'


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SignedBy:
    """Who signed: a person or an agent, by short key fingerprint."""

    kind: Literal["human", "agent"]
    fingerprint: str


def signed_by(signer: Signer) -> SignedBy:
    """Build the view of a signer."""
    kind: Literal["human", "agent"] = "human" if signer.kind is SignerType.USER else "agent"
    return SignedBy(kind, signer.key.fingerprint[:SHORT_FINGERPRINT])


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class VaultLine:
    """One vault of a listing. ``verified`` says whether name, classification and count come from a verified signature."""

    reference: str
    id: str
    name: str
    classification: str | None
    item_count: int
    verified: bool
    problem: str | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class VaultList:
    """A page of vaults; ``verified_at`` is there where it is stale, because the service gives no answer."""

    vaults: tuple[VaultLine, ...]
    next_cursor: str | None
    stale: bool
    verified_at: str | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ItemLine:
    """One item of a vault; never its values."""

    reference: str
    id: str
    name: str
    type: str
    websites: tuple[str, ...]
    field_count: int


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ItemList:
    """A page of a vault's items, and who signed the listing; nobody did where ``verified`` is false."""

    vault: str
    vault_name: str
    classification: str | None
    items: tuple[ItemLine, ...]
    total: int
    next_cursor: str | None
    signed_by: SignedBy | None
    checkpoint_version: int | None
    verified: bool
    stale: bool
    verified_at: str | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SearchHit:
    """A vault, an item or a field that fits a query; ``type`` is the item's or field's."""

    reference: str
    matched: Literal["vault", "item", "field", "website"]
    name: str
    type: str | None
    vault: str
    item: str | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SearchResults:
    """A page of what fits, best first; vaults that don't verify are counted and not searched."""

    results: tuple[SearchHit, ...]
    unsearched_vaults: int
    next_cursor: str | None
    stale: bool
    verified_at: str | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FieldLine:
    """One field's name, type and reference; never its value."""

    reference: str
    id: str
    name: str
    type: str
    secret: bool
    key: str | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ItemDescription:
    """What an item is made of; never its values."""

    reference: str
    id: str
    name: str
    type: str
    vault: str
    websites: tuple[str, ...]
    fields: tuple[FieldLine, ...]
    signed_by: SignedBy
    checkpoint_version: int
    verified: bool
    stale: bool
    verified_at: str | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RevealedField:
    """One field in plaintext: the explicit read's result, and the only view with a value.

    Attributes:
        reference: The field's reference.
        value: Its plaintext; for TOTP the current code, never the seed.
        vault: The vault's signed name.
        item: The item's signed name.
        field: The field's signed name.
        type: The field's type.
        verified: True: nothing unverified is revealed.
        remaining_seconds: How long a one-time code is still valid; None for other types.
    """

    reference: str
    value: str
    vault: str
    item: str
    field: str
    type: str
    verified: bool
    remaining_seconds: int | None


def revealed_field(
    reference: str, value: Secret[str], names: tuple[str, str, str], field_type: str, remaining_seconds: int | None
) -> RevealedField:
    """Build the explicit read's result.

    Args:
        reference: The field's reference.
        value: Its plaintext.
        names: Signed names of vault, item and field.
        field_type: The field's type.
        remaining_seconds: For one-time codes.
    """
    vault, item, field = (display(name) for name in names)
    # reveal: seen by the model that asked for exactly this field; the egress guard exempts this place alone.
    return RevealedField(reference, value.reveal(), vault, item, field, field_type, True, remaining_seconds)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LastVerified:
    """When a vault's proofs last held, ISO 8601."""

    vault: str
    at: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class UnavailableTool:
    """A tool that can't be used whatever it is called with, and why."""

    tool: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Standing:
    """Who this server is, what it may do, and what is missing.

    Attributes:
        configured: Whether an API key and a private key are set.
        service: The service's address, or "embedded" for the local vault.
        scope: Scope of the API key.
        agent: The agent's name.
        agent_id: The agent's id.
        permissions: The API key's permissions.
        key: State of the runtime's public key.
        fingerprint: Short fingerprint of the runtime's key.
        waiting_for_grant: References of vaults that are visible but have no key wrapped for this agent.
        trust_mode: What first contact with a vault may pin: tofu or pinned.
        last_verified: When each remembered vault was last verified.
        unavailable: Tools that this server can never use as it stands.
        read_only: Whether writing tools are switched off.
        reveals: Whether the read tool is on.
        missing: What is missing, one sentence each.
        next_step: The exact next step.
    """

    configured: bool
    service: str | None
    scope: str | None
    agent: str | None
    agent_id: str | None
    permissions: tuple[str, ...]
    key: Literal["registered", "not_registered", "another_key_is_active", "unknown"]
    fingerprint: str | None
    waiting_for_grant: tuple[str, ...]
    trust_mode: str | None
    last_verified: tuple[LastVerified, ...]
    unavailable: tuple[UnavailableTool, ...]
    read_only: bool
    reveals: bool
    missing: tuple[str, ...]
    next_step: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ExposedPlace:
    """One row of the exposure ledger: what (by ids), how, how often, and when last (RFC 3339)."""

    reference: str | None
    how: str
    count: int
    last: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ExposureReport:
    """What was shown, used and blocked since the ledger was last cleared; ``to_rotate`` are the shown secrets."""

    since: str | None
    shown: tuple[ExposedPlace, ...]
    used: tuple[ExposedPlace, ...]
    blocked: tuple[ExposedPlace, ...]
    to_rotate: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ProjectLine:
    """One project of a listing: unsigned, as the service tells it."""

    id: str
    name: str
    vault_count: int


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ProjectList:
    """Projects; for a single one also the first page of its vaults, which ``list_vaults`` continues."""

    projects: tuple[ProjectLine, ...]
    vaults: tuple[VaultLine, ...]
    next_cursor: str | None
