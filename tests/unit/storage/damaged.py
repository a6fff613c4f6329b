"""What the tests of damage share: a crashed disk with a history, and what is left of it."""

from __future__ import annotations

from kvnode.core.records import Record
from kvnode.core.versions import Ballot, Version
from kvnode.storage.memory_disk import MemoryDisk
from kvnode.storage.segment import DAMAGED
from kvnode.storage.store import Store
from tests.unit.storage.support import (
    PARTITIONS,
    commit,
    open_store,
    record,
    state_of,
    tidy,
)

SEGMENT_BYTES = 900
EVERYWHERE = frozenset(range(PARTITIONS))

History = set[Record]


def written() -> tuple[MemoryDisk, History, int]:
    """Return a crashed disk with hinted segments and a newest one, its records, and how many segments."""
    disk = MemoryDisk()
    store = open_store(disk, segment_bytes=SEGMENT_BYTES)
    history = {record(f"k{seq}", seq, b'"%d"' % seq, partition=seq % 3) for seq in range(1, 20)}
    history.add(record("k1", 20, None, partition=1))
    for partition in EVERYWHERE:
        store.set_voting(partition)
    store.promise(0, Ballot(3, 1))
    for new in sorted(history, key=lambda new: new.version):
        store.append(new)
    store.raise_floor(2, Version(1, 1, 9), Version(1, 1, 5))
    commit(store)
    tidy(store)
    disk.crash()
    return disk, history, len(segments(disk))


def segments(disk: MemoryDisk) -> list[str]:
    """Return the names of the segments in use."""
    return [name for name in disk.names() if name.endswith(".jsonl")]


def set_aside(disk: MemoryDisk) -> list[str]:
    """Return the names of the files set aside."""
    return [name for name in disk.names() if name.endswith(DAMAGED)]


def votes(store: Store) -> frozenset[int]:
    """Return the partitions with a vote."""
    return frozenset(partition for partition in EVERYWHERE if store.voting(partition))


def assert_nothing_invented(store: Store, history: History) -> None:
    """Every record that the store shows was once appended, byte for byte."""
    assert set(state_of(store)[0].values()) <= history
