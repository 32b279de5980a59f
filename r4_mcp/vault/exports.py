"""Fields that their owner marked for export as environment variables.

What this file does not do: prove. The mark is unsigned, so what is returned is the service's word alone: ids, each of which is
looked up and proven like any other field, and a set that a person has to confirm.
"""

from __future__ import annotations

from r4_mcp.core.encoding import parse_json
from r4_mcp.core.served import read_environment_fields
from r4_mcp.core.wire import FieldId, ItemId, VaultId
from r4_mcp.errors import DisagreementError
from r4_mcp.machine.client import MachineClient


class Exports:
    """Asks which fields of a vault are marked.

    Args:
        machine: The service.
    """

    def __init__(self, machine: MachineClient) -> None:
        self._machine = machine

    async def claimed(self, vault_id: VaultId) -> tuple[tuple[ItemId, FieldId], ...]:
        """Return the fields of a vault that the service says are marked, by item and field.

        Raises:
            MalformedError: Not the contract's form.
            DisagreementError: It answered for another vault.
            NetworkError: No answer.
            ServiceError: Refused.
        """
        raw = await self._machine.environment_fields(vault_id)
        answered, fields = read_environment_fields(parse_json(raw, what="environment fields"))
        if answered != vault_id or any(field.vault_id != vault_id for field in fields):
            raise DisagreementError(f"the environment fields of vault {vault_id} were answered for another one")
        return tuple((field.item_id, field.field.line.id) for field in fields)
