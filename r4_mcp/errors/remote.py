"""Errors whose cause is what the network or the service did.

What this file does not do: carry payloads; see the package.
"""

from __future__ import annotations

from r4_mcp.errors.base import R4Error


class NetworkError(R4Error):
    """The bytes did not arrive, or not within their bounds."""

    code = "network_error"


class UnreachableError(NetworkError):
    """No connection, or it broke."""

    code = "unreachable"


class DeadlineExceededError(NetworkError):
    """The call's total deadline passed."""

    code = "deadline_exceeded"


class ResponseTooLargeError(NetworkError):
    """The response is larger than its endpoint's byte cap, or compressed although identity was asked for."""

    code = "response_too_large"


class UnsupportedContentError(NetworkError):
    """The response is of another kind than JSON: content of an attachment, say. Its body was not read."""

    code = "unsupported_content"


class RedirectRefusedError(NetworkError):
    """The service answered with a redirect; the API key is never sent elsewhere."""

    code = "redirect_refused"


class ServiceError(R4Error):
    """The service answered with a refusal. ``service_code`` is one of the contract's codes, else ``None``."""

    code = "service_error"

    def __init__(
        self,
        message: str,
        *,
        status: int,
        service_code: str | None = None,
        permission: str | None = None,
        next_step: str | None = None,
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.status = status
        self.service_code = service_code
        self.permission = permission


class UnauthorizedError(ServiceError):
    """401: the API key is missing, wrong or no longer valid."""

    code = "unauthorized"


class PermissionDeniedError(ServiceError):
    """403: the API key lacks a permission, or the agent lacks a level on the vault."""

    code = "permission_denied"


class SignerRefusedError(ServiceError):
    """403 ``checkpoint_signer_required``: signed with a key that is not the current one."""

    code = "signer_refused"


class AbsentError(ServiceError):
    """404: the service has nothing of that id for this agent."""

    code = "absent"


class VersionConflictError(ServiceError):
    """409 ``checkpoint_version_conflict``: someone else wrote first."""

    code = "version_conflict"


class RateLimitedError(ServiceError):
    """429: too many requests. ``retry_after`` is the wait that the service asked for, in seconds, within the call's deadline."""

    code = "rate_limited"

    def __init__(self, message: str, *, status: int, service_code: str | None = None, retry_after: float = 0.0) -> None:
        super().__init__(message, status=status, service_code=service_code)
        self.retry_after = retry_after


class RequestRejectedError(ServiceError):
    """The service refused the request for another reason."""

    code = "request_rejected"


class VerificationError(R4Error):
    """What was served is not proven; nothing of it was used."""

    code = "verification_failed"


class MalformedError(VerificationError):
    """Served bytes are not of the strict form of the contract."""

    code = "malformed_response"


class SignatureError(VerificationError):
    """A signature does not verify under the key that it names."""

    code = "signature_invalid"


class SignerError(VerificationError):
    """The signer is unknown, revoked, retired, or may not sign this kind of thing."""

    code = "signer_not_trusted"


class TransparencyError(VerificationError):
    """The signer directory's transparency log does not prove what it must (RFC 6962)."""

    code = "transparency_failed"


class DisagreementError(VerificationError):
    """What was served differs from what was signed, or two signed things contradict each other."""

    code = "served_differs_from_signed"


class RollbackError(VerificationError):
    """Older than what this process has already verified."""

    code = "rollback"


class EquivocationError(VerificationError):
    """The same version with other content."""

    code = "equivocation"


class CheckpointMissingError(VerificationError):
    """A signed checkpoint is required and was not served."""

    code = "checkpoint_missing"


class WrappedKeyNotMineError(VerificationError):
    """The entry is wrapped for another key. Not damage: the only unwrap error that a loop may catch."""

    code = "wrapped_key_not_mine"


class WrappedKeyDamagedError(VerificationError):
    """The entry is for us and signed, but does not open to a 32-byte key."""

    code = "wrapped_key_damaged"


class EnvelopeError(VerificationError):
    """A field's ciphertext is not a v3 envelope, or does not open in its place."""

    code = "envelope_invalid"
