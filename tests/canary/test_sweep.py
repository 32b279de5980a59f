"""Every tool under every condition, in both eras: plaintext leaves through ``read_secret``'s own field and nowhere else."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from itertools import product
from pathlib import Path

import pytest

from r4_mcp.emulator.faults import FAULTS
from r4_mcp.tools import ALL_TOOLS
from tests.switchboard import Switchboard

from .calls import RIGHT
from .conditions import FAMILIES, Combination, bounded, conditions, every
from .looking import OPEN
from .sweep import Sweep
from .vaults import Planted
from .wire import ERAS
from .wrong import SUBSETS


def test_every_tool_is_swept() -> None:
    """A tool that nobody says how to call is not swept: say it in ``calls.RIGHT``.

    The one for raw requests is hidden here, where no policy lists any; ``tests/policy/test_raw_answer`` is its sweep.
    """
    assert sorted(RIGHT) == sorted(tool.name for tool in ALL_TOOLS if not tool.requests)


def test_every_tool_meets_every_fault_and_every_set_of_mistakes(planted: Planted) -> None:
    """Nothing is left out by name; a mistake in an argument needs an argument."""
    for tool, era in product(RIGHT, ERAS):
        met = list(conditions(tool, planted, era))
        assert {one.fault.name for one in met if one.fault is not None} >= FAULTS.keys()
        assert {one.family for one in met} >= set(FAMILIES) - {"refused on writing"}
        if tool == "create_item":
            assert {one.way.mistakes for one in met if one.way is not None} == set(SUBSETS)


def test_the_bounded_sweep_has_every_pair(planted: Planted) -> None:
    """Over tools, families and eras, every pair that the whole sweep has."""

    def pairs(combinations: Iterable[Combination]) -> set[tuple[str, str]]:
        found: set[tuple[str, str]] = set()
        for one in combinations:
            tool, family, era = one.tool, one.condition.family, one.era
            found |= {(tool, family), (tool, era), (family, era)}
        return found

    assert pairs(bounded(planted)) == pairs(every(planted))


def assert_clean(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing was found, and what the server says of itself never changed."""
    with capsys.disabled():
        sys.stdout.write(f"\n{sweep.report()}\n")
    assert not Counter(finding.kind for finding in sweep.findings)
    assert {era: len(said) for era, said in sweep.listings.items()} == dict.fromkeys(ERAS, 1)


async def test_plaintext_leaves_through_read_secret_alone(
    planted: Planted, board: Switchboard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bounded sweep."""
    sweep = Sweep(planted, board, tmp_path)
    await sweep.run(bounded(planted))
    assert_clean(sweep, capsys)


@pytest.mark.sweep
async def test_plaintext_leaves_through_read_secret_alone_under_every_condition(
    planted: Planted, board: Switchboard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole sweep; what is known to be open is still open."""
    sweep = Sweep(planted, board, tmp_path)
    await sweep.run(every(planted))
    assert_clean(sweep, capsys)
    assert sweep.excused.keys() == OPEN.keys()
