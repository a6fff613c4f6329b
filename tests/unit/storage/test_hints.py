"""Hint files help, and are never trusted further than their checksum."""

from __future__ import annotations

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from kvnode.core.hash_tree import HashTree
from kvnode.core.versions import Version
from kvnode.storage.hinting import write_hint
from kvnode.storage.hints import packed_of, read_hint
from kvnode.storage.keydir import is_tombstone, unpack
from kvnode.storage.line_kinds import HintBlockLine, KeyLine
from kvnode.storage.memory_disk import MemoryDisk
from kvnode.storage.placed import pack_line
from kvnode.storage.segment import Segment, read_lines
from kvnode.storage.store import Store
from tests.unit.storage.support import PARTITIONS, WORKER, State, commit, open_store, record, state_of, tidy


def hinted() -> tuple[MemoryDisk, State]:
    """Return a disk with sealed segments that have hint files, crashed, and what it holds."""
    disk = MemoryDisk()
    store = open_store(disk, segment_bytes=1_000)
    for seq in range(1, 30):
        store.append(record(f"key {seq}", seq, b'"%d"' % seq if seq % 5 else None, copied=seq % 3 == 0))
    store.set_voting(2)
    commit(store)
    tidy(store)
    state = state_of(store)
    disk.crash()
    return disk, state


def hints(disk: MemoryDisk) -> list[str]:
    """Return the names of the hint files."""
    return [name for name in disk.names() if name.endswith(".hint")]


def test_sealed_segments_have_hints() -> None:
    """Every segment but the newest has a hint file, without the values."""
    disk, _ = hinted()
    assert len(hints(disk)) == len([name for name in disk.names() if name.endswith(".jsonl")]) - 1
    assert b'"v":' not in b"".join(disk.contents(name) for name in hints(disk))


def test_opening_reads_hints_instead_of_segments() -> None:
    """A store opens alike with hints and without, and with them leaves the sealed segments unread."""
    disk, state = hinted()
    reads: dict[str, int] = {}

    def count(operation: str, name: str) -> None:
        if operation == "read":
            reads[name] = reads.get(name, 0) + 1

    disk.fault = count
    store = open_store(disk)
    disk.fault = None
    sealed = [name.replace(".hint", ".jsonl") for name in hints(disk)]
    assert all(reads[name] == 1 for name in sealed), "only its header"
    assert state_of(store) == state
    disk.crash()
    for name in hints(disk):
        disk.remove(name)
    assert state_of(open_store(disk)) == state


