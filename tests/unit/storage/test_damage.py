"""Damage that a start finds: sound lines are kept, votes given up first, the file set aside."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import structlog

from kvnode.storage.memory_disk import MemoryDisk
from kvnode.storage.segment import DAMAGED, hint_name, segment_name
from kvnode.storage.store import Store
from tests.unit.storage.damaged import (
    EVERYWHERE,
    SEGMENT_BYTES,
    assert_nothing_invented,
    segments,
    set_aside,
    votes,
    written,
)
from tests.unit.storage.support import (
    commit,
    open_store,
    record,
    state_of,
    tidy,
)


def changes(data: bytes) -> list[bytes]:
    """Return the data with each byte changed, in one of three ways."""
    changed = []
    for position, byte in enumerate(data):
        copy = bytearray(data)
        copy[position] ^= (0x01, 0x80, byte ^ ord("\n"))[position % 3] or 0x01
        changed.append(bytes(copy))
    return changed


def test_every_changed_byte_is_found() -> None:
    """Whichever byte of the newest segment changes: no vote is left, and nothing is invented."""
    disk, history, _ = written()
    name = segments(disk)[-1]
    data, names = disk.contents(name), disk.names()
    whole = {other: disk.contents(other) for other in names}
    for changed in changes(data):
        disk.replace(name, changed)
        with structlog.testing.capture_logs() as logs:
            store = open_store(disk, segment_bytes=SEGMENT_BYTES)
        damaged = [line for line in logs if line["event"] == "segment_damaged"]
        assert {line["file"] for line in damaged} == {name}
        assert all(line["log_level"] == "error" and line["reason"] for line in damaged)
        assert votes(store) == frozenset()
        assert_nothing_invented(store, history)
        state = state_of(store)
        tidy(store)
        assert set_aside(disk) == [name + DAMAGED]
        assert disk.contents(name + DAMAGED) == changed
        assert state_of(store) == state
        disk.crash()
        with structlog.testing.capture_logs() as logs:
            again = open_store(disk, segment_bytes=SEGMENT_BYTES)
        assert not [line for line in logs if line["log_level"] != "info"]
        assert state_of(again) == state
        disk.crash()
        for other in disk.names():
            disk.remove(other)
        disk.sync_folder()
        for other in names:
            disk.replace(other, whole[other])


def test_only_the_damaged_line_is_lost() -> None:
    """The lines before and after a damaged one are there, and the report names the line."""
    disk = MemoryDisk()
    store = open_store(disk)
    for seq in range(1, 10):
        store.append(record(f"k{seq}", seq, b'"value %d"' % seq))
    commit(store)
    disk.crash()
    disk.replace(segment_name(1), disk.contents(segment_name(1)).replace(b"value 5", b"value 6"))
    with structlog.testing.capture_logs() as logs:
        again = open_store(disk)
    assert sorted(again.keys(0)) == [f"k{seq}" for seq in range(1, 10) if seq != 5]
    assert [(line["line"], line["offset"]) for line in logs] == [(6, entry_offset(store, "k5"))]


def entry_offset(store: Store, key: str) -> int:
    """Return where the line of a key of partition 0 begins."""
    entry = store.entry(0, key)
    assert entry is not None
    return entry.offset


def lose_header(data: bytes) -> bytes:
    """Cut the first line off."""
    return data[data.index(b"\n") + 1 :]


def lose_middle(data: bytes) -> bytes:
    """Cut a piece out, beginning and ending within lines."""
    return data[: len(data) // 3] + data[len(data) // 2 :]


def lose_lines(data: bytes) -> bytes:
    """Cut whole lines out of the middle."""
    lines = data.splitlines(keepends=True)
    return b"".join(lines[:3] + lines[5:])


def lose_end(data: bytes) -> bytes:
    """Cut the last line off, in whole."""
    return data[: data.rindex(b"\n", 0, -1) + 1]


def spoil(data: bytes) -> bytes:
    """Put garbage in the middle."""
    middle = len(data) // 2
    return data[:middle] + b"\x00\xff\n" * 40 + data[middle + 120 :]


@pytest.mark.parametrize("hinted", [False, True])
@pytest.mark.parametrize("wrong", [lose_header, lose_middle, lose_lines, lose_end, spoil, lambda _: b""])
def test_a_sealed_segment_that_is_wrong_costs_the_votes(
    wrong: Callable[[bytes], bytes], *, hinted: bool
) -> None:
    """Whatever is missing in an older segment, whole lines too, is noticed at the start."""
    disk, history, count = written()
    for name in segments(disk)[:-1]:
        data = disk.contents(name)
        if not hinted and hint_name(int(name[4:12])) in disk.names():
            disk.remove(hint_name(int(name[4:12])))
            disk.sync_folder()
        if wrong(data) == data:
            continue
        disk.replace(name, wrong(data))
        if hinted and len(wrong(data)) == len(data):
            disk.replace(name, data)
            continue
        store = open_store(disk, segment_bytes=SEGMENT_BYTES)
        assert votes(store) == frozenset()
        assert_nothing_invented(store, history)
        tidy(store)
        assert set_aside(disk) == [name + DAMAGED]
        break
    assert count > 3


def test_a_missing_segment_is_noticed() -> None:
    """A segment that the newest header counts on and that no merge replaced: the votes go, once."""
    for merged in (False, True):
        disk, history, _ = written()
        if merged:
            store = open_store(disk, segment_bytes=SEGMENT_BYTES)
            store.append(record("k0", 30))
            commit(store)
            tidy(store)
            disk.crash()
            history.add(record("k0", 30))
        name = segments(disk)[1]
        disk.remove(name)
        disk.sync_folder()
        store = open_store(disk, segment_bytes=SEGMENT_BYTES)
        assert votes(store) == frozenset()
        assert_nothing_invented(store, history)
        for partition in EVERYWHERE:
            store.set_voting(partition)
        commit(store)
        disk.crash()
        assert votes(open_store(disk, segment_bytes=SEGMENT_BYTES)) == EVERYWHERE


def test_a_merged_segment_that_lost_its_end_is_noticed() -> None:
    """Whole lines missing from a segment that no header lists yet: its hint file knows how long it was."""
    disk = MemoryDisk()
    store = open_store(disk, segment_bytes=SEGMENT_BYTES)
    store.set_voting(0)
    for seq in range(1, 60):
        store.append(record(f"k{seq % 7}", seq))
    commit(store)
    tidy(store)
    disk.crash()
    merged = [name for name in segments(disk) if b'"replaces":[],' not in disk.contents(name)]
    disk.replace(merged[-1], lose_end(disk.contents(merged[-1])))
    assert not open_store(disk, segment_bytes=SEGMENT_BYTES).voting(0)


def test_merges_leave_no_gap() -> None:
    """However often segments are merged and merged again, no start takes one for missing."""
    disk = MemoryDisk()
    store = open_store(disk, segment_bytes=SEGMENT_BYTES)
    for partition in EVERYWHERE:
        store.set_voting(partition)
    for seq in range(1, 400):
        store.append(record(f"k{seq % 11}", seq, b'"%d"' % seq))
        commit(store)
        if seq % 23 == 0:
            tidy(store)
        if seq % 41 == 0:
            disk.crash()
            store = open_store(disk, segment_bytes=SEGMENT_BYTES)
            assert votes(store) == EVERYWHERE
    replaces = [segment.replaces for segment in store._log.segments.values()]
    assert max(len(numbers) for numbers in replaces) < 40


@pytest.mark.parametrize("swap", [False, True])
def test_segments_in_each_others_place_are_noticed(*, swap: bool) -> None:
    """Of two files that were swapped or doubled nothing old overrides what is newer."""
    disk, history, _ = written()
    before = state_of(open_store(disk, segment_bytes=SEGMENT_BYTES))
    disk.crash()
    first, second = segments(disk)[:2]
    data = disk.contents(first), disk.contents(second)
    disk.replace(second, data[0])
    if swap:
        disk.replace(first, data[1])
    store = open_store(disk, segment_bytes=SEGMENT_BYTES)
    assert votes(store) == frozenset()
    assert_nothing_invented(store, history)
    if swap:
        assert state_of(store)[0] == before[0]
    tidy(store)
    assert len(set_aside(disk)) == (2 if swap else 1)
