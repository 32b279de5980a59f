"""Host hygiene: no core dump, no look into this process by others of the same machine.

What this file does not do: keep root or the same user's debugger out for good; SECURITY.md says so.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from typing import Final

_log: Final = logging.getLogger(__name__)
_PR_SET_DUMPABLE: Final = 4
"""prctl(2), linux/prctl.h."""


def seal_process() -> None:
    """Forbid core dumps, and on Linux reading this process's memory and environment by other processes of the user.

    A core dump would hold keys and plaintexts; ``/proc/<pid>/environ`` holds what was passed by environment, and removing it from
    ``os.environ`` does not remove it there.
    """
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - not there on Windows

    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ValueError, OSError):
        _log.warning("core dumps can't be switched off here")
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        _log.warning("this process can't be closed to other processes of the user")
