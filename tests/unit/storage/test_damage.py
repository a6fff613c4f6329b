"""Damage is found, told, survived: sound lines are kept, votes given up first, the file set aside."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
import structlog

from kvnode.core.records import Record
from kvnode.core.versions import Ballot, Version
from kvnode.errors import DamageError
from kvnode.storage.memory_disk import MemoryDisk
from kvnode.storage.scrub import REST_S
from kvnode.storage.segment import DAMAGED, hint_name, segment_name
from kvnode.storage.store import Store
from kvnode.storage.tidy import RATE_BYTES_S
from kvnode.storage.upkeep import Upkeep
from tests.unit.storage.support import (
    PARTITIONS,
    Crash,
    Faults,
    commit,
    open_store,
    partly,
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
    history = {record(f"k{seq % 7}", seq, b'"%d"' % seq, partition=seq % 3) for seq in range(1, 20)}
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


def damage_a_line(disk: MemoryDisk, store: Store) -> tuple[int, str]:
    """Change the value of the oldest record in a segment with a hint; return its partition and key."""
    living = [
        (entry.segment, entry.offset, entry.length, partition, key)
        for partition in EVERYWHERE
        for key in store.keys(partition)
        if (entry := store.entry(partition, key)) is not None and not entry.tombstone
    ]
    number, offset, length, partition, key = min(living)
    assert hint_name(number) in disk.names()
    data = bytearray(disk.contents(segment_name(number)))
    data[offset + length - 5] ^= 1
    disk.replace(segment_name(number), bytes(data))
    return partition, key


def in_use() -> tuple[MemoryDisk, Store, History, list[frozenset[int]]]:
    """Return an open store with hinted segments that has written since its start, and what it is told."""
    disk, history, _ = written()
    told: list[frozenset[int]] = []
    store = reopened(disk, told)
    history.add(record("begun", 50))
    store.append(record("begun", 50))
    commit(store)
    return disk, store, history, told


def reopened(disk: MemoryDisk, told: list[frozenset[int]] | None = None) -> Store:
    """Open a store that scrubs as fast as it can."""
    upkeep = Upkeep(scrub_bytes_per_s=1 << 30)
    told = [] if told is None else told
    return open_store(disk, segment_bytes=SEGMENT_BYTES, on_damage=told.append, upkeep=upkeep)


def read_all(store: Store) -> History:
    """Read every record; those that turn out damaged are dropped on the way."""
    for partition in EVERYWHERE:
        for key in list(store.keys(partition)):
            entry = store.entry(partition, key)
            if entry is not None and not entry.tombstone:
                with suppress(DamageError):
                    store.value(partition, key, entry)
    return set(state_of(store)[0].values())


def test_a_read_that_finds_damage_gives_the_vote_up_at_once() -> None:
    """The key's partition loses its vote and the key at once; the tidier sets the file aside."""
    disk, store, history, told = in_use()
    partition, key = damage_a_line(disk, store)
    entry = store.entry(partition, key)
    assert entry is not None
    with pytest.raises(DamageError) as caught:
        store.value(partition, key, entry)
    assert caught.value.offset == entry.offset
    assert store.entry(partition, key) is None
    assert told == [frozenset([partition])]
    assert votes(store) == EVERYWHERE - {partition}
    state = state_of(store)
    with structlog.testing.capture_logs() as logs:
        tidy(store)
    assert [line["offset"] for line in logs if line["event"] == "segment_damaged"] == [entry.offset]
    assert len(set_aside(disk)) == 1
    assert told == [frozenset([partition])]
    assert state_of(store) == state
    disk.crash()
    assert state_of(reopened(disk)) == state
    assert set(state[0].values()) <= history


def test_the_scrub_finds_what_nobody_reads() -> None:
    """Only the partition that lost something gives up its vote, and is told of after it has."""
    disk, store, _, told = in_use()
    partition, key = damage_a_line(disk, store)
    tidy(store)
    assert store.entry(partition, key) is None
    assert told == [frozenset([partition])]
    assert votes(store) == EVERYWHERE - {partition}
    assert len(set_aside(disk)) == 1


