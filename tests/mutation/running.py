"""Runs the tests of one file against each of its mutants, in scratch copies of the tree.

What this file does not do: touch the tree itself.
"""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from enum import Enum
from pathlib import Path
from typing import Final

from .sites import Mutant
from .table import COVERED, PACKAGE, guards_of

MUTANT_SECONDS: Final = 240
"""A mutant that hangs its tests is noticed, too."""

_PYTEST: Final = ("-m", "pytest", "-n", "0", "-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:randomly")
_COPIED: Final = ("r4_mcp", "tests")


class Verdict(Enum):
    """What became of a mutant."""

    KILLED = "killed"
    COVERED = "covered"
    SURVIVED = "SURVIVED"
    UNTESTED = "UNTESTED"


def judge(chosen: Sequence[Mutant], *, workers: int) -> Iterator[tuple[Mutant, Verdict, str]]:
    """Judge mutants as they are done; a verdict comes with what is to be told about it.

    Raises:
        RuntimeError: The tests fail without any mutant, so that they prove nothing.
    """
    with tempfile.TemporaryDirectory(prefix="mutation-") as scratch, ThreadPoolExecutor(workers) as pool:
        copies: queue.Queue[Path] = queue.Queue()
        for number in range(workers):
            copies.put(_copy(Path(scratch) / str(number)))
        _expect_healthy(sorted({test for mutant in chosen for test in guards_of(mutant.file)}), copies)
        futures: dict[Future[tuple[Verdict, str]], Mutant] = {pool.submit(_judge, one, copies): one for one in chosen}
        for future in as_completed(futures):
            verdict, told = future.result()
            yield futures[future], verdict, told


def _copy(target: Path) -> Path:
    root = PACKAGE.parent
    ignored = shutil.ignore_patterns("__pycache__", ".cache", ".hypothesis")
    for name in _COPIED:
        shutil.copytree(root / name, target / name, ignore=ignored)
    shutil.copyfile(root / "pyproject.toml", target / "pyproject.toml")
    return target


def _expect_healthy(tests: Sequence[str], copies: queue.Queue[Path]) -> None:
    copy = copies.get()
    try:
        if tests and _run(copy, tests) != 0:
            message = f"the tests fail without any mutant: {' '.join(tests)}"
            raise RuntimeError(message)
    finally:
        copies.put(copy)


def _judge(mutant: Mutant, copies: queue.Queue[Path]) -> tuple[Verdict, str]:
    tests = guards_of(mutant.file)
    if not tests:
        return Verdict.UNTESTED, "no test of this file is in the table"
    copy = copies.get()
    try:
        target = copy / PACKAGE.name / mutant.file
        original = target.read_bytes()
        target.write_bytes(mutant.apply(original))
        try:
            # Exit status 1 is a failed test and 2 an error while collecting; anything else is a fault of this script.
            status = _run(copy, tests)
        finally:
            target.write_bytes(original)
    finally:
        copies.put(copy)
    if status != 0:
        return Verdict.KILLED, ""
    defence = COVERED.get(mutant.name)
    return (Verdict.SURVIVED, "") if defence is None else (Verdict.COVERED, defence)


def _run(copy: Path, tests: Sequence[str]) -> int:
    # The copy comes first on the path, before the installed package; -B, so that no bytecode of another mutant is reused.
    # Tests of the pure room need none of the doors that the outer conftest opens, and start twice as fast without.
    pure = ("--confcutdir", "tests/core") if all(test.startswith("tests/core/") for test in tests) else ()
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        return subprocess.run(
            [sys.executable, "-B", *_PYTEST, *pure, *tests],
            cwd=copy,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=MUTANT_SECONDS,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        return -1
