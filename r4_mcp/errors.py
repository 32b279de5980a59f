"""Every error of this project, one tree.

What it does not do: carry payloads. An error holds a sentence made of our own words, ids, sizes, versions and
rule numbers; never a value, a key, a token, a response body or a name that a server chose. The sentence
that tells the reader what to do next lives in ``server/explain``, one per class, unless only the raiser can know
it (the ``chmod`` of one file): then it is given as ``next_step``.

The tree, by whose turn it is to act::

    R4Error
    ├── CallerError                 the caller asked for something that can't be done as asked
    │   ├── InvalidArgumentError        an argument is missing, unknown, malformed or too large
    │   ├── UnknownToolError            no tool of that name is visible here
    │   ├── ReferenceSyntaxError        not a reference of the form r4://vault/item/field
    │   ├── AmbiguousReferenceError     fits several things; carries the candidates
    │   ├── NotFoundError               nothing visible to this agent fits
    │   ├── AlreadyExistsError          creating would collide with what is there
    │   ├── ValuesLostError             a write that was interrupted can't be finished; it must be asked for again
    │   └── NotReadableError            exists, but has no value to read (FILE fields, a broken TOTP seed)
    ├── ConfigurationError          the operator of this process has something to set or repair
    │   ├── NotConfiguredError          a setting that is needed is absent
    │   ├── ApiKeyFormatError           the API key is not ``{accessKey}.{secret}``
    │   ├── PrivateKeyError             the private key can't be used
    │   ├── FileAccessError             a file is missing, unreadable, or readable by others
    │   ├── TrustStoreLostError         the memory of what was verified vanished
    │   └── BusyError                   another process holds what this one needs
    ├── OnboardingError             R4's operator has a step to take for this agent
    │   ├── KeyMismatchError            another public key is active for this agent
    │   ├── KeyNotListedError           our key is not (or no longer) an active signer of the vault
    │   └── AwaitingGrantError          vault visible, no key wrapped for us
    ├── NetworkError                the bytes did not arrive, or not within their bounds
    │   ├── UnreachableError
    │   ├── DeadlineExceededError
    │   ├── ResponseTooLargeError
    │   └── RedirectRefusedError
    ├── ServiceError                the service answered with a refusal
    │   ├── UnauthorizedError           401
    │   ├── PermissionDeniedError       403, names the permission
    │   ├── SignerRefusedError          403 checkpoint_signer_required
    │   ├── AbsentError                 404
    │   ├── VersionConflictError        409 checkpoint_version_conflict
    │   ├── RateLimitedError            429
    │   └── RequestRejectedError        400, 409, 413 and whatever else
    ├── VerificationError           what was served is not proven; nothing of it was used
    │   ├── MalformedError              not the strict form of contract §2 to §7
    │   ├── SignatureError              a signature does not verify
    │   ├── SignerError                 the signer is unknown, revoked, or may not sign this
    │   ├── TransparencyError           the signer directory's log proof fails
    │   ├── DisagreementError           served and signed, or two signed things, differ
    │   ├── RollbackError               older than what was already verified
    │   ├── EquivocationError           same version, other content
    │   ├── CheckpointMissingError      no signed checkpoint where one is required
    │   ├── WrappedKeyNotMineError      wrapped for another key: not damaged, not for us
    │   ├── WrappedKeyDamagedError      for us and signed, but it does not open
    │   └── EnvelopeError               a field's ciphertext does not open in its place
    ├── PolicyError                 a product promise forbids it
    │   ├── DeniedError
    │   ├── SecretInTextError           text that leaves for people or listings holds a secret
    │   └── LeakBlockedError            an outgoing message held a known secret: a bug alarm
    └── InternalError               ours: a bug; carries an error id that the log repeats
"""

from __future__ import annotations

from typing import ClassVar


