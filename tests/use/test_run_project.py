"""``r4-mcp run --project``: what a project exports, confirmed by a person once."""

from __future__ import annotations

import sys
from typing import Final

import pytest

from r4_mcp.core.wire import Classification, FieldType, ItemType, VaultId
from r4_mcp.emulator.drafts import FieldDraft
from r4_mcp.machine.contract import Level
from r4_mcp.secret import SecretKind
from r4_mcp.sinks.masking import mark
from tests.cli.running import Ended, run, run_at_terminal
from tests.doors import World

SHOW: Final = "import os; print(sorted(n for n in os.environ if n.startswith(('CRANE', 'APP_'))), sep='')"


class Project:
    """A project with one vault, and what a test puts into it."""

    def __init__(self, world: World) -> None:
        self.world = world
        operator = world.seeded.operator
        agent_id = world.seeded.credentials.agent_id
        self.id = operator.create_project("Quay", members=[agent_id])
        self.vault_id: VaultId = operator.create_vault("Quay", Classification.INTERNAL, self.id)
        operator.grant(agent_id, self.vault_id, Level.READ)

    def add(self, item: str, *fields: tuple[str, str, bool]) -> None:
        """Add an item; each field has a name, a value, and whether it is exported."""
        drafts = [
            FieldDraft(name, FieldType.SECRET, self.world.known.text(value, SecretKind.FIELD), exported=exported)
            for name, value, exported in fields
        ]
        self.world.seeded.operator.create_item(self.vault_id, item, ItemType.CUSTOM, [], drafts)

    def argv(self, *options: str, code: str = SHOW) -> tuple[str, ...]:
        """Return the command line."""
        return ("run", "--project", str(self.id), *options, "--", sys.executable, "-c", code)

    def run(self, *options: str, code: str = SHOW) -> Ended:
        """Run a program with nobody to ask."""
        return run(*self.argv(*options, code=code), environment=self.world.environment)

    def answered(self, answer: str, *options: str) -> Ended:
        """Run it at a terminal, and answer its question."""
        return run_at_terminal(*self.argv(*options), environment=self.world.environment, typed=(("[y/N]", f"{answer}\n"),))


@pytest.fixture
def project(world: World) -> Project:
    """Make a project that exports one of two fields."""
    made = Project(world)
    made.add("Crane", ("Key", "the-key-of-the-crane", True), ("Note", "the-note-of-the-crane", False))
    return made


def test_what_a_project_exports_is_confirmed_once_and_pinned(project: Project) -> None:
    """``--yes`` does not stand for it; a mark that comes later is asked about again."""
    alone = project.run("--yes")
    assert (alone.status, alone.out) == (1, "")
    assert "for the first time" in " ".join(alone.err.split())
    refused = project.answered("n")
    assert "Nothing was started" in refused.out
    agreed = project.answered("y")
    assert "CRANE_KEY from Quay / Crane / Key" in " ".join(agreed.out.split())
    assert "['CRANE_KEY']" in agreed.out
    assert project.run().out == "['CRANE_KEY']\n"
    project.add("Winch", ("Key", "the-key-of-the-winch", True))
    assert project.run().status == 1
    (state,) = (project.world.home / "state").glob("exports-*.json")
    assert state.stat().st_mode & 0o777 == 0o600
    assert "the-key" not in state.read_text()


def test_the_prefix_is_part_of_what_is_confirmed(project: Project) -> None:
    """Another prefix is another set of variables."""
    assert "['APP_CRANE_KEY']" in project.answered("y", "--prefix", "APP_").out
    assert project.run("--prefix", "APP_").out == "['APP_CRANE_KEY']\n"
    assert project.run().status == 1


def test_the_value_arrives_whole_and_is_masked(project: Project) -> None:
    """As with ``--env``, which stands beside it."""
    project.answered("y")
    code = "import os; print(os.environ['CRANE_KEY'] == 'the-key-of-the-' + 'crane', os.environ['CRANE_KEY'], os.environ['N'])"
    ended = project.run("--env", "N=r4://Quay/Crane/Note", code=code)
    assert ended.out == f"True {mark(f'r4://{project.vault_id}/Crane/Key')} {mark('r4://Quay/Crane/Note')}\n"


def test_a_clash_is_an_error_that_lists_both(project: Project) -> None:
    """Within the project, and with ``--env``."""
    project.answered("y")
    ended = project.run("--env", "CRANE_KEY=r4://Quay/Crane/Note")
    assert ended.status == 1
    assert "both set CRANE_KEY" in ended.err
    project.add("crane!", ("Key", "another-key-of-a-crane", True))
    twice = project.run()
    assert twice.status == 1
    assert "Two fields would be the variable CRANE_KEY" in twice.err
    assert twice.err.count(f"r4://{project.vault_id}/") == 2


def test_a_name_that_changes_programs_is_refused(project: Project) -> None:
    """The owner's item is named so that its variable would be one that loads code."""
    project.add("ld", ("preload", "the-path-of-something", True))
    ended = project.run()
    assert ended.status == 1
    assert "LD_PRELOAD changes how programs load" in " ".join(ended.err.split())


def test_a_project_that_exports_nothing_says_so(world: World) -> None:
    """Nothing is started."""
    empty = Project(world)
    empty.add("Crane", ("Key", "the-key-of-the-crane", False))
    ended = empty.run()
    assert (ended.status, ended.out) == (1, "")
    assert "exports nothing" in ended.err
