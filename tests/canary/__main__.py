"""``python -m tests.canary``: plays every combination and prints what was looked through.

Exit status: 0 nothing was found, 1 a plaintext stood where none may be, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import anyio

from tests.switchboard import switchboard

from .conditions import FAMILIES, bounded, every
from .sweep import Sweep
from .vaults import plant


def main(arguments: list[str] | None = None) -> int:
    """Run the sweep; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.canary", description=__doc__)
    parser.add_argument("--bounded", action="store_true", help="only what pytest plays by default")
    parser.add_argument("--family", choices=FAMILIES, action="append", help="only conditions of this family; may be repeated")
    given = parser.parse_args(arguments)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, switchboard() as board:
        planted = plant(Path(folder) / "planted")
        (Path(folder) / "sweep").mkdir()
        sweep = Sweep(planted, board, Path(folder) / "sweep")
        chosen = bounded(planted) if given.bounded else every(planted)
        anyio.run(sweep.run, [one for one in chosen if given.family is None or one.condition.family in given.family])
    sys.stdout.write(f"{sweep.report()}\n{time.monotonic() - started:.0f} seconds\n")
    return 1 if sweep.findings or any(len(said) > 1 for said in sweep.listings.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
