"""What the model reads: one file per tool, and the one list of them all."""

from __future__ import annotations

from typing import Any, Final

from r4_mcp.tools.archive_item import ARCHIVE_ITEM
from r4_mcp.tools.archive_vault import ARCHIVE_VAULT
from r4_mcp.tools.create_item import CREATE_ITEM
from r4_mcp.tools.create_vault import CREATE_VAULT
from r4_mcp.tools.describe_item import DESCRIBE_ITEM
from r4_mcp.tools.exposure import EXPOSURE
from r4_mcp.tools.http_request import HTTP_REQUEST
from r4_mcp.tools.list_items import LIST_ITEMS
from r4_mcp.tools.list_projects import LIST_PROJECTS
from r4_mcp.tools.list_vaults import LIST_VAULTS
from r4_mcp.tools.machine_request import MACHINE_REQUEST
from r4_mcp.tools.read_secret import READ_SECRET
from r4_mcp.tools.report_gap import REPORT_GAP
from r4_mcp.tools.rotate_key import ROTATE_KEY
from r4_mcp.tools.run_command import RUN_COMMAND
from r4_mcp.tools.search_items import SEARCH_ITEMS
from r4_mcp.tools.tool import Tool
from r4_mcp.tools.update_item import UPDATE_ITEM
from r4_mcp.tools.whoami import WHOAMI
from r4_mcp.tools.write_secret_file import WRITE_SECRET_FILE

# Each tool has its own argument type, which a tuple of all of them can't name.
ALL_TOOLS: Final[tuple[Tool[Any], ...]] = (
    WHOAMI,
    LIST_PROJECTS,
    LIST_VAULTS,
    LIST_ITEMS,
    SEARCH_ITEMS,
    DESCRIBE_ITEM,
    READ_SECRET,
    CREATE_VAULT,
    CREATE_ITEM,
    UPDATE_ITEM,
    ARCHIVE_ITEM,
    ARCHIVE_VAULT,
    ROTATE_KEY,
    EXPOSURE,
    REPORT_GAP,
    MACHINE_REQUEST,
    HTTP_REQUEST,
    RUN_COMMAND,
    WRITE_SECRET_FILE,
)
