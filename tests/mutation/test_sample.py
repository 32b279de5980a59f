"""A few defences are taken out in every run; ``python -m tests.mutation --all`` takes out each one."""

from __future__ import annotations

import random

import pytest

from .running import Verdict, judge
from .sites import Mutant, mutants
from .table import COVERED, PACKAGE, TESTS, guards_of

SAMPLE, SEED = 8, 15
QUICK = ("core/merkle.py", "core/signing.py", "core/envelope.py", "core/keys.py")
"""Files whose tests take a second or two; the others are for the whole run."""


def test_there_is_something_to_take_out() -> None:
    """Every file of the rooms that can refuse has mutants, each changes its file, and the tables name nothing that is gone."""
    found = mutants(PACKAGE)
    assert len(found) > 200
    for mutant in found:
        source = (PACKAGE / mutant.file).read_bytes()
        assert mutant.apply(source) != source
    assert COVERED.keys() <= {mutant.name for mutant in found}
    assert all((PACKAGE / file).exists() for file in TESTS)


def test_every_file_that_can_refuse_has_tests_of_its_own() -> None:
    """A file that came after the table is not left out of the whole run."""
    assert {mutant.file for mutant in mutants(PACKAGE) if not guards_of(mutant.file)} == set()


def test_every_mutant_is_still_python() -> None:
    """A mutant is killed by a test, never by a syntax error of its own making."""
    for mutant in mutants(PACKAGE):
        compile(mutant.apply((PACKAGE / mutant.file).read_bytes()), mutant.file, "exec")


@pytest.mark.mutation
def test_a_defence_that_is_taken_out_is_missed() -> None:
    """Of eight mutants, the same ones in every run, each fails a test or is caught by another defence that the table names."""
    quick = [mutant for mutant in mutants(PACKAGE) if mutant.file in QUICK and guards_of(mutant.file)]
    chosen: list[Mutant] = random.Random(SEED).sample(quick, SAMPLE)  # noqa: S311 - not a secret
    survived = [
        str(mutant) for mutant, verdict, _ in judge(chosen, workers=2) if verdict not in {Verdict.KILLED, Verdict.COVERED}
    ]
    assert survived == []
