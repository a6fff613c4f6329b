"""Hint files help, and are never trusted further than their checksum."""

from __future__ import annotations

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from kvnode.core.hash_tree import HashTree
from kvnode.storage.hints import packed_of, read_hint
from kvnode.storage.keydir import unpack
from kvnode.storage.lines import HintBlockLine, KeyLine
from kvnode.storage.memory_disk import MemoryDisk
from kvnode.storage.placed import pack_line
from kvnode.storage.segment import read_lines, segment_name
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
    st.lists(st.tuples(st.integers(0, PARTITIONS - 1), st.sampled_from("abcde"), st.booleans()), max_size=40)
)
def test_blocks_say_what_the_lines_say(appends: list[tuple[int, str, bool]]) -> None:
    """A hint file gives every record of the segment, in order, and the sum of the newest ones' hashes."""
    disk = MemoryDisk()
    store = open_store(disk)
    for seq, (partition, key, deletes) in enumerate(appends, 1):
        store.append(record(key, seq, None if deletes else b"1", partition=partition, copied=seq % 3 == 0))
    store.set_voting(1)
    commit(store)
    disk.crash()
    store = open_store(disk)
    tidy(store)
    file = disk.open(segment_name(1))
    expected: list[list[tuple[str, bytes]]] = [[] for _ in range(PARTITIONS)]
    for offset, line, meaning in read_lines(file, file.size()):
        if isinstance(meaning, KeyLine):
            packed = pack_line(meaning, 1, offset, len(line), WORKER)
            expected[meaning.p].append((meaning.k, packed))
    found: list[list[tuple[str, bytes]]] = [[] for _ in range(PARTITIONS)]
    for block in read_hint(disk, 1, file.size()) or ():
        if isinstance(block, HintBlockLine):
            records = list(zip(block.k, packed_of(block, 1), strict=True))
            found[block.p] += records
            tree = HashTree()
            for key, packed in dict(records).items():
                tree.toggle(key, unpack(packed), WORKER)
            assert tree.buckets == block.x
    assert found == expected


def flipped(data: bytes, position: int) -> bytes:
    """Return data with one bit changed."""
    changed = bytearray(data)
    changed[position] ^= 1
    return bytes(changed)
