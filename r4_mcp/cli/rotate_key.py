"""``r4-mcp rotate-key``: a person replaces this machine's key.

What this file does not do: rotate. It asks, shows how far it is, and says what came of it.

Rules:
1. What the operator's policy denies is denied here too; where it asks, whoever typed the command is asked.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Final

from r4_mcp.cli.noting import noted
from r4_mcp.cli.printing import say
from r4_mcp.cli.prompts import require_yes
from r4_mcp.cli.wiring import open_local, open_service
from r4_mcp.config import Settings
from r4_mcp.errors import DeniedError
from r4_mcp.policy.model import Action, Target, Verdict
from r4_mcp.policy.rules import decide
from r4_mcp.secret import KnownSecrets
from r4_mcp.vault.rotation import Rotated
from r4_mcp.vault.runtime import VaultRuntime

_BAR: Final = 30
"""Characters of the progress bar."""


async def rotate_key(settings: Settings, known: KnownSecrets, *, local: bool, yes: bool, abandon: bool) -> int:
    """Rotate the key, finish the rotation that was begun, or give it up.

    Args:
        settings: What is configured.
        known: The secrets of this process.
        local: Of the embedded vault.
        yes: Don't ask.
        abandon: Give up a rotation that the service never accepted.

    Raises:
        R4Error: Not configured, not approved, refused, unreachable, or unresolved.
    """
    opened = open_local(settings, known) if local else open_service(settings, known)
    async with opened as service:
        if service.runtime is None:
            raise service.missing[0]
        async with noted(service, "cli_rotate_key") as call:
            call.decision = decide(Action.ROTATE, Target(), settings.switches, service.policy())
            if call.decision.verdict is Verdict.DENY:
                raise DeniedError(call.decision.reason)
            lines = await (_abandon(service.runtime, yes=yes) if abandon else _rotate(service.runtime, yes=yes))
    say(lines, known)
    return 0


async def _abandon(runtime: VaultRuntime, *, yes: bool) -> list[str]:
    _require_yes("Give up the unfinished rotation? Its new key is set aside, not deleted.", yes=yes)
    key_id = await runtime.rotation.abandon()
    return [f"The unfinished rotation was given up. Key {key_id} stays active."]


async def _rotate(runtime: VaultRuntime, *, yes: bool) -> list[str]:
    done = await runtime.recovery.settle(writes=True, needs_key=True)
    if done is None:
        await runtime.rotation.require_possible()
        fingerprint = runtime.key.public.fingerprint
        listed = await runtime.reader.list_vaults()
        _require_yes(f"Replace the key {fingerprint[:16]}… and wrap {len(listed)} vault key(s) again?", yes=yes)
        done = await runtime.rotation.rotate(_bar())
    return _told(done)


def _told(done: Rotated) -> list[str]:
    begun = "The rotation that was begun earlier is finished." if done.resumed else "The key is rotated."
    return [
        begun,
        f"  active now: key {done.key_id}, fingerprint {done.fingerprint}",
        f"  before it:  key {done.previous_id}, kept in {done.retired}",
        f"  {done.vaults} vault key(s) wrapped again, {done.vaults - len(done.unread)} read back",
        *(f"  not read back: vault {vault_id}" for vault_id in done.unread),
        *(f"  left out, because the service did not list it: vault {vault_id}" for vault_id in done.left_out),
        "next: keep the old key until `r4-mcp doctor` opens every vault with the new one."
        if done.unread or done.left_out
        else "next: when every backup of this machine has the new key, the kept one can go.",
    ]


def _require_yes(question: str, *, yes: bool) -> None:
    require_yes(question, yes=yes, what="rotating the key", undone="nothing was rotated")


def _bar() -> Callable[[int, int], Awaitable[None]]:
    on_terminal = sys.stderr.isatty()

    async def show(done: int, total: int) -> None:
        if not on_terminal:
            return
        filled = _BAR * done // max(total, 1)
        sys.stderr.write(f"\r[{'#' * filled}{'.' * (_BAR - filled)}] {done}/{total}" + ("\n" if done == total else ""))
        sys.stderr.flush()

    return show
