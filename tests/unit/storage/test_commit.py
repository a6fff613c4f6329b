"""Group commit: nothing before its sync, many lines per sync, and the first failure is the last."""

from __future__ import annotations

import errno
from threading import Event, get_ident

import pytest
import structlog

from kvnode.errors import StorageError
from kvnode.storage import commit as commit_module
from kvnode.storage.memory_disk import MemoryDisk
from tests.unit.storage.support import Faults, Heard, commit, open_store, record, state_of

DEADLINE_S = 10.0


def test_many_appends_are_one_sync() -> None:
    """All that gathered before a step is written and synced once."""
    faults, heard = Faults(), Heard()
    disk = MemoryDisk()
    store = open_store(disk, heard=heard)
    store.append(record("first", 1))
    commit(store)
    disk.fault = faults
    for seq in range(100):
        assert store.append(record(f"k{seq}", seq + 1)) == seq + 2
    assert (store.durable_lsn, heard.durable) == (1, [1])
    commit(store)
    assert faults.operations == [("write", "log-00000001.jsonl"), ("sync", "log-00000001.jsonl")]
    assert (store.durable_lsn, heard.durable) == (101, [1, 101])


def test_a_new_file_is_synced_and_then_its_folder() -> None:
    """A segment is durable before its name is, and both before anyone is told."""
    order: list[str] = []
    disk = MemoryDisk()
    store = open_store(disk, on_durable=lambda lsn: order.append(f"durable {lsn}"))
    disk.fault = lambda operation, _: order.append(operation)
    store.append(record("k", 1))
    commit(store)
    assert order == ["create", "write", "sync", "sync_folder", "durable 1"]


def test_a_sealed_segment_is_durable_before_the_next_exists() -> None:
    """Only the newest file can be torn: the one before is synced first."""
    faults = Faults()
    disk = MemoryDisk()
    store = open_store(disk, segment_bytes=400)
    disk.fault = faults
    for seq in range(1, 4):
        store.append(record("k", seq, b'"%s"' % (b"x" * 100)))
    commit(store)
    operations = [operation for operation, _ in faults.operations]
    assert operations == ["create", "write", "sync", "sync_folder"] * (len(operations) // 4)
    assert len(disk.names()) > 2


def test_values_are_readable_before_they_are_written() -> None:
    """A line on its way is read from memory, while gathering and while being written."""
    disk = MemoryDisk()
    store = open_store(disk)
    store.append(record("k", 1, b'"one"'))

    def check(operation: str, name: str) -> None:
        entry = store.entry(0, "k")
        assert entry is not None
        assert store.value(0, "k", entry) == b'"one"'

    check("", "")
    disk.fault = lambda operation, name: check(operation, name) if operation != "read" else None
    commit(store)
    disk.fault = None
    check("", "")


def test_the_thread_wakes_only_after_the_sync() -> None:
    """While a sync hangs nothing is durable, and the next batch gathers meanwhile."""
    syncing, go_on = Event(), Event()
    batches: list[int] = []
    told = Event()

    def hold(operation: str, name: str) -> None:
        if operation == "sync":
            syncing.set()
            assert go_on.wait(DEADLINE_S)

    def durable(lsn: int) -> None:
        assert get_ident() != caller
        batches.append(lsn)
        if lsn == 501:
            told.set()

    caller = get_ident()
    disk = MemoryDisk()
    store = open_store(disk, on_durable=durable)
    disk.fault = hold
    store.start()
    store.append(record("k0", 1))
    store.committer.wake()
    assert syncing.wait(DEADLINE_S)
    for seq in range(1, 501):
        store.append(record(f"k{seq}", seq))
    assert (store.durable_lsn, batches) == (0, [])
    go_on.set()
    assert told.wait(DEADLINE_S)
    assert batches == [1, 501]
    store.close()


@pytest.mark.parametrize("broken", ["create", "write", "sync", "sync_folder"])
def test_the_first_failure_is_the_last(broken: str) -> None:
    """After EIO nothing is tried again and nothing becomes durable; the owner hears of it once."""
    heard = Heard()
    disk = MemoryDisk()
    store = open_store(disk, heard=heard)

    def fault(operation: str, name: str) -> None:
        if operation == broken:
            raise OSError(errno.EIO, "input/output error")

    disk.fault = fault
    store.append(record("k", 1))
    commit(store)
    disk.fault = None
    store.append(record("k", 2))
    commit(store)
    store.close()
    assert (store.durable_lsn, heard.durable) == (0, [])
    assert [type(failure) for failure in heard.failures] == [StorageError]
    assert "input/output" in str(heard.failures[0])


def test_the_thread_reports_a_failure() -> None:
    """A failure in the writer's thread reaches the owner."""
    failed = Event()
    disk = MemoryDisk()
    heard = Heard()
    store = open_store(disk, heard=heard)

    def fault(operation: str, name: str) -> None:
        failed.set()
        raise OSError(errno.EIO, "input/output error")

    disk.fault = fault
    store.committer.start()
    store.append(record("k", 1))
    store.committer.wake()
    assert failed.wait(DEADLINE_S)
    store.close()
    assert len(heard.failures) == 1


def test_a_slow_sync_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync of more than a second is worth a line."""
    times = iter([0.0, 1.5])
    monkeypatch.setattr(commit_module, "monotonic", lambda: next(times))
    store = open_store(MemoryDisk())
    store.append(record("k", 1))
    with structlog.testing.capture_logs() as logs:
        commit(store)
    assert [(line["event"], line["took_s"]) for line in logs] == [("sync_slow", 1.5)]


def test_closing_makes_everything_durable() -> None:
    """What was appended before a stop in good order is there afterwards."""
    disk = MemoryDisk()
    store = open_store(disk)
    store.append(record("k", 1))
    state = state_of(store)
    store.close()
    disk.crash()
    assert state_of(open_store(disk)) == state