def test_the_states_are_durable_elsewhere_before_their_file_is_set_aside() -> None:
    """Whenever the power goes while nothing is written to the log: promises and votes are kept."""
    waited = False
    for steps in range(100):
        disk, _, _ = written()
        tidy(open_store(disk, segment_bytes=SEGMENT_BYTES))
        disk.crash()
        store = reopened(disk)
        before = state_of(store)
        name = segments(disk)[-1]
        data = disk.contents(name)
        disk.flip(name, data.index(b"\n") + 5, 1)
        for _ in range(steps):
            store.tidier.step()
        kept = not set_aside(disk)
        disk.crash()
        if kept:
            disk.replace(name, data)
        assert state_of(open_store(disk, segment_bytes=SEGMENT_BYTES)) == before, steps
        waited = store.appended_lsn > store.durable_lsn
    assert waited


@pytest.mark.parametrize("restarted", [False, True])
def test_a_crash_at_any_step_of_setting_aside_keeps_what_is_sound(*, restarted: bool) -> None:
    """Whenever power goes: what is lost has no vote, what is sound is there, and no file is doubled."""
    at, done = 0, False
    while not done:
        for survives in (lambda _: 0, lambda count: count, *(partly(10 * at + n) for n in range(4))):
            disk, store, history, _ = in_use()
            held = read_all(store)
            damage_a_line(disk, store)
            if restarted:
                for name in [name for name in disk.names() if name.endswith(".hint")]:
                    disk.remove(name)
                disk.crash(lambda count: count)
            faults = disk.fault = Faults(at)
            try:
                if restarted:
                    store = reopened(disk)
                tidy(store)
                done = True
            except Crash:
                pass
            disk.crash(survives)
            disk.fault = None
            again = reopened(disk)
            again.append(record("begun", 50))
            commit(again)
            now = read_all(again)
            assert now <= history, faults.operations
            assert all(not again.voting(lost.partition) for lost in held - now), faults.operations
            assert len(held - now) == 1
            tidy(again)
            assert read_all(again) == now
            assert len(set_aside(disk)) == 1
            assert not [name for name in disk.names() if name.endswith(".tmp")]
        at += 1
    assert at > 8


def deleted_and_forgotten() -> tuple[MemoryDisk, Store, str]:
    """Return a store with a forgotten tombstone and the value that it hides, and the file of the former."""
    disk = MemoryDisk()
    store = open_store(disk, segment_bytes=SEGMENT_BYTES)
    store.set_voting(0)
    store.append(record("gone", 1, b'"old"'))
    for seq in range(2, 9):
        store.append(record(f"a{seq}", seq, b'"%s"' % (b"x" * 100)))
    store.append(record("gone", 9, None))
    tomb = max(store._log.segments)
    for seq in range(10, 18):
        store.append(record(f"b{seq}", seq, b'"%s"' % (b"x" * 100)))
    store.raise_floor(0, Version(1, 1, 17), Version(1, 1, 17))
    commit(store)
    tidy(store)
    name = segment_name(tomb)
    assert b'"t":"d"' in disk.contents(name)
    assert b'"k":"gone"' in disk.contents(segment_name(1))
    return disk, store, name


def spoil_tombstone(disk: MemoryDisk, name: str) -> None:
    """Change one byte of the tombstone's line."""
    disk.replace(name, disk.contents(name).replace(b'"t":"d"', b'"t":"D"'))


def test_a_lost_tombstone_brings_nothing_back() -> None:
    """Where the hint file tells that a forgotten tombstone is damaged, its key stays absent for good."""
    disk, store, name = deleted_and_forgotten()
    store._log.segments[int(name[4:12])].damaged = True
    spoil_tombstone(disk, name)
    tidy(store)
    assert set_aside(disk) == [name + DAMAGED]
    assert store.voting(0)
    state = state_of(store)
    disk.crash()
    again = open_store(disk, segment_bytes=SEGMENT_BYTES)
    assert again.entry(0, "gone") is None
    assert again.voting(0)
    assert state_of(again) == state


