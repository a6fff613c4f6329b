"""What was written last is in memory again soon after a start."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

from kvnode.storage.disk import PosixDisk
from kvnode.storage.memory_disk import MemoryDisk
from kvnode.storage.segment import segment_name
from kvnode.storage.warming import read_ahead, spare_bytes
from tests.support.waiting import eventually_sync
from tests.unit.storage.support import Faults, commit, open_store, record

SIZE = 8 << 20
_libc = ctypes.CDLL(None, use_errno=True)


def resident_bytes(path: Path) -> int:
    """Return how much of a file is in the page cache."""
    size = path.stat().st_size
    pages = (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE
    seen = (ctypes.c_ubyte * pages)()
    with path.open("r+b") as file, mmap.mmap(file.fileno(), size) as mapped:
        place = ctypes.c_char.from_buffer(mapped)
        try:
            if _libc.mincore(ctypes.c_void_p(ctypes.addressof(place)), ctypes.c_size_t(size), seen):
                raise OSError(ctypes.get_errno(), "mincore")
        finally:
            del place
    return sum(page & 1 for page in seen) * mmap.PAGESIZE


def test_a_whole_file_is_read_ahead(tmp_path: Path) -> None:
    """However large it is, and without anybody's waiting for it."""
    file = PosixDisk(tmp_path).create("large")
    file.write(0, os.urandom(SIZE))
    file.sync()
    with (tmp_path / "large").open("rb") as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    file.prefetch()
    eventually_sync(lambda: resident_bytes(tmp_path / "large") == SIZE, 10)
    file.close()


def test_the_newest_segments_come_first_and_no_more_than_there_is_room_for() -> None:
    """The one that is written to is not among them, nor is any once the store closes."""
    disk = MemoryDisk()
    store = open_store(disk, segment_bytes=1000)
    while len(store._log.segments) < 6:
        store.append(record(f"key {store.appended_lsn}", store.appended_lsn + 1))
        commit(store)
    *sealed, _ = (segment.number for segment in store._log.segments.values())
    sizes = [store._log.segments[number].size for number in sealed]
    for room, expected in ((sum(sizes), sealed), (sum(sizes[-2:]), sealed[-2:]), (sizes[-1] - 1, [])):
        disk.fault = faults = Faults()
        read_ahead(store._log, room, lambda: False)
        assert faults.operations == [("prefetch", segment_name(number)) for number in reversed(expected)]
    disk.fault = faults = Faults()
    read_ahead(store._log, sum(sizes), lambda: True)
    assert not faults.operations


def test_a_worker_takes_a_small_part_of_memory() -> None:
    """Several of them on a machine leave most of it to others."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < spare_bytes() <= memory // 8
