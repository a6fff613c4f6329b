"""A full disk is waited out: nothing is lost, nothing acknowledged, and it ends by itself."""

from __future__ import annotations

import errno
from collections.abc import Callable
from threading import Event

import pytest
import structlog

from kvnode.errors import NoSpaceError
from kvnode.storage import commit as commit_module
from kvnode.storage.memory_disk import MemoryDisk
from kvnode.storage.space import CALM_CHECKS, CHECKS_A_RESERVE, Space
from kvnode.storage.store import Store
from kvnode.storage.tidy import GRACE_S
from kvnode.storage.upkeep import Upkeep
from tests.unit.storage.support import Heard, commit, open_store, partly, record, state_of, tidy

DEADLINE_S = 10.0
CHECKSUMS_BYTES = 100
"""By so much two logs of the same records may differ: a checksum's digits depend on the incarnation."""
CHANGES = ("create", "write", "sync", "truncate", "rename", "remove", "sync_folder")
KINDS = (errno.ENOSPC, errno.EDQUOT)


def some(store: Store, first: int, count: int) -> None:
    """Append some records, over several segments if those are small."""
    for seq in range(first, first + count):
        store.append(record(f"k{seq % 5}", seq, b'"%d"' % seq))


def refuse(number: int, *operations: str) -> Callable[[str, str], None]:
    """Return a fault hook that has no space for the operations named."""

    def fault(operation: str, name: str) -> None:
        if operation in operations:
            raise OSError(number, "no space", name)

    return fault


def test_a_batch_is_kept_whatever_of_it_fits() -> None:
    """However few bytes fit, nothing is told durable before all of it is, and then nothing is missing."""
    whole = MemoryDisk()
    store = open_store(whole, segment_bytes=400)
    blank = sum(len(whole.contents(name)) for name in whole.names())
    some(store, 1, 12)
    commit(store)
    size = sum(len(whole.contents(name)) for name in whole.names())
    for capacity in range(blank, size - CHECKSUMS_BYTES, 7):
        disk, heard = MemoryDisk(), Heard()
        store = open_store(disk, segment_bytes=400, heard=heard)
        disk.capacity = capacity
        some(store, 1, 12)
        state = state_of(store)
        for _ in range(3):
            assert not store.committer.step()
        assert (store.full, store.durable_lsn, heard.durable, heard.failures) == (True, 0, [], [])
        assert state_of(store) == state
        disk.capacity = None
        commit(store)
        assert (store.durable_lsn, heard.durable) == (12, [12])
        assert state_of(store) == state
        disk.crash()
        assert state_of(open_store(disk)) == state


def test_a_crash_on_a_full_disk_keeps_what_was_acknowledged() -> None:
    """What had been synced before the disk filled up is there, and later lines only in their order."""
    for seed in range(200):
        disk = MemoryDisk()
        store = open_store(disk, segment_bytes=400)
        states = [state_of(store)]
        for seq in range(1, 13):
            some(store, seq, 1)
            states.append(state_of(store))
            if seq == 4:
                commit(store)
                disk.capacity = sum(len(disk.contents(name)) for name in disk.names()) + 7 * seed
        commit(store)
        disk.crash(partly(seed))
        disk.capacity = None
        assert state_of(open_store(disk)) in states[4:]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("operation", ["create", "write", "sync", "sync_folder"])
def test_a_want_of_space_is_no_failure(operation: str, kind: int) -> None:
    """At every step of a commit a full disk or quota is tried again, and the file's name is synced too."""
    disk, heard = MemoryDisk(), Heard()
    store = open_store(disk, heard=heard)
    disk.fault = refuse(kind, operation)
    some(store, 1, 3)
    commit(store)
    some(store, 4, 3)
    commit(store)
    assert (store.full, store.durable_lsn, heard.failures) == (True, 0, [])
    disk.fault = None
    commit(store)
    assert store.durable_lsn == 6
    state = state_of(store)
    disk.crash()
    assert state_of(open_store(disk)) == state


def test_the_reserve_is_kept_with_some_slack() -> None:
    """Below the reserve the store is full though writes succeed; it stays so until there is clearly room."""
    disk = MemoryDisk(capacity=10_000)
    with structlog.testing.capture_logs() as logs:
        store = open_store(disk, upkeep=Upkeep(reserve_bytes=4_000))
        assert not store.full
        some(store, 1, 80)
        commit(store)
        assert (store.full, store.durable_lsn) == (True, 80)
        used = 10_000 - disk.free_bytes()
        disk.capacity = used + 4_999
        for _ in range(2 * CALM_CHECKS):
            store.committer.step()
        assert store.full
        disk.capacity = used + 5_000
        for _ in range(CALM_CHECKS):
            assert store.full
            store.committer.step()
        assert not store.full
    assert [line["event"] for line in logs] == ["disk_full", "disk_space_back"]
    assert (logs[0]["reserve_bytes"], logs[1]["free_bytes"]) == (4_000, 5_000)


