"""From errors to what a reader does next: total over the tree of ``errors``.

What this file does not do: look into an error for more than its class, its own sentence, its next step and its candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from r4_mcp import errors

_TRY_LATER: Final = "Check the service's address and the network, then try again."
_DO_NOT_USE: Final = (
    "Nothing of it was used. Don't retry in a loop: tell the operator, who compares with another device or asks R4's support."
)
_ASK_OPERATOR: Final = "Ask the operator of R4 for it; whoami shows what this agent may do."

NEXT_STEPS: Final[dict[type[errors.R4Error], str]] = {
    errors.R4Error: "Call whoami to see what is missing.",
    errors.CallerError: "Correct the call and try again.",
    errors.InvalidArgumentError: "Correct the named argument and call again.",
    errors.UnknownToolError: "List the tools and call one of them.",
    errors.ReferenceSyntaxError: "Use a reference from list_vaults, list_items or describe_item, such as r4://vault/item/field.",
    errors.PlaceholderError: "Write {{r4://vault/item/field}} with nothing else inside, and only in a place that takes one.",
    errors.AmbiguousReferenceError: "Call again with one of the candidates.",
    errors.NotFoundError: "Look it up with list_vaults, list_items or describe_item.",
    errors.AlreadyExistsError: "Choose another name, or archive what is there first.",
    errors.NotReadableError: "Call describe_item to see which fields have a value.",
    errors.ValuesLostError: "Store it again with its values.",
    errors.ProgramError: "Give the absolute path of an executable program and an existing working folder.",
    errors.ConfigurationError: "Ask the operator of this machine to correct it; `r4-mcp --help` lists the settings.",
    errors.NotConfiguredError: "Set it and start the server again; `r4-mcp --help` lists the settings.",
    errors.ApiKeyFormatError: "Set R4_API_KEY to the key as R4 showed it: accessKey, a dot, secret.",
    errors.PrivateKeyError: "Point R4_PRIVATE_KEY_PATH at the agent's RSA private key in PEM.",
    errors.FileAccessError: "Correct the file's path, owner or mode, and start the server again.",
    errors.TrustStoreLostError: "Tell the operator of this machine: restore the trust store, or run `r4-mcp trust reset`.",
    errors.BusyError: "Try again in a moment.",
    errors.RotationUnresolvedError: "Run `r4-mcp doctor`; keep every key file until `r4-mcp rotate-key` has finished.",
    errors.OnboardingError: "Ask the operator of R4 to finish setting this agent up; whoami shows what is missing.",
    errors.KeyMismatchError: "Use the private key that belongs to the registered one, or ask the operator for a new agent.",
    errors.KeyNotListedError: "Ask the operator to grant this agent access to the vault again, now that its key is registered.",
    errors.AwaitingGrantError: (
        "The vault was shared before this agent's key was registered. Ask the operator to grant access again."
    ),
    errors.NetworkError: _TRY_LATER,
    errors.UnreachableError: _TRY_LATER,
    errors.DeadlineExceededError: _TRY_LATER,
    errors.ResponseTooLargeError: "Tell the operator: the service answers with more than its contract allows.",
    errors.UnsupportedContentError: (
        "Content of attachments can't be read here: how it is encrypted is not published. Tell R4 with report_gap."
    ),
    errors.RedirectRefusedError: "Set R4_BASE_URL to the service's own address; the API key is never sent to another.",
    errors.ServiceError: "Tell the operator.",
    errors.UnauthorizedError: "Check R4_API_KEY: it may be wrong, expired or revoked. Only the operator can issue another.",
    errors.PermissionDeniedError: _ASK_OPERATOR,
    errors.SignerRefusedError: "This machine's key was replaced. Use the current private key, or ask the operator.",
    errors.AbsentError: "Look it up with list_vaults or list_items: it may have been archived.",
    errors.VersionConflictError: "Try again: someone else wrote first.",
    errors.RateLimitedError: "Wait a minute, then try again with fewer calls.",
    errors.RequestRejectedError: "Check the arguments; if they are right, report the gap with report_gap.",
    errors.VerificationError: _DO_NOT_USE,
    errors.MalformedError: _DO_NOT_USE,
    errors.SignatureError: _DO_NOT_USE,
    errors.SignerError: _DO_NOT_USE,
    errors.TransparencyError: _DO_NOT_USE,
    errors.DisagreementError: _DO_NOT_USE,
    errors.RollbackError: _DO_NOT_USE,
    errors.EquivocationError: _DO_NOT_USE,
    errors.CheckpointMissingError: _DO_NOT_USE,
    errors.WrappedKeyNotMineError: "Ask the operator to grant this agent access to the vault again.",
    errors.WrappedKeyDamagedError: "Ask the operator to grant this agent access to the vault again.",
    errors.EnvelopeError: _DO_NOT_USE,
    errors.PolicyError: "Ask the operator of this machine.",
    errors.DeniedError: "The operator of this machine decided so; only they can change it.",
    errors.ApprovalRequiredError: (
        "Your client can't ask the user. The operator can do it on the command line of this machine; `r4-mcp --help` lists how."
    ),
    errors.SecretInTextError: "Say it without the secret; refer to secrets by reference, such as r4://vault/item/field.",
    errors.LeakBlockedError: "This is a defect of the server: tell the operator. Nothing was shown.",
    errors.DestinationRefusedError: (
        "Use an https URL that a website of the item covers; `r4-mcp bind` is how a person adds a website."
    ),
    errors.AddressRefusedError: "Only the operator can list a network that is not public; call a public host instead.",
    errors.NotMaskableError: "Use a value of 8 characters or more, or ask for the status or exit code alone.",
    errors.SecretFileRefusedError: "Choose a path inside the root that git ignores, with no symbolic link on the way.",
    errors.InternalError: "Tell the operator the error id; the server's log has it.",
}


def our_sentences() -> tuple[str, ...]:
    """Return the constant sentences and codes that errors are told with; a secret that stands in one of them is public anyway."""
    return (*NEXT_STEPS.values(), *(error.code for error in NEXT_STEPS))


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a reader is told: a stable code, one sentence, the next step, and candidates to choose from."""

    code: str
    message: str
    next_step: str
    candidates: tuple[str, ...]

    def payload(self) -> dict[str, Any]:
        """Return the JSON form; ``candidates`` only where there are any."""
        told: dict[str, Any] = {"code": self.code, "message": self.message, "next_step": self.next_step}
        if self.candidates:
            told["candidates"] = list(self.candidates)
        return told


def explain(error: errors.R4Error) -> Explanation:
    """Explain an error of the project."""
    # A sentence may begin with a path, which has a spelling of its own.
    starts_with_a_path = "/" in error.message.split(" ", 1)[0]
    message = error.message if starts_with_a_path else error.message[:1].upper() + error.message[1:]
    sentence = message if message.endswith((".", "…")) else message + "."
    return Explanation(error.code, sentence, error.next_step or NEXT_STEPS[type(error)], error.candidates)