def test_without_a_hint_the_file_stays_until_the_next_start() -> None:
    """Where nobody knows what the damaged line was, the next start gives up all votes."""
    disk, store, name = deleted_and_forgotten()
    number = int(name[4:12])
    disk.replace(hint_name(number), b"broken")
    store._log.segments[number].damaged = True
    spoil_tombstone(disk, name)
    with structlog.testing.capture_logs() as logs:
        tidy(store)
    assert "segment_kept" in [line["event"] for line in logs]
    assert set_aside(disk) == []
    disk.crash()
    again = open_store(disk, segment_bytes=SEGMENT_BYTES)
    assert not again.voting(0)
    tidy(again)
    assert set_aside(disk) == [name + DAMAGED]


@pytest.mark.parametrize("read", [False, True])
def test_a_sound_line_in_anothers_place_is_damage(*, read: bool) -> None:
    """Two lines of one length that changed places are both sound, and both lost."""
    disk = MemoryDisk()
    store = open_store(disk, segment_bytes=SEGMENT_BYTES)
    store.set_voting(0)
    for seq in range(1, 9):
        store.append(record(f"k{seq}", seq, b'"%s"' % (b"x" * 100) if seq > 2 else None))
    commit(store)
    tidy(store)
    lines = disk.contents(segment_name(1)).splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if b'"t":"d"' in line)
    value = first + 2
    lines[first : value + 2] = [*lines[value : value + 2], *lines[first:value]]
    disk.replace(segment_name(1), b"".join(lines))
    if read:
        entry = store.entry(0, "k3")
        assert entry is not None
        with pytest.raises(DamageError):
            store.value(0, "k3", entry)
    else:
        store._log.segments[1].damaged = True
    tidy(store)
    assert set_aside(disk) == [segment_name(1) + DAMAGED]
    assert sorted(set(store.keys(0))) == ["k5", "k6", "k7", "k8"]
    assert not store.voting(0)
    state = state_of(store)
    disk.crash()
    assert state_of(open_store(disk, segment_bytes=SEGMENT_BYTES)) == state


def test_what_only_looked_damaged_is_left_alone() -> None:
    """A segment that reads well the second time stays as it is."""
    disk, store, _, told = in_use()
    before = state_of(store)
    store._log.segments[min(store._log.segments)].damaged = True
    with structlog.testing.capture_logs() as logs:
        tidy(store)
    assert "damage_not_found_again" in [line["event"] for line in logs]
    assert (state_of(store), set_aside(disk), told) == (before, [], [])


def test_a_scrub_passes_once_a_day_and_over_everything() -> None:
    """A pass reads every sealed byte, says so, and the next begins a day after."""
    disk, _, _ = written()
    now = [0.0]
    upkeep = Upkeep(scrub_bytes_per_s=1 << 30, clock=lambda: now[0])
    store = open_store(disk, segment_bytes=SEGMENT_BYTES, upkeep=upkeep)
    size = store.disk_bytes
    finished = []
    for now[0] in (0.0, 1.0, REST_S - 1, REST_S + 1):
        with structlog.testing.capture_logs() as logs:
            tidy(store)
        finished += [(now[0], line["bytes"]) for line in logs if line["event"] == "scrub_finished"]
    assert finished == [(0.0, size), (REST_S + 1, size)]


def test_a_scrub_is_as_slow_as_it_is_told() -> None:
    """A byte that the scrub reads counts as much more background work as it is to be slower."""
    disk, _, _ = written()
    upkeep = Upkeep(scrub_bytes_per_s=RATE_BYTES_S // 8)
    store = open_store(disk, segment_bytes=SEGMENT_BYTES, upkeep=upkeep)
    costs = []
    while (cost := store.tidier.step()) is not None:
        costs.append(cost)
    assert sum(costs) >= 8 * store.disk_bytes
