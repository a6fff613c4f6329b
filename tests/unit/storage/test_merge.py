"""Merging: space comes back, nothing else changes, whatever happens on the way."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress

import pytest
import structlog

from kvnode.core.versions import Ballot, Version
from kvnode.errors import StorageError
from kvnode.storage import hint_writer
from kvnode.storage.memory_disk import MemoryDisk
from kvnode.storage.store import Store
from kvnode.storage.tidy import GRACE_S
from tests.unit.storage.support import Crash, Faults, commit, open_store, partly, record, state_of, tidy

SEGMENT_BYTES = 2_000
BUSY_BYTES = 700


def used_store(disk: MemoryDisk) -> Store:
    """Return a store with several segments, mostly dead, a tombstone, and lines not yet durable."""
    store = open_store(disk, segment_bytes=SEGMENT_BYTES)
    store.set_voting(0)
    store.promise(1, Ballot(3, 1))
    for seq in range(1, 5):
        store.append(record(f"stays{seq}", seq))
    store.append(record("gone", 5, partition=2))
    for seq in range(6, 80):
        store.append(record(f"k{seq % 9}", seq, b'"%d"' % seq, partition=seq % 9 % 2))
        if seq == 40:
            store.append(record("gone", seq, None, partition=2))
            store.raise_floor(2, Version(1, 1, seq), Version(1, 1, seq))
    store.append(record("k1", 81, None, partition=1))
    commit(store)
    return store


def segments(disk: MemoryDisk) -> list[str]:
    """Return the names of the segments."""
    return [name for name in disk.names() if name.endswith(".jsonl")]


def test_space_comes_back() -> None:
    """A merge leaves the same contents in fewer bytes, and they are there after a restart."""
    disk = MemoryDisk()
    store = used_store(disk)
    before, size = state_of(store), store.disk_bytes
    tidy(store)
    assert state_of(store) == before
    assert store.disk_bytes < size / 2
    assert store.disk_bytes == sum(len(disk.contents(name)) for name in segments(disk))
    disk.crash()
    assert state_of(open_store(disk)) == before


def test_a_crash_at_any_step_loses_nothing() -> None:
    """Before each single operation on the disk, with and without torn writes, a merge can be cut off."""
    at, done = 0, False
    while not done:
        for survives in (lambda _: 0, lambda count: count, *(partly(100 * at + n) for n in range(8))):
            disk = MemoryDisk()
            store = used_store(disk)
            before = state_of(store)
            faults = disk.fault = Faults(at)
            try:
                tidy(store)
                done = True
            except Crash:
                disk.crash(survives)
                disk.fault = None
                again = open_store(disk, segment_bytes=SEGMENT_BYTES)
                assert state_of(again) == before, (at, faults.operations)
                again.append(record("after", 90))
                commit(again)
                before = state_of(again)
                tidy(again)
                assert state_of(again) == before
                assert not [name for name in disk.names() if name.endswith(".tmp")]
        at += 1
    assert at > 10


def work(store: Store, note: Callable[[], None] = lambda: None) -> None:
    """Write, delete, forget, commit and tidy, so that segments roll, merge and get their hint files."""
    for seq in range(1, 46):
        number = seq * 7 % 11
        partition, key = number % 2, f"k{number}"
        if seq % 23 == 0:
            store.raise_floor(partition, Version(1, 1, seq), Version(1, 1, seq - 2))
        elif seq % 17 == 0:
            store.promise(partition, Ballot(seq, 1))
        else:
            store.append(record(key, seq, None if seq % 4 == 0 else b'"%d"' % seq, partition=partition))
        note()
        if seq % 5 == 0:
            commit(store)
            for _ in range(seq % 12):
                store.tidier.step()
    commit(store)
    tidy(store)


def test_a_crash_at_any_step_of_a_busy_store_loses_nothing() -> None:
    """Before each operation on the disk, of the writer or in the background: what was durable is there."""
    disk = MemoryDisk()
    store = open_store(disk, segment_bytes=BUSY_BYTES)
    states = [state_of(store)]
    faults = disk.fault = Faults()
    work(store, lambda: states.append(state_of(store)))
    kinds = {(operation, name.rsplit(".", 1)[-1]) for operation, name in faults.operations}
    assert {("rename", "jsonl"), ("rename", "hint"), ("remove", "jsonl"), ("create", "jsonl")} <= kinds
    for at in range(len(faults.operations)):
        survives = (lambda _: 0, lambda count: count, partly(at))[at % 3]
        disk = MemoryDisk()
        store = open_store(disk, segment_bytes=BUSY_BYTES)
        disk.fault = Faults(at)
        with suppress(Crash):
            work(store)
        durable = store.durable_lsn
        disk.crash(survives)
        disk.fault = None
        again = open_store(disk, segment_bytes=BUSY_BYTES)
        state = state_of(again)
        assert state in states[durable:], at
        tidy(again)
        disk.crash()
        assert state_of(open_store(disk, segment_bytes=BUSY_BYTES)) == state, at


def test_a_merge_waits_until_what_killed_a_line_is_durable() -> None:
    """The old value is kept while the new one could still be lost."""
    disk = MemoryDisk()
    store = used_store(disk)
    durable = state_of(store)
    for number in range(9):
        store.append(record(f"k{number}", 100 + number, b'"lost"', partition=number % 2))
    for _ in range(1000):
        store.tidier.step()
    disk.crash()
    assert state_of(open_store(disk)) == durable


def test_readers_never_fail() -> None:
    """An entry from before a merge, replaced since or not, is readable during it and for a while after."""
    disk = MemoryDisk()
    store = open_store(disk, segment_bytes=SEGMENT_BYTES)
    held = []
    for seq in range(1, 80):
        value = b'"%d"' % seq
        store.append(record(f"k{seq % 9}", seq, value))
        entry = store.entry(0, f"k{seq % 9}")
        assert entry is not None
        held.append((f"k{seq % 9}", entry, value))
    commit(store)
    steps = 0
    while store.tidier.step() is not None:
        steps += 1
        for key, entry, value in held:
            assert store.value(0, key, entry) == value
    assert steps > 3
    for key, entry, value in held:
        assert store.value(0, key, entry) == value


def test_replaced_files_are_let_go() -> None:
    """After a while the old files are closed: newest entries are found again, replaced ones are gone."""
    disk = MemoryDisk()
    store = open_store(disk, segment_bytes=SEGMENT_BYTES)
    now = [0.0]
    store.tidier._clock = lambda: now[0]
    store.append(record("dead", 1, b'"old"'))
    store.append(record("kept", 2, b'"kept"'))
    dead, kept = store.entry(0, "dead"), store.entry(0, "kept")
    assert dead is not None
    assert kept is not None
    for seq in range(3, 60):
        store.append(record("dead", seq))
    commit(store)
    tidy(store)
    now[0] = GRACE_S
    tidy(store)
    assert not store._log.retired
    assert store.value(0, "kept", kept) == b'"kept"'
    with pytest.raises(StorageError, match="gone"):
        store.value(0, "dead", dead)


def test_forgotten_tombstones_go_but_never_early() -> None:
    """A tombstone under the floor leaves the disk only after the value that it hides."""
    disk = MemoryDisk()
    store = open_store(disk, segment_bytes=SEGMENT_BYTES)
    for seq in range(1, 40):
        store.append(record(f"k{seq}", seq))
    for seq in range(1, 40):
        store.append(record(f"k{seq}", 100 + seq, None))
    store.raise_floor(0, Version(1, 1, 200), Version(1, 1, 200))
    commit(store)
    assert store.counts == (0, 0)
    while store.tidier.step() is not None:
        commit(store)
        lines = [line for name in segments(disk) for line in disk.contents(name).splitlines()]
        values = {line.split(b'"k":')[1].split(b",")[0] for line in lines if b'"t":"v"' in line}
        graves = {line.split(b'"k":')[1].split(b",")[0] for line in lines if b'"t":"d"' in line}
        assert values <= graves
    store.append(record("next", 300, b'"%s"' % (b"x" * SEGMENT_BYTES)))
    store.append(record("next", 301, b'"%s"' % (b"x" * SEGMENT_BYTES)))
    commit(store)
    tidy(store)
    left = b"".join(disk.contents(name) for name in segments(disk)).count(b'"t":"d"')
    assert left == 0
    disk.crash()
    assert open_store(disk).counts == (1, 0)


def test_a_full_disk_postpones_a_merge() -> None:
    """Without space a merge leaves nothing behind and is tried again later."""
    disk = MemoryDisk()
    store = used_store(disk)
    before = state_of(store)
    now = [0.0]
    store.tidier._clock = lambda: now[0]

    def full(operation: str, name: str) -> None:
        if operation == "write":
            raise OSError(errno.ENOSPC, "no space")

    disk.fault = full
    names = disk.names()
    tidy(store)
    assert disk.names() == names
    disk.fault = None
    assert store.tidier.step() is None
    now[0] = GRACE_S
    tidy(store)
    assert disk.names() != names
    assert state_of(store) == before


def test_what_is_written_during_a_merge_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever all keys are replaced, deleted or forgotten while a merge runs, that is what remains."""
    monkeypatch.setattr(hint_writer, "_BLOCK_RECORDS", 1)
    at, done = 0, False
    while not done:
        disk = MemoryDisk()
        store = used_store(disk)
        done = any(store.tidier.step() is None for _ in range(at))
        for seq in range(97, 100):
            store.append(record(f"stays{seq - 96}", seq, b'"new"'))
        for seq in range(101, 119):
            value = None if seq % 3 == 0 else b'"new"'
            store.append(record(f"k{seq % 9}", seq, value, partition=seq % 9 % 2))
        store.raise_floor(1, Version(1, 1, 118), Version(1, 1, 118))
        expected = state_of(store)
        commit(store)
        tidy(store)
        assert state_of(store) == expected
        disk.crash()
        assert state_of(open_store(disk)) == expected
        at += 1
    assert at > 7


def test_a_deleted_key_stays_deleted_when_only_its_tombstone_is_merged() -> None:
    """A forgotten tombstone is kept while an older segment holds a value of its key."""
    disk = MemoryDisk()
    store = open_store(disk, segment_bytes=SEGMENT_BYTES)
    store.append(record("deleted", 1, b'"old"'))
    for seq in range(2, 15):
        store.append(record(f"live{seq}", seq))
    assert len(store._log.segments) == 1
    big = b'"%s"' % (b"x" * SEGMENT_BYTES)
    store.append(record("big", 20, b'"%s"' % (b"x" * (SEGMENT_BYTES - 600))))
    store.append(record("deleted", 21, None))
    store.raise_floor(0, Version(1, 1, 21), Version(1, 1, 21))
    for seq in (30, 31):
        store.append(record("big", seq, big))
    commit(store)
    with structlog.testing.capture_logs() as logs:
        tidy(store)
    assert next(line["inputs"] for line in logs if line["event"] == "segments_merged")[0] == 2
    assert store.entry(0, "deleted") is None
    disk.crash()
    assert open_store(disk).entry(0, "deleted") is None
