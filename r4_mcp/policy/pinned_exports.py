"""What a person confirmed that a project exports: which field under which name.

What this file does not do: ask. ``r4-mcp run`` asks a person, and pins what they said yes to.

Rules:
1. What is pinned is a name with the ids of its field, so that neither a mark nor a renaming moves a value to where nobody saw it.
2. A file that can't be read or is damaged is an error, never an empty one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from r4_mcp.core.encoding import Json, compact_json, parse_json
from r4_mcp.core.record import exact
from r4_mcp.core.wire import ProjectId
from r4_mcp.errors import FileAccessError, MalformedError
from r4_mcp.vault.journal import owner_hash
from r4_mcp.vault.locked_file import LockedFile

_MAX_SIZE: Final = 4 * 1024 * 1024
_SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class PinnedExport:
    """One variable of a project.

    Attributes:
        project_id: The project.
        name: The variable's name, with the prefix that it was asked for with.
        reference: The field's reference, by ids.
    """

    project_id: ProjectId
    name: str
    reference: str


class PinnedExports:
    """The confirmed exports of one agent.

    Calls block for the time of a read or of two syncs to disk: async callers use a thread.

    Args:
        folder: Where state is kept; made (0700) when first written.
        owner: Service address and access key.
    """

    def __init__(self, folder: Path, owner: tuple[str, str]) -> None:
        self._file = LockedFile(folder / f"exports-{owner_hash(owner)}.json", _MAX_SIZE)

    def unconfirmed(self, project_id: ProjectId, exports: Mapping[str, str]) -> tuple[str, ...]:
        """Return the names that nobody confirmed, or not for that field.

        Args:
            project_id: The project.
            exports: References by id, by name.

        Raises:
            FileAccessError: The file can't be read, or is damaged.
        """
        pinned = self._read()
        return tuple(name for name, found in exports.items() if PinnedExport(project_id, name, found) not in pinned)

    def confirm(self, project_id: ProjectId, exports: Mapping[str, str]) -> None:
        """Pin what a person said yes to; what was pinned before stays, but for a name that means another field now.

        Args:
            project_id: The project.
            exports: References by id, by name.

        Raises:
            FileAccessError: The file can't be read or written, or is damaged.
            BusyError: Another process held it for ten seconds.
        """
        with self._file.locked():
            kept = [one for one in self._read() if one.project_id != project_id or one.name not in exports]
            kept += [PinnedExport(project_id, name, found) for name, found in exports.items()]
            rows: list[Json] = [{"project": one.project_id, "name": one.name, "reference": one.reference} for one in kept]
            self._file.replace(compact_json({"schema": _SCHEMA, "exports": rows}).encode("ascii") + b"\n")

    def _read(self) -> tuple[PinnedExport, ...]:
        raw = self._file.read()
        try:
            return () if raw is None else _parse(raw)
        except MalformedError as error:
            raise FileAccessError(
                f"{self._file.path} is damaged: {error.message}",
                next_step="Move it away; the next `r4-mcp run --project` asks again.",
            ) from None


def _parse(raw: bytes) -> tuple[PinnedExport, ...]:
    record = exact(parse_json(raw, what="it"), "it", frozenset({"schema", "exports"}))
    if record.integer("schema") != _SCHEMA:
        raise MalformedError("it has another schema than this version writes")
    return tuple(record.parts("exports", _export))


def _export(value: Json, what: str) -> PinnedExport:
    row = exact(value, what, frozenset({"project", "name", "reference"}))
    return PinnedExport(ProjectId(row.identifier("project")), row.text("name"), row.text("reference"))
