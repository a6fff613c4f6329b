"""Damage that reads and scrubs find while a store is in use: told at once, survived, set aside."""

from __future__ import annotations

from contextlib import suppress

import pytest
import structlog

from kvnode.core.versions import Version
from kvnode.errors import DamageError
from kvnode.storage.memory_disk import MemoryDisk
from kvnode.storage.scrub import REST_S
from kvnode.storage.segment import DAMAGED, hint_name, segment_name
from kvnode.storage.store import Store
from kvnode.storage.tidy import RATE_BYTES_S
from kvnode.storage.upkeep import Upkeep
from tests.unit.storage.damaged import (
    EVERYWHERE,
    SEGMENT_BYTES,
    History,
    segments,
    set_aside,
    votes,
    written,
)
from tests.unit.storage.support import (
    Crash,
    Faults,
    commit,
    open_store,
    partly,
    record,
    state_of,
    tidy,
)


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