@pytest.mark.parametrize("part", range(8))
def test_a_broken_hint_is_refused_and_made_anew(part: int) -> None:
    """A changed or cut hint file is reported, the segment read instead, and the hint written again."""
    disk, state = hinted()
    name = hints(disk)[0]
    good = disk.contents(name)
    for broken in (flipped(good, len(good) * part // 8), good[: len(good) * part // 8], good[:-1]):
        disk.replace(name, broken)
        with structlog.testing.capture_logs() as logs:
            store = open_store(disk)
        assert [line["file"] for line in logs if line["event"] == "hint_refused"] == [name]
        assert state_of(store) == state
        tidy(store)
        assert disk.contents(name) == good
        disk.crash()


def test_a_hint_of_another_segment_is_refused() -> None:
    """A hint file counts only for the segment, of the size, that it was made for."""
    disk, state = hinted()
    first, second = hints(disk)[:2]
    disk.replace(first, disk.contents(second))
    with structlog.testing.capture_logs() as logs:
        assert state_of(open_store(disk)) == state
    assert [line["event"] for line in logs] == ["hint_refused"]


def test_hints_without_a_segment_are_swept() -> None:
    """What an interrupted merge leaves does not outlive the next start."""
    disk, state = hinted()
    disk.replace("log-00000099.hint", b"left")
    disk.replace("log-00000099.jsonl.tmp", b"left")
    assert state_of(open_store(disk)) == state
    assert not [name for name in disk.names() if "99" in name]


@given(
    appends=st.lists(st.tuples(st.sampled_from("abcde"), st.booleans()), max_size=60),
    gone=st.integers(0, 60),
    remembered=st.booleans(),
)
def test_a_hint_has_what_counts(appends: list[tuple[str, bool]], gone: int, *, remembered: bool) -> None:
    """It gives the newest record of each key, forgotten or not, and the sum of the hashes; no dead value."""
    disk = MemoryDisk()
    store = open_store(disk, segment_bytes=700)
    for seq, (key, deletes) in enumerate(appends, 1):
        partition = ord(key) % PARTITIONS
        store.append(record(key, seq, None if deletes else b"1", partition=partition, copied=seq % 3 == 0))
    store.raise_floor(1, Version(1, 1, gone), Version(1, 1, gone))
    store.set_voting(1)
    commit(store)
    if not remembered:
        store.close()
        store = open_store(disk, segment_bytes=700)
    newest: dict[str, tuple[int, bytes]] = {}
    told: set[tuple[str, bytes]] = set()
    for segment in store._log.segments.values():
        for offset, line, meaning in read_lines(segment.opened(), segment.size):
            if isinstance(meaning, KeyLine):
                packed = pack_line(meaning, segment.number, offset, len(line), WORKER)
                newest[meaning.k] = segment.number, packed
        while segment.sealed and not segment.hinted:
            list(write_hint(store._log, segment, store._keydirs))
        for block in read_hint(disk, segment.number, segment.size) or ():
            if isinstance(block, HintBlockLine):
                records = dict(zip(block.k, packed_of(block, segment.number), strict=True))
                told.update(records.items())
                tree = HashTree()
                for key, packed in records.items():
                    tree.toggle(key, unpack(packed), WORKER)
                assert tree.buckets == block.x
    hinted = [number for number, segment in store._log.segments.items() if segment.hinted]
    assert {(key, packed) for key, (number, packed) in newest.items() if number in hinted} <= told
    assert all(newest[key][1] == packed or is_tombstone(packed) for key, packed in told)


def sealed_store(disk: MemoryDisk) -> tuple[Store, Segment]:
    """Return a store, and a sealed segment of it with a value and a tombstone that count."""
    store = open_store(disk, segment_bytes=1_000)
    store.append(record("value", 1, b'"old"'))
    store.append(record("grave", 2, None))
    for seq in range(3, 12):
        store.append(record("often", seq))
    commit(store)
    return store, store._log.segments[1]


def test_a_tombstone_forgotten_meanwhile_still_gets_into_the_hint() -> None:
    """It may hide an older value: what the index has forgotten is looked for in the file."""
    disk = MemoryDisk()
    store, segment = sealed_store(disk)
    work = write_hint(store._log, segment, store._keydirs)
    assert next(work)
    store.raise_floor(0, Version(1, 1, 12), Version(1, 1, 12))
    commit(store)
    list(work)
    assert not segment.hinted
    assert not [name for name in disk.names() if "hint" in name]
    list(write_hint(store._log, segment, store._keydirs))
    blocks = [block for block in read_hint(disk, 1, segment.size) or () if isinstance(block, HintBlockLine)]
    assert sorted(key for block in blocks for key in block.k) == ["grave", "value"]


def test_a_hint_waits_until_what_replaced_its_records_is_durable() -> None:
    """Until then a crash would bring the replaced record back, and its place must be known."""
    disk = MemoryDisk()
    store, segment = sealed_store(disk)
    before = state_of(store)
    store.append(record("value", 20, b'"new"'))
    for _ in zip(range(100), write_hint(store._log, segment, store._keydirs), strict=False):
        pass
    assert not segment.hinted
    disk.crash()
    assert state_of(open_store(disk)) == before


def test_what_is_remembered_is_bounded_and_checked() -> None:
    """A store with more sealed segments than it remembers, or that remembers less than all, reads them."""
    disk = MemoryDisk()
    store = open_store(disk, segment_bytes=1_000)
    for seq in range(1, 120):
        store.append(record(f"key {seq}", seq))
    commit(store)
    known = [segment for segment in store._log.segments.values() if segment.keys is not None]
    assert 1 < len(known) < len(store._log.segments)
    (known[0].keys or {}).popitem()
    state = state_of(store)
    tidy(store)
    assert all(segment.hinted for segment in store._log.segments.values() if segment.sealed)
    assert known[0].keys is None
    disk.crash()
    assert state_of(open_store(disk)) == state


def flipped(data: bytes, position: int) -> bytes:
    """Return data with one bit changed."""
    changed = bytearray(data)
    changed[position] ^= 1
    return bytes(changed)
