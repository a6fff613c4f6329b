"""What opening a store makes of what it finds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import structlog

from kvnode.core.versions import Ballot, Version
from kvnode.errors import DamageError, StorageError
from kvnode.storage.lines import seal
from kvnode.storage.memory_disk import MemoryDisk
from kvnode.storage.segment import segment_name
from tests.unit.storage.support import State, commit, open_store, record, state_of

LOG = segment_name(1)


def small_log() -> tuple[MemoryDisk, bytes, list[tuple[int, State]]]:
    """Return a disk with one segment, its bytes, and (size, state) after each line's end."""
    disk = MemoryDisk()
    store = open_store(disk)
    states = [(0, state_of(store))]
    appends: list[Callable[[], int]] = [
        lambda: store.set_voting(0),
        lambda: store.append(record("user:1", 1, b'{"name":"Ada"}')),
        lambda: store.append(record("\U0001f600", 2, b'"\xc3\xa4"', partition=3)),
        lambda: store.promise(0, Ballot(2, 1)),
        lambda: store.append(record("user:1", 3, None, copied=True)),
        lambda: store.raise_floor(0, Version(1, 1, 3), Version(1, 1, 3)),
        lambda: store.append(record("user:1", 4, b"[1]")),
    ]
    for append in appends:
        append()
        commit(store)
        states.append((len(disk.contents(LOG)), state_of(store)))
    return disk, disk.contents(LOG), states


def test_every_torn_tail_recovers_to_a_prefix() -> None:
    """Wherever the newest segment ends, what is read is the state after its last whole line."""
    disk, data, states = small_log()
    for size in range(len(data) + 1):
        disk.crash()
        disk.replace(LOG, data[:size])
        if not size:
            disk.crash()
        whole = [state for end, state in states if end <= size]
        almost = [state for end, state in states if end - 1 == size]
        store = open_store(disk)
        assert state_of(store) == (almost or whole)[-1], size
        store.append(record("later", 9, b"9"))
        expected = state_of(store)
        commit(store)
        disk.crash()
        again = open_store(disk)
        assert state_of(again) == expected
        disk.crash()
        for name in disk.names():
            if name.endswith(".jsonl"):
                disk.remove(name)
        disk.sync_folder()


def test_a_torn_tail_is_reported() -> None:
    """Cutting a line off is never silent."""
    disk, data, states = small_log()
    disk.crash()
    disk.replace(LOG, data[:-10])
    with structlog.testing.capture_logs() as logs:
        open_store(disk)
    end = states[-2][0]
    expected = {"event": "log_tail_cut", "log_level": "warning", "file": LOG, "offset": end}
    assert logs == [expected | {"cut_bytes": len(data) - 10 - end}]
    assert disk.contents(LOG) == data[:end]


def test_what_was_read_is_durable() -> None:
    """Lines that a killed process had written but not synced are synced before they count."""
    disk = MemoryDisk()
    store = open_store(disk)
    store.append(record("first", 1))
    commit(store)
    store.append(record("k", 2))

    def fault(operation: str, name: str) -> None:
        if operation == "sync":
            raise OSError(5, "killed")

    disk.fault = fault
    store.committer.step()
    disk.fault = None
    store.close()
    again = open_store(disk)
    state = state_of(again)
    assert again.entry(0, "k") is not None
    disk.crash()
    assert state_of(open_store(disk)) == state


@pytest.mark.parametrize(
    "line",
    [
        b'{"t":"x","p":0',
        b'{"t":"w","p":0,"later":1',
        b'{"t":"w","p":4',
        b'{"t":"w","p":-1',
        b'{"t":"d","p":4,"k":"k","a":[1,1],"ver":[1,1,1],"prev":null',
        b'{"t":"d","p":-1,"k":"k","a":[1,1],"ver":[1,1,1],"prev":null',
    ],
)
def test_lines_of_a_later_release_are_refused(line: bytes) -> None:
    """A whole line that is not understood, or a partition that there is not, is never guessed around."""
    disk, data, _ = small_log()
    disk.crash()
    disk.replace(LOG, data + seal(line))
    with pytest.raises(StorageError) as caught:
        open_store(disk)
    assert not isinstance(caught.value, DamageError)
    assert LOG in str(caught.value)


def test_another_number_of_partitions_is_refused() -> None:
    """Keys would be looked for in the wrong partitions."""
    disk, _, _ = small_log()
    disk.crash()
    with pytest.raises(StorageError, match="4 partitions, not 8"):
        open_store(disk, partitions=8)


def test_states_stand_at_the_head_of_every_segment() -> None:
    """Promises and floors are found though the segments that first held them are gone; votes go then."""
    disk = MemoryDisk()
    store = open_store(disk, segment_bytes=500)
    store.set_voting(1)
    store.promise(2, Ballot(7, 1))
    store.raise_floor(3, Version(5, 1, 5), Version(5, 1, 5))
    for seq in range(1, 20):
        store.append(record("k", seq))
    commit(store)
    names = [name for name in disk.names() if name.endswith(".jsonl")]
    assert len(names) > 3
    disk.crash()
    for name in names[:-1]:
        disk.remove(name)
    again = open_store(disk)
    assert (again.voting(1), again.promised(2), again.floor(3)) == (False, (7, 1), (5, 1, 5))