def test_a_store_on_a_full_disk_says_so_at_once() -> None:
    """Fullness is known as soon as the store is open, before anything is written."""
    disk = MemoryDisk(capacity=1_000)
    assert open_store(disk, upkeep=Upkeep(reserve_bytes=2_000)).full


def test_a_folder_that_cannot_be_begun_for_want_of_space_may_be_tried_again() -> None:
    """Opening says that space is missing, which is no damage, and leaves the folder free."""
    disk = MemoryDisk(capacity=0)
    with pytest.raises(NoSpaceError):
        open_store(disk)
    disk.capacity = None
    open_store(disk)


def test_the_writer_goes_on_when_space_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread tries by itself, and stops in good order while the disk is full."""
    monkeypatch.setattr(commit_module, "CHECK_S", 0.01)
    tried, durable = Event(), Event()
    disk = MemoryDisk()
    store = open_store(disk, on_durable=lambda lsn: durable.set() if lsn == 3 else None)

    def full(operation: str, name: str) -> None:
        if operation == "write":
            tried.set()
            raise OSError(errno.ENOSPC, "no space")

    disk.fault = full
    store.committer.start()
    some(store, 1, 3)
    store.committer.wake()
    assert tried.wait(DEADLINE_S)
    disk.fault = None
    assert durable.wait(DEADLINE_S)
    disk.fault = full
    some(store, 4, 3)
    store.close()
    assert store.durable_lsn == 3


def used_store(disk: MemoryDisk) -> Store:
    """Return a store with segments that are worth merging and have no hint files."""
    store = open_store(disk, segment_bytes=500)
    some(store, 1, 40)
    commit(store)
    return store


@pytest.mark.parametrize("lasting", [1, 3, 10_000])
def test_background_work_survives_a_full_disk_at_every_step(lasting: int) -> None:
    """Whichever operation finds no space, for long or short, everything is readable, also after a crash."""
    at, done = 0, False
    while not done:
        disk = MemoryDisk()
        store = used_store(disk)
        now = [0.0]
        store.tidier._clock = lambda now=now: now[0]  # type: ignore[misc]
        before, seen = state_of(store), 0

        def fault(operation: str, name: str, at: int = at) -> None:
            nonlocal seen
            if operation in CHANGES:
                seen += 1
                if at < seen <= at + lasting:
                    raise OSError(errno.ENOSPC, "no space", name)

        disk.fault = fault
        for _ in range(200):
            if store.tidier.step() is None:
                break
        assert state_of(store) == before, at
        if lasting == 10_000:
            disk.fault = None
        now[0] = GRACE_S
        tidy(store)
        assert state_of(store) == before, at
        done = seen <= at
        disk.fault = None
        disk.crash()
        assert state_of(open_store(disk, segment_bytes=500)) == before, at
        assert not [name for name in disk.names() if name.endswith(".tmp")]
        at += 1
    assert at > 10


def test_a_merge_may_use_the_reserve() -> None:
    """Below the reserve merges go on, and their space ends the fullness."""
    disk = MemoryDisk()
    store = open_store(disk, segment_bytes=500, upkeep=Upkeep(reserve_bytes=1_500))
    disk.capacity = 7_000
    seq = 0
    while not store.full:
        seq += 1
        some(store, seq, 1)
        commit(store)
    tidy(store)
    for _ in range(CALM_CHECKS):
        store.committer.step()
    assert not store.full


def test_a_busy_disk_is_asked_now_and_then() -> None:
    """Small writes do not ask how much is free each; before a small part of the reserve is used, one does."""
    asked: list[int] = []

    class Counting(MemoryDisk):
        def free_bytes(self) -> int:
            asked.append(1)
            return 10 << 20

    space = Space(Counting(), reserve_bytes=8 << 20)
    for _ in range(CHECKS_A_RESERVE):
        space.wrote(1)
    assert 1 < len(asked) < CHECKS_A_RESERVE // 2
    before = len(asked)
    space.wrote((8 << 20) // CHECKS_A_RESERVE)
    assert len(asked) == before + 1
