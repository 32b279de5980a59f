"""A refusal of the machine API: status, code, one sentence (contract §1).

What this file does not do: decide. Sentences are our own words with ids that the caller may know; input is never quoted.
"""

from __future__ import annotations

from dataclasses import dataclass

from r4_mcp.core.encoding import Json


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer before it becomes bytes; ``body`` None is an empty body."""

    status: int
    body: Json


class RefusalError(Exception):
    """The machine API refuses a request. Not an R4Error: it is what the other side raises."""

    def __init__(self, status: int, code: str, message: str, *, permission: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.permission = permission

    def reply(self) -> Reply:
        """Return the documented error body."""
        error: dict[str, Json] = {"code": self.code, "message": self.message}
        if self.permission is not None:
            error["requiredPermission"] = self.permission
        return Reply(self.status, {"error": error})


def vault_not_found() -> RefusalError:
    """No vault of that id for this agent; whether one exists is not told."""
    return RefusalError(404, "vault_not_found", "no such vault is shared with this agent")


def item_not_found() -> RefusalError:
    """No item or field of that id in this vault."""
    return RefusalError(404, "vault_item_not_found", "no such item or field in this vault")


def project_not_found() -> RefusalError:
    """No project of that id for this agent."""
    return RefusalError(404, "project_not_found", "no such project is accessible to this agent")


def invalid_request(message: str) -> RefusalError:
    """The body breaks a rule, where the contract names no code of its own."""
    return RefusalError(400, "invalid_request", message)


def signer_required(message: str) -> RefusalError:
    """Signed with a key that may not sign here now."""
    return RefusalError(403, "checkpoint_signer_required", message)
