"""``python -m tests.mutation [--sample N | --all] [--only TEXT] [--seed S]``: prints what survived, and the score.

Exit status: 0 every mutant was killed or is caught by another defence that ``table`` names, 1 one survived, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter

from .running import Verdict, judge
from .sites import mutants
from .table import PACKAGE

_DEFAULT_SAMPLE = 40


def main(arguments: list[str] | None = None) -> int:
    """Judge the chosen mutants; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--sample", type=int, default=_DEFAULT_SAMPLE, metavar="N", help="judge N mutants chosen at random")
    amount.add_argument("--all", action="store_true", help="judge every mutant")
    parser.add_argument("--only", default="", metavar="TEXT", help="only files whose path holds TEXT, such as core/ or merkle")
    parser.add_argument("--seed", type=int, default=0, help="of the random choice")
    parser.add_argument("--workers", type=int, default=2, help="copies of the tree that are used at once")
    given = parser.parse_args(arguments)
    chosen = [mutant for mutant in mutants(PACKAGE) if given.only in mutant.file]
    if not given.all:
        chosen = random.Random(given.seed).sample(chosen, min(given.sample, len(chosen)))  # noqa: S311 - not a secret
    counted: Counter[Verdict] = Counter()
    for mutant, verdict, told in judge(chosen, workers=given.workers):
        counted[verdict] += 1
        if verdict is not Verdict.KILLED:
            sys.stdout.write(f"{verdict.value:<8} {mutant}{told and '  (' + told + ')'}\n")
            sys.stdout.flush()
    done = sum(counted.values())
    caught = counted[Verdict.KILLED] + counted[Verdict.COVERED]
    summary = ", ".join(f"{counted[verdict]} {verdict.value}" for verdict in Verdict)
    sys.stdout.write(f"{done} mutants: {summary}; score {100 * caught // max(done, 1)}%\n")
    return 0 if caught == done else 1


if __name__ == "__main__":
    sys.exit(main())
