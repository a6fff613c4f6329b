"""After a start: the newest segments are read ahead, so that who asks first does not wait for the disk.

The event loop reads values itself, which is well as long as they are in the page cache; on a cold one
it stands still for every read. etcd has its whole file read when it starts. Here it is the newest
segments, up to what memory can spare; values beyond that cost a read of the disk, as in Bitcask.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from kvnode.storage.log import Log

SHARE_OF_MEMORY = 8


def spare_bytes() -> int:
    """Return how much of the machine's memory one worker may have filled with what it might be asked for."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // SHARE_OF_MEMORY


def read_ahead(log: Log, room_bytes: int, closing: Callable[[], bool]) -> None:
    """Prefetch sealed segments, the newest first, until ``room_bytes`` are used up or it is ``closing``.

    To be called where no segment is retired meanwhile.
    """
    with log.lock:
        sealed = [segment for segment in log.segments.values() if segment.at_rest]
    for segment in sorted(sealed, key=lambda segment: segment.place, reverse=True):
        room_bytes -= segment.size
        if room_bytes < 0 or closing():
            return
        segment.opened().prefetch()
