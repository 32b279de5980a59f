"""``r4-mcp install HOST``: puts our entry into a host's configuration, shows it, or takes it out.

What this file does not do: start a host, or read anything of a configuration but our own entry.

Rules:
1. Nothing of others is ever shown: a difference is our own lines, and an entry that is replaced or removed is told by its place,
   since somebody may have put a secret into it.
2. What can be refused is refused before anything is written.
3. A second run changes nothing. ``--remove`` brings back the very bytes of the backup that our entry was added to, where nothing
   else has changed since, and takes that backup away; otherwise only our entry goes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from termcolor import colored

from r4_mcp.cli.hosts.config_file import ConfigFile, Content
from r4_mcp.cli.hosts.edit import Edited, Editor, Entry, Found, UneditableError
from r4_mcp.cli.hosts.entry import is_ours, judge_name, make_entry
from r4_mcp.cli.hosts.json_edit import JsonEditor
from r4_mcp.cli.hosts.places import Form, Host, Machine, Place, find_host
from r4_mcp.cli.hosts.toml_edit import TomlEditor
from r4_mcp.cli.hosts.wishes import Wishes
from r4_mcp.cli.printing import say
from r4_mcp.config.profiles import Profiles, named_profile
from r4_mcp.config.settings import home_of
from r4_mcp.errors import AlreadyExistsError, ConfigurationError, FileAccessError
from r4_mcp.secret import KnownSecrets

_DRY: Final = "Nothing was written. Run it again without --dry-run."


@dataclass(frozen=True, slots=True)
class _Job:
    """One host's file, and what is wished of it."""

    wishes: Wishes
    host: Host
    file: ConfigFile
    editor: Editor
    content: Content
    known: KnownSecrets

    def say(self, *lines: str, next_step: str = "") -> None:
        """Tell a person. What may be copied stays whole: paths, and the lines of a difference."""
        say([f"{self.host.title}: {self.file.path}", *lines], self.known)
        if next_step:
            say([f"next: {next_step}"], self.known, hanging=len("next: "))


def install(wishes: Wishes, environment: Mapping[str, str], known: KnownSecrets) -> int:
    """Do what was wished; returns 0.

    Raises:
        InvalidArgumentError: There is no such host, or the entry's name is none.
        ConfigurationError: The host seems not to be installed, or its file can't be edited; it is as it was.
        AlreadyExistsError: Another entry of this name is there.
    """
    host, name = find_host(wishes.host), judge_name(wishes.name)
    named = named_profile(environment, wishes.profile, known)
    if wishes.local:
        agent: tuple[str, ...] = ("--local",)
    else:
        agent = () if named is None else ("--profile", named.name)
    entry = make_entry(host, agent, environment, known)
    editor = _editor(host, name)
    if wishes.print_only:
        say(editor.insert("", entry).text.splitlines(), known)
        return 0
    place = _place(host, Machine(sys.platform, environment, Path.home()), wishes)
    file = ConfigFile(Path(place.file))
    content = file.read()
    job = _Job(wishes, host, file, editor, content or Content(""), known)
    with _named(file.path):
        found = editor.find(job.content.text)
        if wishes.remove:
            _remove(job, found)
        else:
            _add(job, found, entry, _next_step(host, wishes, None if named is None else named.name, environment, known))
    return 0


def _editor(host: Host, name: str) -> Editor:
    if host.form is Form.TOML:
        return TomlEditor(host.section, name)
    return JsonEditor(host.section, name, comments=host.form is Form.JSONC)


def _place(host: Host, machine: Machine, wishes: Wishes) -> Place:
    """Return where the host keeps its servers; makes the folder if that is wished."""
    places = host.places(machine)
    for place in places:
        if Path(place.folder).is_dir():
            return place
    place = next(place for place in places if place.may_be_made)
    if not wishes.create or wishes.remove:
        raise ConfigurationError(
            f"{host.title} seems not to be installed: {place.folder} is not there",
            next_step="Start it once, then run this again; or add --create to make the folder.",
        )
    if not wishes.dry_run:
        try:
            Path(place.folder).mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise FileAccessError(f"{place.folder} can't be made: {error.strerror}") from None
    return place


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say of which file it is that it can't be edited."""
    try:
        yield
    except UneditableError as error:
        raise ConfigurationError(
            f"{path} is left as it is: {error}",
            next_step="Correct it in an editor and run this again; or paste what `--print` prints.",
        ) from None


