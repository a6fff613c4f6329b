"""A small disk for a host's data: a file system in a file, so that it can be filled to the brim."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.hosts.wait import until

SIZE_BYTES = 256 * 2**20
DATA_FOLDER = "/var/lib/kvnode"


class SmallDisk:
    """An ext4 of 256 MiB on a loop device. It outlives the host's power cuts, as a disk does."""

    def __init__(self, folder: Path) -> None:
        self._image = folder / "disk.img"
        self._mount = folder / "disk"

    @property
    def bind(self) -> str:
        """What systemd-nspawn is told to show the disk to the host, where the data lies."""
        return f"{self._mount / 'data'}:{DATA_FOLDER}"

    def make(self) -> None:
        """Create and mount it, empty."""
        self._mount.mkdir(parents=True)
        with self._image.open("wb") as image:
            image.truncate(SIZE_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(self._image)], check=True)
        subprocess.run(["mount", "-o", "loop", str(self._image), str(self._mount)], check=True)
        (self._mount / "data").mkdir()

    def unmount(self) -> None:
        """Let the file system and its loop device go, if they are there."""
        if os.path.ismount(self._mount):
            until(self._unmounted, 30, f"{self._mount} to be unmounted")

    def _unmounted(self) -> bool:
        return subprocess.run(["umount", str(self._mount)], capture_output=True, check=False).returncode == 0