class R4Error(Exception):
    """Base of everything this project raises on purpose.

    Args:
        message: One sentence, secret-free by construction: our own words, ids, sizes, versions, rule numbers.
        next_step: What to do now, when only the raiser can know it; else ``server/explain`` has it by class.
        candidates: References that fit, for errors that ask the caller to choose.
    """

    code: ClassVar[str] = "r4_error"

    def __init__(self, message: str, *, next_step: str | None = None, candidates: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        self.candidates = candidates


class CallerError(R4Error):
    """The caller asked for something that can't be done as asked."""

    code = "caller_error"


class InvalidArgumentError(CallerError):
    """An argument is missing, unknown, malformed or too large. The message names it, never its value."""

    code = "invalid_argument"


class UnknownToolError(CallerError):
    """No tool of that name is visible here."""

    code = "unknown_tool"


class ReferenceSyntaxError(CallerError):
    """Not a reference of contract §8."""

    code = "invalid_reference"


class AmbiguousReferenceError(CallerError):
    """A reference fits several things; ``candidates`` lists them."""

    code = "ambiguous_reference"


class NotFoundError(CallerError):
    """Nothing that this agent can see fits."""

    code = "not_found"


class AlreadyExistsError(CallerError):
    """Creating this would collide with something that exists."""

    code = "already_exists"


class NotReadableError(CallerError):
    """The field exists, but has no value that can be read."""

    code = "not_readable"


class ValuesLostError(CallerError):
    """An interrupted write can't be finished: its values are sealed under a vault key that is gone. Nothing was stored."""

    code = "values_lost"


class ConfigurationError(R4Error):
    """The operator of this process has something to set or repair."""

    code = "configuration_invalid"


class NotConfiguredError(ConfigurationError):
    """A setting that is needed is absent."""

    code = "not_configured"


class ApiKeyFormatError(ConfigurationError):
    """The API key is not of the form ``{accessKey}.{secret}`` (contract §1)."""

    code = "api_key_malformed"


class PrivateKeyError(ConfigurationError):
    """The private key can't be used: not RSA, wrong size or exponent, damaged, or encrypted."""

    code = "private_key_unusable"


class FileAccessError(ConfigurationError):
    """A file is missing, unreadable, or open to other users."""

    code = "file_access"


class TrustStoreLostError(ConfigurationError):
    """What this agent had verified before is gone; trusting anew is a person's decision."""

    code = "trust_store_lost"


class BusyError(ConfigurationError):
    """Another process holds what this one needs."""

    code = "busy"


class OnboardingError(R4Error):
    """R4's operator has a step to take for this agent (contract §5, *Order matters*)."""

    code = "onboarding_incomplete"


class KeyMismatchError(OnboardingError):
    """Another public key than ours is active for this agent; it is never replaced silently."""

    code = "key_mismatch"


class KeyNotListedError(OnboardingError):
    """Our key is not an active signer in this vault's directory."""

    code = "key_not_listed"


class AwaitingGrantError(OnboardingError):
    """The vault is visible, but no key is wrapped for this agent."""

    code = "awaiting_grant"


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


class RedirectRefusedError(NetworkError):
    """The service answered with a redirect; the API key is never sent elsewhere."""

    code = "redirect_refused"


class ServiceError(R4Error):
    """The service answered with a refusal. ``service_code`` is one of the contract's codes, else ``None``."""

    code = "service_error"

    def __init__(self, message: str, *, status: int, service_code: str | None = None, permission: str | None = None) -> None:
        super().__init__(message)
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


class PolicyError(R4Error):
    """A product promise forbids it."""

    code = "policy_error"


class DeniedError(PolicyError):
    """The operator's switches or policy deny this."""

    code = "denied"


class SecretInTextError(PolicyError):
    """Text meant for people or for listings holds a secret. One message for every kind of hit."""

    code = "secret_in_text"


class LeakBlockedError(PolicyError):
    """An outgoing message held a known secret in a place that is not the explicit read: a bug alarm."""

    code = "leak_blocked"


class InternalError(R4Error):
    """A bug of ours. The message carries an error id; the log has the same id and no values."""

    code = "internal_error"
