"""``r4-mcp install``: our entry in the configuration of an MCP host, and nothing else of it.

``places`` says where each host keeps its servers, ``entry`` what is written there, ``jsonc``, ``json_edit`` and ``toml_edit`` how
a text gains or loses one entry, ``config_file`` how a file is replaced, and ``install`` is the command.
"""
