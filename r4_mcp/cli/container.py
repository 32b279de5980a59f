"""Where the state lies: on a disk that stays, or on a layer that goes with its container.

What this file does not do: guess whether this is a container, or read what is in the state. It looks at what is mounted where the
state is. An ``overlay`` is a container's own writable layer (or a live system's), a ``tmpfs`` is memory, and a volume without a
name, which ``VOLUME`` in an image makes, is a new one for each container. In all three what was verified is forgotten, so that
trust is first use on every run. Linux only; elsewhere nothing is said.

Sources: proc_pid_mountinfo(5); docs.docker.com (volumes), where an unnamed volume is a folder of 64 hexadecimal digits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

MOUNTS: Final = Path("/proc/self/mountinfo")

_LAYERS: Final = frozenset({"overlay", "aufs", "fuse.fuse-overlayfs"})
_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
_UNNAMED_VOLUME: Final = re.compile(r".*/volumes/[0-9a-f]{64}/_data")
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")
_ROOT: Final = 3
_POINT: Final = 4
"""Fields of a line, from 0: what of a file system is mounted, and where."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted file system: its type, what of it is mounted, and where."""

    kind: str
    root: str
    point: PurePosixPath


def passing_place(folder: Path, mounts: str) -> str | None:
    """Return what a folder lies on, in our own words, if that does not outlive the container or the machine's next start.

    Args:
        folder: It need not be there yet.
        mounts: The text of ``mountinfo``.
    """
    mount = _mount_of(PurePosixPath(folder.resolve()), mounts)
    if mount is None:
        return None
    if mount.kind in _LAYERS:
        return f"the container's own layer ({mount.kind})"
    if mount.kind in _MEMORY:
        return f"memory ({mount.kind})"
    return "a volume without a name" if _UNNAMED_VOLUME.fullmatch(mount.root) else None


def mounted() -> str:
    """Return the text of this process's ``mountinfo``, or nothing where there is none."""
    try:
        return MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""  # Not Linux, or nothing may be seen of it: then nothing is known, and nothing is said.


def _mount_of(path: PurePosixPath, mounts: str) -> Mount | None:
    """Return the mount with the longest path; of two in one place the later one is on top."""
    best: Mount | None = None
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = [_ESCAPE.sub(lambda found: chr(int(found[1], 8)), field) for field in before.split(" ")]
        if len(fields) > _POINT and path.is_relative_to(fields[_POINT]):
            mount = Mount(after.split(" ")[0], fields[_ROOT], PurePosixPath(fields[_POINT]))
            if best is None or len(mount.point.parts) >= len(best.point.parts):
                best = mount
    return best