def _add(job: _Job, found: Found | None, entry: Entry, next_step: str) -> None:
    text, name = job.content.text, job.wishes.name
    if found is not None and found.value == entry:
        job.say(f"  {name} is already there; nothing was changed")
        return
    if found is None:
        edited = job.editor.insert(text, entry)
    elif job.wishes.replace:
        edited = job.editor.replace(text, entry)
    else:
        raise AlreadyExistsError(
            f"{job.file.path} has another entry named {name}{_where(found)}",
            next_step="Look at it; then add --replace to replace it, or --name NAME to have both.",
        )
    job.file.require_writable()
    if job.wishes.dry_run:
        told = [] if found is None else [colored(f"- the entry {name}{_where(found)}", "red")]
        job.say(*told, *_difference(edited), next_step=_DRY)
        return
    backup = job.file.replace(job.content.encoded(edited.text), keep=True)
    done = colored("added" if found is None else "replaced", "green")
    job.say(f"  {done} {name}, line {edited.line}", *_kept(backup), next_step=next_step)


def _kept(backup: Path | None) -> list[str]:
    return [] if backup is None else [f"  as it was before: {backup.name}"]


def _difference(edited: Edited) -> list[str]:
    lines = [colored(f"+ {line}", "green") for line in edited.added.splitlines()]
    return [f"@ line {edited.line}", *lines]


def _where(found: Found) -> str:
    if found.line is None:
        return ""
    last = found.line + found.lines - 1
    return f" on line {found.line}" if last <= found.line else f" on lines {found.line} to {last}"


def _remove(job: _Job, found: Found | None) -> None:
    name = job.wishes.name
    if found is None:
        job.say(f"  there is no entry named {name}; nothing was changed")
        return
    if not is_ours(found.value) and not job.wishes.replace:
        raise AlreadyExistsError(
            f"{job.file.path} has an entry named {name}{_where(found)} that does not start r4-mcp",
            next_step="Look at it; then add --replace to take it out all the same.",
        )
    text = job.editor.remove(job.content.text)
    job.file.require_writable()
    if job.wishes.dry_run:
        job.say(colored(f"- the entry {name}{_where(found)}", "red"), next_step=_DRY)
        return
    done = colored("removed", "green")
    original = _original(job, found)
    if original is not None:
        job.file.restore(*original)
        job.say(f"  {done} {name}: the file is what it was before, byte for byte")
    elif _is_wholly_ours(job, found):
        job.file.delete()
        job.say(f"  {done} {name}, and with it the file, which held nothing else")
    else:
        backup = job.file.replace(job.content.encoded(text), keep=True)
        job.say(f"  {done} {name}{_where(found)}", *_kept(backup))


def _original(job: _Job, found: Found) -> tuple[Path, Content] | None:
    """Return the backup from which adding the entry made just this file (rule 3)."""
    for path, before in job.file.backups():
        if _adding_makes_it(job, before, found):
            return path, before
    return None


def _is_wholly_ours(job: _Job, found: Found) -> bool:
    return not job.file.path.is_symlink() and _adding_makes_it(job, Content(""), found)


def _adding_makes_it(job: _Job, before: Content, found: Found) -> bool:
    if not isinstance(found.value, dict) or before.mark != job.content.mark:
        return False
    try:
        return job.editor.find(before.text) is None and job.editor.insert(before.text, found.value).text == job.content.text
    except (UneditableError, TypeError):
        return False  # A backup of something unreadable; or an entry of others with values that can't be written back.


def _next_step(host: Host, wishes: Wishes, profile: str | None, environment: Mapping[str, str], known: KnownSecrets) -> str:
    """Return what a person does next: make the profile that the entry names, or let the host start it."""
    ready = f"{host.reload}; then ask it to call whoami."
    if wishes.local:
        return ready
    profiles = Profiles(home_of(environment, known))
    try:
        there = profiles.config().default_profile is not None if profile is None else profile in profiles.names()
    except ConfigurationError:
        return f"Run `r4-mcp doctor`, which says what is wrong with the profile. {ready}"
    option = "" if profile is None else f" --profile {profile}"
    return ready if there else f"Make the profile: r4-mcp init{option}. {ready}"
