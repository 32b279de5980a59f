"""What a start loads: nothing that its first call does not need. Frameworks start a process for a call."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from r4_mcp.emulator.embedded import open_embedded
from r4_mcp.secret import KnownSecrets

pytestmark = pytest.mark.stdio

SESSION: Final = (
    {
        "id": 0,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "0"}},
    },
    {"method": "notifications/initialized"},
    {"id": 1, "method": "tools/call", "params": {"name": "list_vaults", "arguments": {}}},
)

UNNEEDED: Final = {
    "httpcore": "an HTTP library, where nothing is asked over HTTP",
    "h11": "its parser",
    "detect_secrets": "what looks for shapes, where no text is looked at",
    "keyring": "what a passphrase is kept in",
}


def test_a_local_vault_is_listed_without_what_other_calls_need(tmp_path: Path) -> None:
    """By Python's own account of what it imported."""
    open_embedded(tmp_path / "local", KnownSecrets(), bits=2048)
    account = tmp_path / "imports"
    command = [sys.executable, "-X", "importtime", "-m", "r4_mcp", "serve", "--local"]
    environment = {**os.environ, "R4_HOME": str(tmp_path)}
    with (
        account.open("w") as errors,
        subprocess.Popen(
            command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        for message in SESSION:
            process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
            process.stdin.flush()
        answer = next(told for told in map(json.loads, process.stdout) if told.get("id") == 1)
        process.stdin.close()
    assert answer["result"]["structuredContent"]["vaults"] == []
    imported = set(re.findall(r"^import time:[\d |]+\| +(\w+)$", account.read_text(), re.MULTILINE))
    assert {"r4_mcp", "mcp", "cryptography"} <= imported
    assert not imported & set(UNNEEDED)
