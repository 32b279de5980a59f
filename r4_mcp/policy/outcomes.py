"""What tools return that change or use something, built field by field like ``views``.

What this file does not do: hold a value. ``HttpAnswer``, ``ProgramAnswer`` and ``RawAnswer`` hold the texts that were masked and
filtered for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CreatedVault:
    """A new vault."""

    reference: str
    id: str
    name: str
    classification: str | None
    note: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CreatedField:
    """A field of a new item; never its value."""

    reference: str
    name: str
    type: str
    generated: bool


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CreatedItem:
    """A new item; never its values."""

    reference: str
    id: str
    vault: str
    name: str
    type: str
    fields: tuple[CreatedField, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class UpdatedItem:
    """An item after a change: the fields that were set or added, by reference; never values."""

    reference: str
    id: str
    name: str
    fields: tuple[CreatedField, ...]
    removed: tuple[str, ...]
    checkpoint_version: int


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Archived:
    """What was archived."""

    kind: Literal["vault", "item"]
    reference: str
    id: str
    name: str
    note: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class GapReport:
    """A report that reached R4."""

    feedback_id: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RotatedKey:
    """The key that is active now, and the one that it replaced.

    ``not_read_back``: vaults of the batch that could not be proven afterwards. ``left_out``: vaults that were opened here before
    and that the service did not list.
    """

    key_id: str
    fingerprint: str
    previous_key_id: str
    vaults: int
    not_read_back: tuple[str, ...]
    left_out: tuple[str, ...]
    resumed: bool
    note: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class HttpAnswer:
    """The answer to a request with secrets, masked; ``shown`` says how much of its body this is."""

    status: int
    headers: tuple[str, ...]
    body: str | None
    shown: Literal["whole", "cut", "not text", "withheld"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ProgramAnswer:
    """How a program with secrets ended, and what it printed, masked; ``shown`` says how much of that this is.

    ``exit_code`` is None where a signal ended it; ``late``: its deadline had passed. What is withheld is empty.
    """

    exit_code: int | None
    signal: int | None
    late: bool
    stdout: str
    stderr: str
    shown: Literal["whole", "cut", "withheld"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SecretFile:
    """Where a file was written. Not how long it is: the length of a raw file is that of its value."""

    path: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RawAnswer:
    """The answer to a raw request: HTTP status, JSON text (None for no body), and how much of it was replaced or left out."""

    status: int
    body: str | None
    replaced: int
