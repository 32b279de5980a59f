"""Prompts: hidden ones, where what a person types is on no screen, and yes or no.

What this file does not do: decide who may be asked; under ``serve`` nobody is.

Rules:
1. Where the terminal's echo can't be switched off, nothing hidden is asked.
2. Ctrl-C ends a prompt at once, inside an event loop too.
3. Only ``y`` and ``yes`` are a yes. Questions go to stderr, so that stdout may be a pipe.
"""

from __future__ import annotations

import getpass
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from r4_mcp.errors import ApprovalRequiredError, DeniedError, InvalidArgumentError


def at_terminal() -> bool:
    """Say whether a person can be asked."""
    return sys.stdin.isatty()


def ask_hidden(prompt: str) -> str | None:
    """Ask for one line without showing it.

    Args:
        prompt: What is shown; ends with a space.

    Returns:
        What was typed, or None where nothing was.

    Raises:
        InvalidArgumentError: Rule 1.
        KeyboardInterrupt: Rule 2.
    """
    with warnings.catch_warnings(), _interruptible():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass(prompt) or None
        except EOFError:
            return None
        except getpass.GetPassWarning:
            raise InvalidArgumentError(
                "this terminal would show what is typed, so nothing was asked", next_step="Use a terminal, or a descriptor."
            ) from None


def ask_yes(question: str) -> bool:
    """Ask a person at the terminal (rules 2 and 3).

    Raises:
        KeyboardInterrupt: Rule 2.
    """
    from r4_mcp.cli.layout import wrapped  # noqa: PLC0415 - start-up is felt

    with _interruptible():
        sys.stderr.write("\n".join(wrapped(question)) + " [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in {"y", "yes"}


def require_yes(question: str, *, yes: bool, what: str, undone: str, typed: bool = False) -> None:
    """Go on only after a person's yes.

    Args:
        question: What is asked.
        yes: Whether ``--yes`` said it already.
        what: What needs the yes, for the refusal.
        undone: What has not happened after a no.
        typed: Whether only a yes that is typed counts, so that no program says it in passing.

    Raises:
        ApprovalRequiredError: There is nobody to ask.
        DeniedError: The answer was no.
        KeyboardInterrupt: Rule 2.
    """
    if yes and not typed:
        return
    if not at_terminal():
        raise ApprovalRequiredError(
            f"{what} needs a person's yes, and there is no terminal to ask on",
            next_step="Run it at a terminal; --yes does not stand for this." if typed else "Add --yes.",
        )
    if not ask_yes(question):
        raise DeniedError(f"{undone}: the answer was no", next_step="Run it again when you want to.")


@contextmanager
def _interruptible() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # Signals are the main thread's.
        return
    # The event loop's own handler would only note a Ctrl-C while the prompt blocks; this one ends the prompt.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
