"""Hidden prompts: what a person types is on no screen.

What this file does not do: decide who may be asked; under ``serve`` nobody is.

Rules:
1. Where the terminal's echo can't be switched off, nothing is asked.
2. Ctrl-C ends a prompt at once, inside an event loop too.
"""

from __future__ import annotations

import getpass
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from r4_mcp.errors import InvalidArgumentError


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
