"""``python -m r4_mcp``."""

import sys

from r4_mcp.cli import main

if __name__ == "__main__":
    sys.exit(main())
