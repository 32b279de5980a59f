"""r4-mcp: an MCP server that gives agents the use of an R4 vault. The map of the rooms is in ``r4_mcp/README.md``."""

__version__ = "0.1.0"
