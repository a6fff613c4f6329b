"""Merges read what lives and nothing else, unless only the whole file can tell what that is."""

from __future__ import annotations

import pytest
import structlog

from kvnode.core.records import Entry
from kvnode.storage.hinting import write_hint
from kvnode.storage.memory_disk import MemoryDisk
from kvnode.storage.segment import Segment, segment_name
from kvnode.storage.store import Store
from tests.unit.storage.support import commit, open_store, record, state_of, tidy


def sparse_store(disk: MemoryDisk, *, hinted: bool) -> tuple[Store, Segment]:
    """Return a store whose first segment, of 100 KB, has two records that live, far apart."""
    store = open_store(disk, segment_bytes=100_000)
    for seq in range(1, 600):
        key = {5: "early", 300: "late"}.get(seq, f"k{seq % 400}")
        store.append(record(key, seq, b'"%s"' % (b"x" * 200)))
    commit(store)
    first = store._log.segments[1]
    if hinted:
        list(write_hint(store._log, first, store._keydirs))
    for seq in range(600, 1000):
        store.append(record(f"k{seq % 400}", seq, b'"new"'))
    commit(store)
    return store, first


@pytest.mark.parametrize("hinted", [False, True])
def test_a_merge_reads_what_lives_alone(*, hinted: bool) -> None:
    """Where that stands is remembered, or in the hint file: dead lines cost nothing."""
    disk = MemoryDisk()
    store, first = sparse_store(disk, hinted=hinted)
    assert first.live < 1_000
    state = state_of(store)
    reads: list[str] = []
    disk.fault = lambda operation, name: reads.append(name) if operation == "read" else None
    tidy(store)
    disk.fault = None
    assert first.number not in store._log.segments
    assert reads.count(segment_name(1)) == 2
    assert state_of(store) == state
    disk.crash()
    assert state_of(open_store(disk)) == state


def test_a_merge_reads_it_all_where_something_is_not_told() -> None:
    """The index points at more than is remembered: only the file itself can tell."""
    disk = MemoryDisk()
    store, first = sparse_store(disk, hinted=False)
    assert first.keys is not None
    del first.keys["late"]
    state = state_of(store)
    tidy(store)
    assert first.number not in store._log.segments
    assert state_of(store) == state
    disk.crash()
    assert state_of(open_store(disk)) == state


@pytest.mark.parametrize("hinted", [False, True])
def test_a_merge_finds_damage_in_what_it_copies(*, hinted: bool) -> None:
    """A line that lives and does not say what the index says is not copied: the segment is set aside."""
    disk = MemoryDisk()
    store, first = sparse_store(disk, hinted=hinted)
    store.set_voting(0)
    data = disk.contents(segment_name(1))
    disk.replace(segment_name(1), data.replace(b'"k":"late"', b'"k":"lake"'))
    with structlog.testing.capture_logs() as logs:
        tidy(store)
    assert "damage_suspected" in [line["event"] for line in logs]
    assert first.number not in store._log.segments or first.kept
    assert not store.voting(0)
    assert store.entry(0, "late") is None
    assert store.value(0, "early", entry_of(store, "early")) == b'"%s"' % (b"x" * 200)


def entry_of(store: Store, key: str) -> Entry:
    """Return a key's entry."""
    entry = store.entry(0, key)
    assert entry is not None
    return entry
