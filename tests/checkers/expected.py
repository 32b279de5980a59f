"""Which scenarios of the official conformance suite fail here, each with its reason.

What this file does not do: excuse a failure of the protocol. The suite is made for a server that has its fixtures: tools,
resources and prompts of certain names that misbehave or ask in a certain way. A vault has no use for them.

Rules:
1. ``FIXTURES`` fail; in those that ``CHECKS`` names too, only the checks that it names.
2. What begins as ``EXTENSIONS`` says is not looked at: the extension is optional and not offered.
3. A scenario that is in the table and passes is as wrong as one that is not and fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SPECIFICATIONS: Final = ("2025-11-25", "2026-07-28")

_CONTENT: Final = "needs a fixture tool that returns this kind of content; every result here is one text"
_ASKS: Final = "needs a fixture tool that asks the client for this; here only approvals are asked for, by tools that need one"
_RESOURCE: Final = "needs the fixture's resource of this URI"
_PROMPT: Final = "needs the fixture's prompt of this name"
_LOGGING: Final = "logging by the protocol is deprecated and not offered; the log goes to stderr"

FIXTURES: Final[Mapping[str, str]] = {
    "tools-call-image": _CONTENT,
    "tools-call-audio": _CONTENT,
    "tools-call-embedded-resource": _CONTENT,
    "tools-call-mixed-content": _CONTENT,
    "tools-call-with-logging": _LOGGING,
    "logging-set-level": _LOGGING,
    "tools-call-with-progress": "needs a fixture tool that tells of progress without doing anything",
    "tools-call-sampling": _ASKS,
    "tools-call-elicitation": _ASKS,
    "elicitation-sep1034-defaults": _ASKS,
    "elicitation-sep1330-enums": _ASKS,
    "input-required-result-basic-elicitation": _ASKS,
    "input-required-result-basic-sampling": _ASKS,
    "input-required-result-basic-list-roots": _ASKS,
    "input-required-result-request-state": _ASKS,
    "input-required-result-multiple-input-requests": _ASKS,
    "input-required-result-multi-round": _ASKS,
    "input-required-result-non-tool-request": "needs a fixture prompt that asks the client for something",
    "input-required-result-result-type": _ASKS,
    "input-required-result-tampered-state": _ASKS,
    "input-required-result-capability-check": _ASKS,
    "server-stateless": "two of its checks need a fixture tool that demands sampling",
    "json-schema-2020-12": "needs a fixture tool whose schema uses every keyword",
    "http-custom-header-server-validation": "needs a fixture tool with x-mcp-header; the server is served over stdio only",
    "server-sse-polling": "needs a fixture tool that closes its stream; the server is served over stdio only",
    "resources-subscribe": _RESOURCE,
    "resources-unsubscribe": _RESOURCE,
    "resources-read-text": _RESOURCE,
    "resources-read-binary": _RESOURCE,
    "resources-templates-read": _RESOURCE,
    "prompts-get-simple": _PROMPT,
    "prompts-get-with-args": _PROMPT,
    "prompts-get-embedded-resource": _PROMPT,
    "prompts-get-with-image": _PROMPT,
    "completion-complete": _PROMPT,
}

EXTENSIONS: Final = "tasks-"
"""How the scenarios of the tasks extension begin."""

CHECKS: Final[Mapping[str, frozenset[str]]] = {
    "server-stateless": frozenset({"sep-2575-server-rejects-undeclared-capability", "sep-2575-missing-capability-http-400"}),
}
"""Where only some checks of a scenario need the fixture: those."""
