"""Published checkers of MCP servers, run against the real program: `pytest -m checkers`."""
