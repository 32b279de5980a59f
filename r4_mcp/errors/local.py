"""Errors whose cause is on this side: the caller, this machine, the operator, a product promise, or a bug of ours.

What this file does not do: carry payloads; see the package.
"""

from __future__ import annotations

from r4_mcp.errors.base import R4Error


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


class PlaceholderError(CallerError):
    """A ``{{r4://vault/item/field}}`` is malformed, stands where none may, or does not fit its place."""

    code = "invalid_placeholder"


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


class ProgramError(CallerError):
    """A program can't be started: missing, not executable, or its working folder is."""

    code = "program_not_started"


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


class RotationUnresolvedError(ConfigurationError):
    """A key rotation was begun and its outcome can't be settled now; both keys are kept."""

    code = "rotation_unresolved"


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


class PolicyError(R4Error):
    """A product promise forbids it."""

    code = "policy_error"


class DeniedError(PolicyError):
    """The operator's switches or policy deny this."""

    code = "denied"


class ApprovalRequiredError(PolicyError):
    """A person must say yes first.

    Args:
        message: Why, in our own words; what a client that can't ask is told.
        question: What the person is asked. It may name things of the vault, so it goes to the person only.
        subject: What the answer is bound to: the rule, resolved ids, versions.
    """

    code = "approval_required"

    def __init__(self, message: str, *, question: str = "", subject: tuple[str, ...] = (), next_step: str | None = None) -> None:
        super().__init__(message, next_step=next_step)
        self.question = question
        self.subject = subject


class SecretInTextError(PolicyError):
    """Text meant for people or for listings holds a secret. One message for every kind of hit."""

    code = "secret_in_text"


class LeakBlockedError(PolicyError):
    """An outgoing message held a known secret in a place that is not the explicit read: a bug alarm."""

    code = "leak_blocked"


class DestinationRefusedError(PolicyError):
    """A URL that no website of an item covers, or that is written so that it can't be compared with one."""

    code = "destination_refused"


class AddressRefusedError(PolicyError):
    """A host whose network address is loopback, private or otherwise not public, and not listed by the operator."""

    code = "address_refused"


class NotMaskableError(PolicyError):
    """A value is too short to be found in what comes back without finding it everywhere."""

    code = "not_maskable"


class SecretFileRefusedError(PolicyError):
    """A path where no secret may be written: outside its root, through a link, or where git would pick it up."""

    code = "secret_file_refused"


class InternalError(R4Error):
    """A bug of ours. The message carries an error id; the log has the same id and no values."""

    code = "internal_error"
