"""A configuration as each host's users have it: other servers, unknown keys, comments where the host allows them.

The layouts are those that the hosts' own documentation and settings editors write. ``FOREIGN`` stands where people put a secret.
"""

from __future__ import annotations

from typing import Final

FOREIGN: Final = "a-secret-of-another-server"

_JSON: Final = f"""{{
  "globalShortcut": "Ctrl+Space",
  "mcpServers": {{
    "files": {{
      "command": "npx",
      "args": ["-y", "@modelcontextprotocol/server-filesystem", "/home/ada"],
      "env": {{ "TOKEN": "{FOREIGN}" }}
    }}
  }},
  "scale": 1.50,
  "preferences": {{ "menuBarEnabled": false, "big": 12345678901234567890 }}
}}"""

_CLAUDE_CODE: Final = f"""{{
  "numStartups": 41,
  "oauthAccount": {{ "refresh": "{FOREIGN}" }},
  "mcpServers": {{}},
  "projects": {{
    "/home/ada/work": {{ "mcpServers": {{ "r4": {{ "command": "of-this-project" }} }}, "history": [] }}
  }}
}}
"""

_CURSOR: Final = f"""{{"mcpServers": {{"db": {{"command": "db-mcp", "env": {{"TOKEN": "{FOREIGN}"}}}}}}}}"""

_VSCODE: Final = f"""{{
\t// Servers of every workspace
\t"inputs": [
\t\t{{ "type": "promptString", "id": "key", "description": "Key", "password": true }},
\t],
\t"servers": {{
\t\t"github": {{
\t\t\t"type": "http",
\t\t\t"url": "https://example.test/mcp", // not ours
\t\t\t"headers": {{ "Authorization": "{FOREIGN}" }}
\t\t}} /* the last one */
\t}}
}}
"""

_WINDSURF: Final = f"""{{\r
    "mcpServers": {{\r
        "web": {{\r
            "serverUrl": "https://example.test/{FOREIGN}"\r
        }}\r
    }}\r
}}\r
"""

_CODEX: Final = f"""# Codex of Ada
model = "gpt-5"

[mcp_servers.docs]
command = "docs-mcp"   # hers
env = {{ "TOKEN" = "{FOREIGN}" }}

[projects."/home/ada/work"]
trust_level = "trusted"
"""

_GEMINI: Final = f"""\ufeff{{
    // set by /auth
    "security": {{ "auth": {{ "selectedType": "oauth-personal" }} }},
    "apiKey": "{FOREIGN}"
}}
"""

_ZED: Final = f"""// Zed settings
//
// To see all of Zed's default settings without changing your
// custom settings, run `zed: open default settings`.
{{
  "theme": {{ "mode": "system", "dark": "One Dark" }},
  "vim_mode": true, // always
  "context_servers": {{
    "search": {{
      "command": "search-mcp",
      "args": [],
      "env": {{ "TOKEN": "{FOREIGN}" }},
    }},
  }},
}}
"""

SAMPLES: Final = {
    "claude-desktop": _JSON,
    "claude-code": _CLAUDE_CODE,
    "cursor": _CURSOR,
    "vscode": _VSCODE,
    "windsurf": _WINDSURF,
    "codex": _CODEX,
    "gemini": _GEMINI,
    "zed": _ZED,
}
"""By host."""
