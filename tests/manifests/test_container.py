"""Doctor says where trust does not last: a container without a volume, memory, a volume without a name."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from r4_mcp.cli.container import mounted, passing_place
from tests.cli.running import run_here
from tests.doors import World

ROOT = "1 0 0:1 / / rw - overlay overlay rw,lowerdir=/l\n"
DISK = "2 1 254:1 {root} {point} rw,relatime shared:1 - ext4 /dev/vda1 rw\n"
HEX = "0123456789abcdef" * 4

PLACES = {
    "a container without a volume": (ROOT, "the container's own layer (overlay)"),
    "a named volume": (ROOT + DISK.format(root="/var/lib/docker/volumes/r4-state/_data", point="/state"), None),
    "a volume that VOLUME made": (
        ROOT + DISK.format(root=f"/var/lib/docker/volumes/{HEX}/_data", point="/state"),
        "a volume without a name",
    ),
    "the same under podman": (
        ROOT + DISK.format(root=f"/home/ada/.local/share/containers/storage/volumes/{HEX}/_data", point="/state"),
        "a volume without a name",
    ),
    "a folder of the host": (ROOT + DISK.format(root="/srv/r4", point="/state"), None),
    "memory": (ROOT + "3 1 0:9 / /state rw - tmpfs tmpfs rw\n", "memory (tmpfs)"),
    "a machine": ("1 0 254:1 / / rw - ext4 /dev/vda1 rw\n", None),
    "a volume elsewhere": (ROOT + DISK.format(root="/v", point="/states"), "the container's own layer (overlay)"),
    "two mounts in one place: the later is on top": (
        ROOT + DISK.format(root="/v", point="/state") + "3 1 0:9 / /state rw - tmpfs tmpfs rw\n",
        "memory (tmpfs)",
    ),
    "a path with a space": (ROOT + DISK.format(root="/v", point="/state/of\\040ada"), "the container's own layer (overlay)"),
    "nothing is known": ("", None),
    "not of its form": ("- - -\n\n1 2\n", None),
}


@pytest.mark.parametrize("case", PLACES.values(), ids=list(PLACES))
def test_what_the_state_lies_on_is_told_from_the_mounts(case: tuple[str, str | None]) -> None:
    """By the longest mount point that holds it."""
    mounts, told = case
    assert passing_place(Path("/state/trust-store.json"), mounts) == told


def test_a_mount_point_with_a_space_is_read_as_it_is_written() -> None:
    """Octal escapes, as the kernel writes them."""
    mounts = ROOT + DISK.format(root="/v", point="/state/of\\040ada")
    assert passing_place(Path("/state/of ada/trust-store.json"), mounts) is None


def test_doctor_says_that_trust_does_not_last(world: World) -> None:
    """On a real file system in memory: one line with its next step, and no failure."""
    if passing_place(Path("/dev/shm"), mounted()) is None:  # noqa: S108 - a file system, not a name for a file
        pytest.skip("there is no file system in memory here")
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        said = run_here("doctor", environment={**world.environment, "R4_TRUST_STORE_PATH": str(folder / "trust.json")}).out
    finally:
        shutil.rmtree(folder)
    assert "-    state: what is verified is kept on memory (tmpfs), so every run is a first contact" in said.replace(
        "\n     ", " "
    )
    assert "named volume" in said
    assert "Everything that was checked works." in said
