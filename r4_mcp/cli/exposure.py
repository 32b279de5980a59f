"""``r4-mcp exposure``: what the model was shown, used and kept from, and what to rotate, for people; no tool reaches this.

What this file does not do: rotate, or know names. It names fields by reference, made of ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from r4_mcp.policy.audit_format import rfc3339
from r4_mcp.policy.exposure import Exposure, ExposureLedger, Noted, Place
from r4_mcp.policy.lines import exposure_report
from r4_mcp.vault.references import write_reference

_NOTHING: Final = "Nothing was shown, used or blocked."
_WHOLE: Final = {0: "every field of every vault", 1: "every field of the vault", 2: "every field of the item"}
"""What a row stands for that was made of many, by the ids that are left of them."""


def exposure(ledger: ExposureLedger, *, clear: bool) -> list[str]:
    """Run the command.

    Args:
        ledger: The ledger of the configured agent.
        clear: Whether it is emptied; what it held is told all the same.

    Returns:
        Lines for a person.

    Raises:
        FileAccessError: The ledger can't be read or written, or is damaged and not to be cleared.
        BusyError: Another process held it for ten seconds.
    """
    found = ledger.clear() if clear else ledger.read()
    lines = list(_listing(found))
    return [*lines, "", "Cleared: a new ledger begins now."] if clear else lines


def exposure_payload(ledger: ExposureLedger, *, clear: bool) -> dict[str, Any]:
    """Run the command for programs: the members of the exposure tool's result, and where a damaged ledger was kept.

    Args:
        ledger: As for ``exposure``.
        clear: As for ``exposure``.

    Raises:
        FileAccessError: As ``exposure``.
        BusyError: As ``exposure``.
    """
    found = ledger.clear() if clear else ledger.read()
    kept = None if found.kept_aside is None else str(found.kept_aside)
    return {**asdict(exposure_report(found)), "cleared": clear, "kept_aside": kept}


def _listing(found: Exposure) -> Iterator[str]:
    yield f"since {'the beginning' if found.cleared_at is None else rfc3339(found.cleared_at / 1000)}"
    if found.kept_aside is not None:
        yield f"The ledger was damaged: what was shown is not known from it. It is kept as {found.kept_aside}."
        yield "Look into the audit log (`r4-mcp audit`) for what was read, and rotate that."
    elif not (found.shown or found.used or found.blocked):
        yield _NOTHING
    for title, rows in (
        ("shown to the model", found.shown),
        ("used without showing", found.used),
        ("blocked on the way out", found.blocked),
    ):
        if rows:
            yield ""
            yield f"{title}:"
        for row in rows:
            how = "" if rows is found.shown else f"  {row.how}"
            yield f"  {_named(row.place)}{how}  {_times(row)}"
    if found.shown:
        yield ""
        yield "to rotate, because a transcript may hold it:"
        yield from (f"  [ ] {_named(row.place)}" for row in found.shown)


def _times(row: Noted) -> str:
    if row.count == 1:
        return f"once, {rfc3339(row.first / 1000)}"
    return f"{row.count} times, {rfc3339(row.first / 1000)} to {rfc3339(row.last / 1000)}"


def _named(place: Place | None) -> str:
    if place is None:
        return "(field not known)"
    whole = _WHOLE.get(len(place.ids))
    return write_reference(*place.ids) if whole is None else f"{write_reference(*place.ids)} ({whole})"
