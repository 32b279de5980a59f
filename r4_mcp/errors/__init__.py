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
    │   ├── PlaceholderError            a {{r4://…}} is malformed, or stands where none may
    │   ├── AmbiguousReferenceError     fits several things; carries the candidates
    │   ├── NotFoundError               nothing visible to this agent fits
    │   ├── AlreadyExistsError          creating would collide with what is there
    │   ├── ValuesLostError             a write that was interrupted can't be finished; it must be asked for again
    │   ├── NotReadableError            exists, but has no value to read (FILE fields, a broken TOTP seed)
    │   └── ProgramError                a program can't be started
    ├── ConfigurationError          the operator of this process has something to set or repair
    │   ├── NotConfiguredError          a setting that is needed is absent
    │   ├── ApiKeyFormatError           the API key is not ``{accessKey}.{secret}``
    │   ├── PrivateKeyError             the private key can't be used
    │   ├── FileAccessError             a file is missing, unreadable, or readable by others
    │   ├── TrustStoreLostError         the memory of what was verified vanished
    │   ├── RotationUnresolvedError     a key rotation was begun and can't be settled now
    │   └── BusyError                   another process holds what this one needs
    ├── OnboardingError             R4's operator has a step to take for this agent
    │   ├── KeyMismatchError            another public key is active for this agent
    │   ├── KeyNotListedError           our key is not (or no longer) an active signer of the vault
    │   └── AwaitingGrantError          vault visible, no key wrapped for us
    ├── NetworkError                the bytes did not arrive, or not within their bounds
    │   ├── UnreachableError
    │   ├── DeadlineExceededError
    │   ├── ResponseTooLargeError
    │   ├── UnsupportedContentError     a raw request was answered with something other than JSON
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
    │   ├── ApprovalRequiredError       a person must say yes first
    │   ├── SecretInTextError           text that leaves for people or listings holds a secret
    │   ├── LeakBlockedError            an outgoing message held a known secret: a bug alarm
    │   ├── DestinationRefusedError     a URL that no website of an item covers, or that can't be checked
    │   ├── AddressRefusedError         a host whose network address may not be dialled
    │   ├── NotMaskableError            a value too short to be masked in what comes back
    │   └── SecretFileRefusedError      a path where no secret may be written
    └── InternalError               ours: a bug; carries an error id that the log repeats
"""

from __future__ import annotations

from r4_mcp.errors.base import R4Error
from r4_mcp.errors.local import (
    AddressRefusedError,
    AlreadyExistsError,
    AmbiguousReferenceError,
    ApiKeyFormatError,
    ApprovalRequiredError,
    AwaitingGrantError,
    BusyError,
    CallerError,
    ConfigurationError,
    DeniedError,
    DestinationRefusedError,
    FileAccessError,
    InternalError,
    InvalidArgumentError,
    KeyMismatchError,
    KeyNotListedError,
    LeakBlockedError,
    NotConfiguredError,
    NotFoundError,
    NotMaskableError,
    NotReadableError,
    OnboardingError,
    PlaceholderError,
    PolicyError,
    PrivateKeyError,
    ProgramError,
    ReferenceSyntaxError,
    RotationUnresolvedError,
    SecretFileRefusedError,
    SecretInTextError,
    TrustStoreLostError,
    UnknownToolError,
    ValuesLostError,
)
from r4_mcp.errors.remote import (
    AbsentError,
    CheckpointMissingError,
    DeadlineExceededError,
    DisagreementError,
    EnvelopeError,
    EquivocationError,
    MalformedError,
    NetworkError,
    PermissionDeniedError,
    RateLimitedError,
    RedirectRefusedError,
    RequestRejectedError,
    ResponseTooLargeError,
    RollbackError,
    ServiceError,
    SignatureError,
    SignerError,
    SignerRefusedError,
    TransparencyError,
    UnauthorizedError,
    UnreachableError,
    UnsupportedContentError,
    VerificationError,
    VersionConflictError,
    WrappedKeyDamagedError,
    WrappedKeyNotMineError,
)

__all__ = [
    "AbsentError",
    "AddressRefusedError",
    "AlreadyExistsError",
    "AmbiguousReferenceError",
    "ApiKeyFormatError",
    "ApprovalRequiredError",
    "AwaitingGrantError",
    "BusyError",
    "CallerError",
    "CheckpointMissingError",
    "ConfigurationError",
    "DeadlineExceededError",
    "DeniedError",
    "DestinationRefusedError",
    "DisagreementError",
    "EnvelopeError",
    "EquivocationError",
    "FileAccessError",
    "InternalError",
    "InvalidArgumentError",
    "KeyMismatchError",
    "KeyNotListedError",
    "LeakBlockedError",
    "MalformedError",
    "NetworkError",
    "NotConfiguredError",
    "NotFoundError",
    "NotMaskableError",
    "NotReadableError",
    "OnboardingError",
    "PermissionDeniedError",
    "PlaceholderError",
    "PolicyError",
    "PrivateKeyError",
    "ProgramError",
    "R4Error",
    "RateLimitedError",
    "RedirectRefusedError",
    "ReferenceSyntaxError",
    "RequestRejectedError",
    "ResponseTooLargeError",
    "RollbackError",
    "RotationUnresolvedError",
    "SecretFileRefusedError",
    "SecretInTextError",
    "ServiceError",
    "SignatureError",
    "SignerError",
    "SignerRefusedError",
    "TransparencyError",
    "TrustStoreLostError",
    "UnauthorizedError",
    "UnknownToolError",
    "UnreachableError",
    "UnsupportedContentError",
    "ValuesLostError",
    "VerificationError",
    "VersionConflictError",
    "WrappedKeyDamagedError",
    "WrappedKeyNotMineError",
]
