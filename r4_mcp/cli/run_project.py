"""What a project gives to ``r4-mcp run``: the fields that their owner marked as environment variables.

What this file does not do: decide whether a value may be used, or open one.

Rules:
1. A variable is named like the field's SCREAMING key, after the prefix that was asked for. Two fields of one name are an error
   that lists both.
2. The marks and the list of vaults are unsigned. So a person confirms once, at a terminal, which field goes into which variable;
   what is not confirmed, such as a mark that is set later, is asked about again, and ``--yes`` does not stand for it.
"""

from __future__ import annotations

import anyio

from r4_mcp.cli.prompts import require_yes
from r4_mcp.errors import AmbiguousReferenceError, InvalidArgumentError, NotFoundError
from r4_mcp.policy.pinned_exports import PinnedExports
from r4_mcp.policy.views import display
from r4_mcp.sinks.environment import check_name
from r4_mcp.vault.locator import FoundField
from r4_mcp.vault.references import screaming_key, write_reference
from r4_mcp.vault.runtime import VaultRuntime


async def project_fields(runtime: VaultRuntime, project: str, prefix: str, pinned: PinnedExports) -> dict[str, FoundField]:
    """Return the proven fields that a project exports, by name.

    Args:
        runtime: The configured agent.
        project: Id or name of the project.
        prefix: Before each name.
        pinned: What was confirmed.

    Raises:
        NotFoundError: No such project, or it exports nothing.
        InvalidArgumentError: A name can't carry a secret, or a field has no name that a variable could have.
        AmbiguousReferenceError: Rule 1.
        ApprovalRequiredError: There is nobody to confirm.
        DeniedError: The answer was no.
        R4Error: Not verified, refused, unreachable.
    """
    project_id = await runtime.locator.project(project)
    found: dict[str, FoundField] = {}
    for vault in await runtime.reader.list_vaults(project_id):
        for item_id, field_id in await runtime.exports.claimed(vault.id):
            field = await runtime.locator.field(write_reference(vault.id, item_id, field_id))
            name = _name(field, prefix)
            if name in found:
                raise AmbiguousReferenceError(
                    f"two fields would be the variable {name}", candidates=(by_ids(found[name]), by_ids(field))
                )
            found[name] = field
    if not found:
        raise NotFoundError("the project exports nothing that this agent can see", next_step="Mark fields for export in R4.")
    exports = {name: by_ids(field) for name, field in found.items()}
    new = await anyio.to_thread.run_sync(pinned.unconfirmed, project_id, exports)
    if new:
        listed = ", ".join(f"{name} from {_told(found[name])}" for name in new)
        require_yes(
            f"The service says that the project exports: {listed}. Give these to programs from now on?",
            yes=False,
            what="what a project exports for the first time",
            undone="nothing was started",
            typed=True,
        )
        await anyio.to_thread.run_sync(pinned.confirm, project_id, exports)
    return found


def by_ids(found: FoundField) -> str:
    """Return a field's reference by ids: what no renaming moves."""
    field = found.located.field
    return write_reference(found.located.vault.id, field.item.checkpoint.item_id, field.line.id)


def _name(found: FoundField, prefix: str) -> str:
    field = found.located.field
    key = screaming_key(field.item.checkpoint.name, field.line.name)
    if key is None:
        raise InvalidArgumentError(f"field {field.line.id} has a name without letters, so no variable can be named after it")
    name = prefix + key
    check_name(name)
    return name


def _told(found: FoundField) -> str:
    field = found.located.field
    return " / ".join(display(one.name) for one in (found.located.vault.summary.checkpoint, field.item.checkpoint, field.line))
