"""The gate's side for files: one that a program reads is written with secrets which the model never sees.

What this file does not do: keep the model from reading the file afterwards. Whoever can read it sees the values, so the operator
lists where there may be any. Nor does it write (``sinks.file`` does), or touch the reveal budget.

Rules:
1. A file stands below a folder that the policy lists, and its values are of the vault or item that is listed with it. Both gates
   hold: the list opens nothing that the rules close, and the rules open no folder.
2. Of the listed folders that a path lies below, the innermost counts: so a folder inside another can be given less. It is found
   by its names, and must be the one that the path really leads to, since names may be written in several ways. A relative path
   has a meaning only where all that is listed is one folder.
3. What this program is told by and remembers in is never written to, whatever is listed, nor where a listed command works or
   lies: who may fill a vault could else write the policy, or what that command does.
4. The path is shown again, so it holds no secret: neither one that was read a moment ago nor one of those that go into the file,
   with which it is compared before that is written. The names are for the file, and for the person who is asked.
5. One-time codes go into no file: they are stale in seconds, and their seed is never shown.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final

import anyio

from r4_mcp.core.encoding import JsonIn, compact_json
from r4_mcp.errors import (
    DeniedError,
    FileAccessError,
    InvalidArgumentError,
    NotReadableError,
    R4Error,
    SecretFileRefusedError,
)
from r4_mcp.policy import outcomes
from r4_mcp.policy.file_rules import FileFormat, FileRoot
from r4_mcp.policy.file_text import root_line
from r4_mcp.policy.invisible import is_invisible, unmistakable
from r4_mcp.policy.model import Action, Verdict
from r4_mcp.policy.rules import Decision
from r4_mcp.policy.use_rules import Sink
from r4_mcp.policy.uses import Uses, Wanted
from r4_mcp.policy.views import display
from r4_mcp.sinks.environment import check_name
from r4_mcp.sinks.file import write_secret_file
from r4_mcp.sinks.formats import Format
from r4_mcp.vault.references import write_reference

MAX_ENTRIES: Final = 64
MAX_FILE: Final = 16 * 1024
"""Characters of everything that a caller gives, as compact JSON."""

_NEVER_CUT: Final = 10 * MAX_FILE
"""A limit for ``display`` that no draft reaches, even if each of its characters has to be escaped."""
_FORMATS: Final[Mapping[FileFormat, Format]] = {FileFormat.ENV: "env", FileFormat.JSON: "json", FileFormat.RAW: "raw"}
_LIKE_ONE: Final = (
    "Choose path, format and values by one of the candidates, or ask the operator to list more under "
    "[[write_secret_file.root]] in the policy."
)


@dataclass(frozen=True, slots=True)
class FileDraft:
    """A file as asked for: nothing of it is checked yet.

    Attributes:
        path: Absolute, or relative to the one folder that is listed.
        form: The format.
        entries: References by the names under which their values stand in the file.
        replaces: Whether an existing file may lose its content.
    """

    path: str
    form: FileFormat
    entries: Mapping[str, str]
    replaces: bool = False

    def check(self) -> None:
        """Check what needs neither policy nor vault.

        Raises:
            InvalidArgumentError: No entry, too many or too much, more than one in a raw file, a name that an env file can't have,
                or a path with something that can't be seen.
        """
        if not 1 <= len(self.entries) <= MAX_ENTRIES:
            raise InvalidArgumentError(f"entries is empty, or has more than {MAX_ENTRIES}; nothing was written")
        if self.form is FileFormat.RAW and len(self.entries) > 1:
            raise InvalidArgumentError("a raw file holds one value; nothing was written")
        if self.form is FileFormat.ENV:
            for name in self.entries:
                check_name(name)
        if len(self.whole(self.path)) > MAX_FILE:
            raise InvalidArgumentError(f"path and entries have more than {MAX_FILE} characters; nothing was written")
        if any(map(is_invisible, self.path)) or not self.path or self.path.endswith("/"):
            raise InvalidArgumentError("path is no path of a file, or holds a character that can't be seen; nothing was written")

    def whole(self, path: str) -> str:
        """Return all of it, references and not values, as compact JSON.

        Args:
            path: Where it goes.
        """
        given: dict[str, JsonIn] = {"path": path, "format": self.form.value, "entries": dict(self.entries)}
        return compact_json(given | ({"replace": True} if self.replaces else {}))


class FileUses(Uses):
    """Files with secrets."""

    async def write_secret_file(self, draft: FileDraft) -> outcomes.SecretFile:
        """Write one file, whole or not at all, readable by this user alone.

        Raises:
            InvalidArgumentError: The path is no path, or the format can't represent what is asked for.
            SecretFileRefusedError: No listed folder, one of our own files, a link on the way, or git would pick the file up.
            DeniedError: The listed folder is for other vaults, items or formats, or the rules deny a use.
            SecretInTextError: The path or a name is, or looks like, a secret.
            NotReadableError: A one-time code, or an attachment.
            ApprovalRequiredError: A person must say yes to exactly this file.
            AlreadyExistsError: Something stands there, and it was not asked to be replaced.
            FileAccessError: A folder is missing, or the disk or the system refuses.
            R4Error: Not found, ambiguous, not verified, not readable, not configured, unreachable.
        """
        self._admission.refuse_where_closed(Action.USE)
        if sys.platform == "win32":
            raise SecretFileRefusedError("files with secrets can't be written on Windows", next_step="Use http_request.")
        draft.check()
        listed = self._parts.policy().roots
        roots = self._roots_of(draft, listed)
        folder = Path(roots[0].path)
        path = folder / draft.path
        own = (*self._parts.own_files, *(Path(place) for command in self._parts.policy().commands for place in command.places))
        require_place = partial(_require_place, path, folder, {root.path for root in listed}, own)
        await anyio.to_thread.run_sync(require_place)
        shown = {"path": str(path.relative_to(folder))}
        # Not by the names themselves: one may be the secret.
        names = {f"entries, name {number}": name for number, name in enumerate(draft.entries, 1)}
        await self._admission.screen({**shown, **names})
        runtime = await self._admission.ready(Action.USE)
        wanted = await self._want(runtime, draft.entries.values(), Sink.WRITE_SECRET_FILE)
        self._require_listed(roots, wanted)
        whole = draft.whole(str(path))
        self._confirm(
            wanted, f"in this file, where whoever can read it sees them? {unmistakable(display(whole, _NEVER_CUT))}", whole
        )
        await self._note(wanted, Sink.WRITE_SECRET_FILE, str(path))
        values = {one.text: await self._open(runtime, one) for one in wanted}
        # The folder is the operator's word: a value that stands in it gives nothing away there.
        self._parts.known.publish([roots[0].path])
        await self._admission.screen(shown)
        entries = {name: values[text] for name, text in draft.entries.items()}
        # Once more: what was not there before may have been made since, by this very call.
        await anyio.to_thread.run_sync(require_place)
        write = partial(write_secret_file, folder, draft.path, _FORMATS[draft.form], entries, replaces=draft.replaces)
        written = await anyio.to_thread.run_sync(write)
        return outcomes.SecretFile(str(written.path))

    def _roots_of(self, draft: FileDraft, listed: Sequence[FileRoot]) -> list[FileRoot]:
        """Return those of what is listed that are for a file's folder and format (rule 2)."""
        path = PurePosixPath(draft.path)
        if ".." in path.parts:
            raise SecretFileRefusedError("the path holds a dot segment; nothing was written")
        around = [root for root in listed if not path.is_absolute() or path.is_relative_to(root.path)]
        folders = sorted({root.path for root in around}, key=len)
        if not folders:
            message = "the path lies below no folder that the operator's policy lists"
            raise self._refusal(SecretFileRefusedError, message, listed)
        if len(folders) > 1 and not path.is_absolute():
            message = "path is relative, and the operator's policy lists several folders"
            raise self._refusal(InvalidArgumentError, message, listed)
        roots = [root for root in around if root.path == folders[-1]]
        fitting = [root for root in roots if draft.form in root.formats]
        if not fitting:
            raise self._refusal(DeniedError, "the operator's policy lists that folder for other formats", roots)
        return fitting

    def _require_listed(self, roots: Sequence[FileRoot], wanted: Sequence[Wanted]) -> None:
        """Refuse values that are not for this folder (rule 1), or for no file (rule 5)."""
        unlisted = [one for one in wanted if not any(root.takes(*one.ids[:2]) for root in roots)]
        if unlisted:
            named = ", ".join(write_reference(*one.ids) for one in unlisted)
            raise self._refusal(DeniedError, f"the operator's policy lists that folder for others than {named}", roots)
        if any(one.is_one_time for one in wanted):
            step = "Leave it out; http_request sends the current code of a TOTP field."
            raise NotReadableError(
                "a field is of type TOTP, and its code would be stale before a program reads it", next_step=step
            )
        self._call.pattern = next(root.title for root in roots if root.takes(*wanted[0].ids[:2]))

    def _refusal(self, kind: type[R4Error], message: str, roots: Iterable[FileRoot]) -> R4Error:
        self._call.decision = Decision(Action.USE, Verdict.DENY, "no listed folder", message)
        return kind(f"{message}; nothing was written", next_step=_LIKE_ONE, candidates=tuple(map(root_line, roots)))


def _require_place(path: Path, folder: Path, listed: Iterable[str], own: Iterable[Path]) -> None:
    """Check where a path leads, by what its folders are and not by how they are spelled (rules 2 and 3)."""
    try:
        real = Path(os.path.realpath(path))
        around = _found((real, *real.parents))
        ours, folders, chosen = _found(own), _found(map(Path, listed)), folder.stat()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "unknown reason"
        step = "Choose another path, or ask the operator to make the folder."
        raise FileAccessError(f"the path can't be looked at: {reason}", next_step=step) from None
    # By their names as well: a file of ours that is not there yet must not be made by others.
    named = {Path(os.path.realpath(one)) for one in own}
    if named & {real, *real.parents} or any(os.path.samestat(one, other) for one in ours for other in around):
        message = "the path lies among this program's own files, or where a listed command works or lies; nothing was written"
        raise SecretFileRefusedError(message)
    inner = next((one for one in around if any(os.path.samestat(one, other) for other in folders)), None)
    if inner is None or not os.path.samestat(inner, chosen):
        raise SecretFileRefusedError("the path leads out of its folder, or into another that is listed; nothing was written")


def _found(paths: Iterable[Path]) -> list[os.stat_result]:
    return [path.stat() for path in paths if path.exists()]
