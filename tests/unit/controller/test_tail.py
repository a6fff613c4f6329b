"""A bounded sequence with many readers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kvnode.controller.tail import Tail


def test_oldest_items_leave_past_the_item_bound() -> None:
    """No more than max_items are held, the newest ones."""
    tail: Tail[int] = Tail(3, 1000)
    for number in range(5):
        tail.append(number, 1)
    assert list(tail.newest_first()) == [4, 3, 2]
    assert tail.last == 5


def test_oldest_items_leave_past_the_byte_bound() -> None:
    """Sizes are added up and held below max_bytes."""
    tail: Tail[str] = Tail(100, 10)
    for size in (4, 4, 4):
        tail.append(str(size), size)
    assert len(tail) == 2
    assert tail.size_bytes == 8


def test_newest_item_stays_whatever_its_size() -> None:
    """One item larger than the bound is held alone."""
    tail: Tail[str] = Tail(100, 10)
    tail.append("small", 1)
    tail.append("large", 50)
    assert list(tail.newest_first()) == ["large"]


def test_a_reader_is_told_what_it_missed() -> None:
    """What left the sequence before it was read counts as skipped."""
    tail: Tail[int] = Tail(3, 1000)
    for number in range(10):
        tail.append(number, 1)
    assert tail.read(2, limit=100, max_bytes=1000, max_lag=100) == ([7, 8, 9], 10, 5)


def test_a_reader_far_behind_is_moved_to_the_newest() -> None:
    """Past max_lag a reader gets the newest items rather than old ones."""
    tail: Tail[int] = Tail(100, 1000)
    for number in range(50):
        tail.append(number, 1)
    assert tail.read(0, limit=2, max_bytes=1000, max_lag=40) == ([48, 49], 50, 48)


def test_a_batch_ends_before_it_is_too_large() -> None:
    """A batch stays below max_bytes, but holds one item at least."""
    tail: Tail[str] = Tail(100, 1000)
    for item in ("aaaa", "bbbb", "cccc"):
        tail.append(item, 4)
    assert tail.read(0, limit=10, max_bytes=8, max_lag=100).items == ["aaaa", "bbbb"]
    assert tail.read(0, limit=10, max_bytes=1, max_lag=100).items == ["aaaa"]


@given(st.lists(st.integers(0, 7)), st.integers(1, 5), st.integers(1, 5), st.integers(1, 12))
def test_what_is_read_and_what_is_skipped_add_up(
    bursts: list[int], held: int, limit: int, max_lag: int
) -> None:
    """Whatever the bounds, a reader's items are in order and all others are counted as skipped."""
    tail: Tail[int] = Tail(held, 1000)
    position = skipped = 0
    seen: list[int] = []
    for burst in bursts:
        for _ in range(burst):
            tail.append(tail.last + 1, 1)
        batch = tail.read(position, limit=limit, max_bytes=1000, max_lag=max_lag)
        assert len(batch.items) <= limit
        position = batch.position
        skipped += batch.skipped
        seen += batch.items
    assert seen == sorted(set(seen))
    assert len(seen) + skipped == position <= tail.last
