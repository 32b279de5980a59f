"""The part of a policy's text that is about files with secrets: ``[[write_secret_file.root]]``, read, and told in one line.

What this file does not do: read the policy file, or the rest of its text (``policy_text`` does).

Rules:
1. As in ``policy_text``: unknown keys, wrong types and doubles are errors; messages name keys, never values.
2. A path is absolute, without ``..``, and not the root of the file system, below which everything lies.
3. One folder may stand there several times, for several vaults or items.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from r4_mcp.core.record import is_id
from r4_mcp.core.wire import ItemId, VaultId
from r4_mcp.policy.file_rules import FileFormat, FileRoot
from r4_mcp.policy.invisible import is_invisible
from r4_mcp.policy.policy_keys import only_keys, read_list, read_words, wrong
from r4_mcp.vault.references import write_reference

MAX_ROOTS: Final = 64
MAX_PATH: Final = 512
"""Characters of a root's path."""

_TABLE: Final = "write_secret_file"
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}", re.ASCII)
"""Short and plain: it stands in the audit log, before the rule that decided."""


def read_roots(table: Mapping[str, object]) -> tuple[FileRoot, ...]:
    """Read the table ``[write_secret_file]``.

    Raises:
        ConfigurationError: It is not understood.
    """
    only_keys(table, {"root"}, _TABLE)
    entries = read_list(table, "root", MAX_ROOTS, _TABLE)
    roots = tuple(_root(number, entry) for number, entry in enumerate(entries, 1))
    names = [root.name for root in roots if root.name]
    if len(set(names)) != len(names):
        raise wrong(f"{_TABLE}.root has a name twice")
    if len({(root.path, root.vault_id, root.item_id) for root in roots}) != len(roots):
        raise wrong(f"{_TABLE}.root has a folder twice for the same vault or item")
    return roots


def root_line(root: FileRoot) -> str:
    """Return what a root comes to, for refusals and for the operator."""
    ids = (root.vault_id,) if root.item_id is None else (root.vault_id, root.item_id)
    return f"{root.title}: {root.path} takes {write_reference(*ids)} as {', '.join(sorted(root.formats))}"


def _root(number: int, entry: object) -> FileRoot:
    where = f"{_TABLE}.root, entry {number}"
    if not isinstance(entry, dict):
        raise wrong(f"{where} is not written as [[{_TABLE}.root]]")
    only_keys(entry, {"path", "vault", "item", "formats", "name"}, where)
    item = _id(entry, "item", where) if "item" in entry else None
    return FileRoot(
        number=number,
        path=_path(entry.get("path"), f"{where}: path"),
        vault_id=VaultId(_id(entry, "vault", where)),
        item_id=None if item is None else ItemId(item),
        formats=read_words(entry, "formats", FileFormat, where) or frozenset(FileFormat),
        name=_name(entry, where),
    )


def _id(entry: Mapping[str, object], key: str, where: str) -> str:
    found = entry.get(key)
    if not isinstance(found, str) or not is_id(found):
        step = "Write it as `r4-mcp ls` shows it: whoever can read these files sees their values, so each root names its vault."
        raise wrong(f"{where}: {key} is not an id of 24 lowercase hex characters", step)
    return found


def _path(value: object, where: str) -> str:
    path = value if isinstance(value, str) and len(value) <= MAX_PATH else ""
    plain = PurePosixPath(path)
    is_plain = plain.is_absolute() and str(plain) == path and ".." not in plain.parts and not path.startswith("//")
    if not is_plain or path == "/" or any(map(is_invisible, path)):
        raise wrong(f"{where} is not the absolute path of a folder, in its plain spelling of at most {MAX_PATH} characters")
    return path


def _name(entry: Mapping[str, object], where: str) -> str:
    name = entry.get("name", "")
    if not isinstance(name, str) or ("name" in entry and not _NAME.fullmatch(name)):
        raise wrong(f"{where}: name is not a word of at most 40 small letters, digits, - and _")
    return name
