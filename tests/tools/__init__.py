"""Tests of the tools, driven through an MCP client."""
