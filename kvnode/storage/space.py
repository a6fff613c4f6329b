"""Whether the disk has room: the reserve is kept, and a full disk is waited out.

A disk without space is no failure: nothing is lost by waiting, and it ends. What could not be
written stays queued, nothing of it is acknowledged, and the worker accepts no more. Below the
reserve it does the same, so that merges, which free space, have room to work in.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

import structlog

from kvnode import metrics
from kvnode.storage.disk import Disk

CALM_CHECKS = 5
"""So many checks in a row must find room before the disk counts as no longer full."""

PAUSE_BYTES = 8 << 20
"""What an attempt that met a full disk counts as in background work: about a second's worth."""

CHECKS_A_RESERVE = 256

LEAST_BYTES = 4096
"""A write counts as no less: others may fill the disk meanwhile."""

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})

_log = structlog.get_logger(__name__)


def is_no_space(error: BaseException) -> bool:
    """Whether an operation failed for want of space, and may be tried again."""
    return isinstance(error, OSError) and error.errno in _NO_SPACE


def patiently(act: Callable[[], object]) -> Iterator[int]:
    """Do ``act``, again and again while the disk has no space; yield after each failed attempt."""
    while True:
        try:
            act()
        except OSError as error:
            if not is_no_space(error):
                raise
            yield PAUSE_BYTES
        else:
            return


class Space:
    """The room on one disk. ``full`` may be read from any thread; the writer's alone changes it.

    It becomes true when less than ``reserve_bytes`` are free or a write found no space, and false
    again when a quarter more than the reserve has been free for ``CALM_CHECKS`` checks. While data
    is written, the disk is asked only once in a small part of the reserve: asking costs as much as writing.
    """

    def __init__(self, disk: Disk, reserve_bytes: int) -> None:
        self.full = False
        self._disk = disk
        self._reserve_bytes = reserve_bytes
        self._calm = 0
        self._unchecked = 0
        self.check()

    def wrote(self, size: int) -> None:
        """Take note of data written, and look now and then how much is free. Raises OSError."""
        self._unchecked += max(size, LEAST_BYTES)
        if self.full or self._unchecked * CHECKS_A_RESERVE >= self._reserve_bytes:
            self.check()

    def check(self) -> None:
        """Look how much is free. To be called when nothing waits to be written. Raises OSError."""
        self._unchecked = 0
        free = self._disk.free_bytes()
        metrics.DISK_FREE_BYTES.set(free)
        if free < self._reserve_bytes:
            self._fill(free, "the reserve is reached")
        elif self.full:
            roomy = free >= self._reserve_bytes + self._reserve_bytes // 4
            self._calm = self._calm + 1 if roomy else 0
            if self._calm == CALM_CHECKS:
                self.full = False
                metrics.DISK_FULL.set(0)
                _log.info("disk_space_back", free_bytes=free)

    def refused(self, error: OSError) -> None:
        """Take note of a write that found no space. Raises OSError."""
        self._fill(self._disk.free_bytes(), str(error))

    def _fill(self, free: int, reason: str) -> None:
        """Count as full."""
        self._calm = 0
        if not self.full:
            self.full = True
            metrics.DISK_FULL.set(1)
            _log.error("disk_full", free_bytes=free, reserve_bytes=self._reserve_bytes, reason=reason)
