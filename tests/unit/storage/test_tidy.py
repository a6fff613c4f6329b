"""Background work is slow as long as it keeps up, and hurries when it does not."""

from __future__ import annotations

import pytest

from kvnode.storage.memory_disk import MemoryDisk
from kvnode.storage.store import Store
from kvnode.storage.tidy import PACES, RATE_BYTES_S, Pace
from tests.unit.storage.support import commit, open_store, record, tidy

SEGMENT_BYTES = 1_000


def seal(store: Store, segments: int) -> None:
    """Write new keys until so many segments more are sealed."""
    wanted = len(store._log.segments) + segments
    while len(store._log.segments) < wanted:
        store.append(record(f"key {store.appended_lsn}", store.appended_lsn + 1))
        commit(store)


@pytest.mark.parametrize(
    ("size", "busy_s", "rest_s"),
    [(RATE_BYTES_S // 2, 0.001, 0.5), (200, 0.001, 0.009), (200, 0.0, 200 / RATE_BYTES_S)],
)
def test_both_the_disk_and_the_interpreter_are_spared(size: int, busy_s: float, rest_s: float) -> None:
    """A step is followed by a rest for its bytes or for its time, whichever is longer."""
    assert Pace(RATE_BYTES_S, 0.1).pause_s(size, busy_s) == pytest.approx(rest_s)


def test_segments_that_pile_up_are_tidied_faster() -> None:
    """Each one more that waits raises the pace, up to a bound; when none is left it is the slowest again."""
    store = open_store(MemoryDisk(), segment_bytes=SEGMENT_BYTES)
    for _ in range(len(PACES) + 2):
        seal(store, 1)
        waiting = len(store._log.segments) - 1
        assert store.tidier.pace is PACES[min(waiting, len(PACES) - 1)]
    assert sorted(PACES) == list(PACES)
    tidy(store)
    assert store.tidier.pace is PACES[0]
