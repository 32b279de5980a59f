"""The tool ``write_secret_file``: secrets go into a file, and none is shown."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, WithJsonSchema

from r4_mcp.policy.file_rules import FileFormat
from r4_mcp.policy.gate import Gate
from r4_mcp.policy.outcomes import SecretFile
from r4_mcp.policy.use_file import FileDraft
from r4_mcp.tools.tool import Arguments, Tool


class WriteSecretFileArguments(Arguments):
    """The file."""

    path: Annotated[str, Field(max_length=4096)]
    format: Annotated[FileFormat, Field(strict=False)]
    # The names are the program's own; the gate bounds the whole.
    entries: Annotated[dict[str, str], WithJsonSchema({"type": ["object"]})]
    replace: bool = False


async def _run(gate: Gate, arguments: WriteSecretFileArguments) -> SecretFile:
    draft = FileDraft(arguments.path, arguments.format, arguments.entries, replaces=arguments.replace)
    return await gate.write_secret_file(draft)


WRITE_SECRET_FILE = Tool(
    name="write_secret_file",
    title="Secret file",
    description="Write a file of secrets (name: reference). Who reads it sees them.",
    arguments=WriteSecretFileArguments,
    result=SecretFile,
    run=_run,
    read_only=False,
    destructive=True,
    files=True,
)
