"""MCP clients and agent frameworks, each in an environment of its own, drive the real server: `pytest -m clients`."""
