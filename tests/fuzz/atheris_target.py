"""Coverage-guided fuzzing on demand, where ``atheris`` is installed (``pip install 'atheris>=3,<4'``; Linux and macOS).

    python -m tests.fuzz.atheris_target "item listing" -max_total_time=300 [FOLDER of inputs to keep]

Without a name the first byte of each input chooses the target. Everything after the name goes to libFuzzer. An input that crashes
a parser is written to ``crash-…`` in the current folder; feed it again by giving its path.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

_ABSENT = "atheris is not installed: pip install 'atheris>=3,<4'\n"


def main(arguments: list[str]) -> int:
    """Fuzz one target, or all of them, until libFuzzer ends the process."""
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError:
        sys.stderr.write(_ABSENT)
        return 1
    # Only what is imported here is instrumented: the package itself.
    with atheris.instrument_imports(include=["r4_mcp"]):
        targets = importlib.import_module("tests.fuzz.targets")
        # Made before the first input, so that making a key is not taken for a slow input.
        importlib.import_module("tests.fuzz.documents").documents()
    names = list(targets.TARGETS)
    named = arguments[0] if arguments and arguments[0] in names else None

    def one_input(raw: bytes) -> None:
        if named is not None:
            targets.feed(named, raw)
        elif raw:
            targets.feed(names[raw[0] % len(names)], raw[1:])

    atheris.Setup([sys.argv[0], *(arguments if named is None else arguments[1:])], one_input)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
