"""What ``install`` is asked to do.

What this file does not do: judge it, or import anything; the command line is parsed before anything else is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DEFAULT_NAME: Final = "r4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """The command line of ``install``.

    Attributes:
        host: The host's name, as typed.
        profile: The profile that was named, or None.
        local: Whether the embedded vault is meant.
        name: The entry's name.
        dry_run: Show what would change.
        print_only: Print the entry and look at no file.
        remove: Take the entry out.
        replace: Touch an entry of that name that says something else.
        create: Make the host's folder where it is not there.
    """

    host: str
    profile: str | None
    local: bool
    name: str
    dry_run: bool
    print_only: bool
    remove: bool
    replace: bool
    create: bool
