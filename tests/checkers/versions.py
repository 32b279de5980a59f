"""Which checker and which client is run, as a table: names and versions from PyPI and npm.

What this file does not do: fetch them (``environments`` does). What they need in turn is resolved when they are fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PYPI: Final[Mapping[str, str]] = {
    # Checkers.
    "amagi-mcp-probe": "amagi-mcp-probe==0.1.0",
    "cisco-ai-mcp-scanner": "cisco-ai-mcp-scanner==4.8.7",
    "mcp-conform": "mcp-conform==0.1.0",
    "mcp-fuzzer": "mcp-fuzzer==0.7.0",
    # Clients.
    "fastmcp": "fastmcp==4.1.2",
    "google-adk": "google-adk[mcp]==2.13.0",
    "langchain": "langchain-mcp-adapters==0.3.2",
    "llama-index": "llama-index-tools-mcp==0.6.0",
    "mcp1": "mcp==1.30.0",
    "mcp2": "mcp==2.3.0",
    "openai-agents": "openai-agents==0.24.0",
    "pydantic-ai": "pydantic-ai-slim[mcp]==2.68.0",
}

NPM: Final[Mapping[str, str]] = {
    "conformance": "@modelcontextprotocol/conformance@0.2.0-alpha.12",
    "inspector": "@modelcontextprotocol/inspector@2.12.0",
    "node": "node@22.23.3",
}

NODE: Final = (22, 19)
"""The oldest Node.js that the npm ones run on; where the machine's is older, or there is none, npm's is fetched."""
