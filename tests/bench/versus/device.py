"""The disk under a folder: whether it is one, and how often it was told to flush."""

from __future__ import annotations

import os
from pathlib import Path

FLUSHES = 15
"""The place of "flush requests completed" in a block device's stat (Linux 5.5 and newer)."""


class Device:
    """The block device that holds a folder."""

    def __init__(self, stat: Path) -> None:
        self._stat = stat

    @classmethod
    def under(cls, folder: Path) -> Device:
        """Find it. Raises RuntimeError for a folder in memory, where a sync means nothing."""
        number = folder.stat().st_dev
        stat = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat")
        if not stat.exists():
            raise RuntimeError(f"{folder} is on no block device: name a --folder on a disk")
        return cls(stat)

    def flushes(self) -> int:
        """Return how often the device has flushed its cache since it was found by the kernel."""
        fields = self._stat.read_text(encoding="ascii").split()
        return int(fields[FLUSHES]) if len(fields) > FLUSHES else 0
