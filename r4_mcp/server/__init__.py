"""One door: find, parse, run, encode, explain; and the MCP wiring around it."""
