"""What the operator's policy says of files with secrets: the folders below which they may be written, and from which vault.

What this file does not do: read a policy's text (``file_text`` does), say below which root a path lies (``use_file`` does), or
decide about a secret (``rules`` does).

Rules:
1. A root is a folder by its name alone. Whether it is there, and how it is reached, shows when it is used.
2. A root names the vault that it takes from, and one item of it where it says so. That opens nothing that ``rules`` close. None
   takes from everywhere: whoever can read a file sees its values, so to them it is as good as a reveal.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from r4_mcp.core.wire import ItemId, VaultId


class FileFormat(StrEnum):
    """What a file with secrets can be."""

    ENV = "env"
    JSON = "json"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class FileRoot:
    """A folder below which files may be written that hold values of one vault, or of one item.

    Attributes:
        number: Its place in the policy, from 1.
        path: The folder, as an absolute path in its plain spelling.
        vault_id: The vault that it takes from.
        item_id: One item of the vault; None for all of them.
        formats: What the files may be.
        name: The operator's word for it; empty for none.
    """

    number: int
    path: str
    vault_id: VaultId
    item_id: ItemId | None = None
    formats: frozenset[FileFormat] = frozenset(FileFormat)
    name: str = ""

    @property
    def title(self) -> str:
        """Its name in refusals, in the audit log and in the log."""
        return self.name or f"root {self.number}"

    def takes(self, vault_id: str, item_id: str) -> bool:
        """Say whether a value of an item may stand in a file below it (rule 2)."""
        return vault_id == self.vault_id and self.item_id in {None, item_id}
