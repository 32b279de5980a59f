"""Projects and feedback in the store.

What this file does not do: share vaults. A project is accessible to its members, and to agents with a grant on one of its vaults.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from r4_mcp.core.wire import ProjectId, VaultId
from r4_mcp.emulator.fresh import new_id, timestamp


@dataclass(frozen=True, slots=True)
class ProjectRow:
    """A live project as stored."""

    id: ProjectId
    name: str
    external_id: str | None
    description: str | None
    created_by: str
    created_at: str


@dataclass(frozen=True, slots=True)
class Feedback:
    """A product gap that an agent reports."""

    surface: str
    summary: str
    details: str
    desired_outcome: str | None


_ACCESSIBLE = (
    "SELECT * FROM projects WHERE archived_at IS NULL AND (id IN (SELECT project_id FROM project_members WHERE agent_id = ?1)"
    " OR id IN (SELECT project_id FROM project_vaults JOIN grants ON grants.vault_id = project_vaults.vault_id"
    " JOIN vaults ON vaults.id = grants.vault_id AND vaults.archived_at IS NULL WHERE grants.agent_id = ?1))"
)


def accessible_projects(db: sqlite3.Connection, agent_id: str) -> list[ProjectRow]:
    """Return the projects that an agent may see, oldest first."""
    return [_read(row) for row in db.execute(_ACCESSIBLE + " ORDER BY rowid", (agent_id,))]


def find_project(db: sqlite3.Connection, agent_id: str, project_id: str) -> ProjectRow | None:
    """Return one project that an agent may see."""
    row = db.execute(_ACCESSIBLE + " AND id = ?2", (agent_id, project_id)).fetchone()
    return None if row is None else _read(row)


def add_project(db: sqlite3.Connection, user_id: str, name: str, external_id: str | None, description: str | None) -> ProjectId:
    """Record a new project."""
    project_id = ProjectId(new_id())
    db.execute(
        "INSERT INTO projects (id, name, external_id, description, created_by, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        (project_id, name, external_id, description, user_id, timestamp()),
    )
    return project_id


def add_member(db: sqlite3.Connection, project_id: ProjectId, agent_id: str) -> None:
    """Make an agent a member of a project."""
    db.execute("INSERT OR IGNORE INTO project_members (project_id, agent_id) VALUES (?, ?)", (project_id, agent_id))


def members(db: sqlite3.Connection, project_id: ProjectId) -> list[str]:
    """Return the ids of a project's member agents."""
    return [row["agent_id"] for row in db.execute("SELECT agent_id FROM project_members WHERE project_id = ?", (project_id,))]


def link_vault(db: sqlite3.Connection, project_id: ProjectId, vault_id: VaultId) -> None:
    """Put a vault into a project."""
    db.execute("INSERT OR IGNORE INTO project_vaults (project_id, vault_id) VALUES (?, ?)", (project_id, vault_id))


def add_feedback(db: sqlite3.Connection, agent_id: str, report: Feedback) -> tuple[str, str]:
    """Record a report; returns its id and time."""
    report_id, at = new_id(), timestamp()
    db.execute(
        "INSERT INTO feedback (id, agent_id, surface, summary, details, desired_outcome, submitted_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (report_id, agent_id, report.surface, report.summary, report.details, report.desired_outcome, at),
    )
    return report_id, at


def _read(row: sqlite3.Row) -> ProjectRow:
    return ProjectRow(
        id=row["id"],
        name=row["name"],
        external_id=row["external_id"],
        description=row["description"],
        created_by=row["created_by"],
        created_at=row["created_at"],
    )
