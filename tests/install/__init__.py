"""``r4-mcp install``: hosts' configurations gain and lose one entry, and nothing else."""
