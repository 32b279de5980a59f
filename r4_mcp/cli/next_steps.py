"""What a person at the command line does next, where ``server.explain`` speaks to an agent.

What this file does not do: change what happened; only the advice is another one.

Rules:
1. An error's own next step stays: whoever raised it knew more.
2. Classes that are not listed here have advice that fits both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from r4_mcp import errors
from r4_mcp.server.explain import Explanation, explain

_LOOK: Final = "Look it up: `r4-mcp ls`, `r4-mcp ls r4://vault`, `r4-mcp ls r4://vault/item`."
_USAGE: Final = "Run the command with --help: it shows what it takes, with examples."
_EVIDENCE: Final = (
    "Nothing of it was used. Compare with another device, ask R4's support, and run `r4-mcp doctor`, which says where it breaks."
)
_RIGHTS: Final = "Run `r4-mcp doctor`: it shows what this API key may do. The operator of R4 grants what is missing."
_ONBOARD: Final = "Run `r4-mcp doctor`: it shows what the operator of R4 has to do."

NEXT_STEPS: Final[dict[type[errors.R4Error], str]] = {
    errors.CallerError: _USAGE,
    errors.InvalidArgumentError: _USAGE,
    errors.ReferenceSyntaxError: f"References look like r4://vault/item/field. {_LOOK}",
    errors.AmbiguousReferenceError: "Give one of these instead.",
    errors.NotFoundError: _LOOK,
    errors.AbsentError: f"It may have been archived. {_LOOK}",
    errors.NotReadableError: "`r4-mcp ls r4://vault/item` shows the fields and their types.",
    errors.ConfigurationError: "Correct it; `r4-mcp --help` lists the settings, and `r4-mcp doctor` checks them.",
    errors.NotConfiguredError: "Set it; `r4-mcp --help` lists the settings, and `r4-mcp init` makes a profile.",
    errors.FileAccessError: "Correct the file's path, owner or mode, then run the command again.",
    errors.TrustStoreLostError: "Restore the trust store, or run `r4-mcp trust reset`.",
    errors.OnboardingError: _ONBOARD,
    errors.ServiceError: "Run `r4-mcp doctor`; if the service stays like that, ask its operator.",
    errors.PermissionDeniedError: _RIGHTS,
    errors.RequestRejectedError: _USAGE,
    errors.ResponseTooLargeError: "Tell the operator of R4: the service answers with more than its contract allows.",
    errors.DeniedError: "`r4-mcp policy check` shows what is allowed; whoever owns this machine's policy file can change it.",
    errors.ApprovalRequiredError: "Run it at a terminal, where you can be asked, or add --yes.",
    errors.LeakBlockedError: "This is a defect of r4-mcp: please report it. Nothing was shown.",
    **dict.fromkeys(
        (
            errors.VerificationError,
            errors.MalformedError,
            errors.SignatureError,
            errors.SignerError,
            errors.TransparencyError,
            errors.DisagreementError,
            errors.RollbackError,
            errors.EquivocationError,
            errors.CheckpointMissingError,
            errors.EnvelopeError,
        ),
        _EVIDENCE,
    ),
}


def explain_to_person(error: errors.R4Error) -> Explanation:
    """Explain an error to whoever typed the command."""
    told = explain(error)
    if error.next_step:
        return told
    return replace(told, next_step=NEXT_STEPS.get(type(error), told.next_step))
