"""One message in flight: batches that grow with load, in order, whatever breaks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kvnode.core.lane import Lane


def lane_of(*items: str, max_items: int = 10, max_bytes: int = 1000) -> Lane[str]:
    """Return a lane in which items wait, each of 10 bytes and offered a millisecond after the other."""
    lane = Lane[str](max_items, max_bytes)
    for now_ms, item in enumerate(items):
        lane.offer(item, 10, now_ms)
    return lane


def test_takes_all_that_waits() -> None:
    """A batch carries everything that gathered, in order."""
    assert lane_of("a", "b", "c").depart(1) == ["a", "b", "c"]


def test_one_in_flight() -> None:
    """While a batch is unanswered nothing else departs, and what comes meanwhile waits."""
    lane = lane_of("a")
    lane.depart(1)
    lane.offer("b", 10, 5)
    assert not lane.idle
    assert lane.answered(1) == ["a"]
    assert lane.idle
    assert lane.depart(2) == ["b"]


def test_an_answer_to_another_batch_is_ignored() -> None:
    """A late answer to an earlier batch frees nothing."""
    lane = lane_of("a", max_items=1)
    lane.depart(1)
    lane.answered(1)
    lane.offer("b", 10, 1)
    lane.depart(2)
    assert lane.answered(1) == []
    assert len(lane) == 1


def test_batches_are_bounded() -> None:
    """A batch holds no more items or bytes than allowed."""
    assert lane_of("a", "b", "c", max_items=2).depart(1) == ["a", "b"]
    assert lane_of("a", "b", "c", max_bytes=25).depart(1) == ["a", "b"]


def test_one_item_always_fits() -> None:
    """An item above the bound on bytes travels alone rather than never."""
    assert lane_of("a", "b", max_bytes=5).depart(1) == ["a"]


def test_a_broken_batch_may_be_sent_again() -> None:
    """After a break what was in flight goes first, in its old order."""
    lane = lane_of("a", "b", max_items=2)
    lane.depart(1)
    lane.offer("c", 10, 9)
    lane.broken_resend()
    assert lane.oldest_ms == 0
    assert lane.depart(2) == ["a", "b"]
    assert lane.answered(1) == []


def test_a_broken_batch_may_be_dropped() -> None:
    """After a break the lane tells what was in flight from what was never sent, and is empty."""
    lane = lane_of("a", max_items=1)
    lane.depart(1)
    lane.offer("b", 10, 9)
    assert lane.queued() == ["b"]
    assert lane.broken_drop() == (["a"], ["b"])
    assert (len(lane), lane.queued_bytes, lane.oldest_ms, lane.idle) == (0, 0, None, False)


def test_what_was_not_sent_can_be_taken_back() -> None:
    """Withdrawing leaves what is in flight, and its bytes, alone."""
    lane = lane_of("a", max_items=1)
    lane.depart(1)
    lane.offer("b", 10, 9)
    assert lane.withdraw() == ["b"]
    assert (len(lane), lane.queued_bytes) == (1, 10)
    assert lane.answered(1) == ["a"]
    assert (len(lane), lane.queued_bytes, lane.idle) == (0, 0, False)


@given(st.lists(st.sampled_from(["offer", "depart", "answer", "break"])))
def test_nothing_is_lost_or_reordered(steps: list[str]) -> None:
    """Whatever happens, what was answered and what still waits are together what was offered, in order."""
    lane = Lane[int](3, 1000)
    offered = number = 0
    answered: list[int] = []
    for step in steps:
        if step == "offer":
            lane.offer(offered, 7, 0)
            offered += 1
        elif step == "depart" and lane.idle:
            number += 1
            lane.depart(number)
        elif step == "answer":
            answered += lane.answered(number)
        elif step == "break":
            lane.broken_resend()
        assert lane.queued_bytes == 7 * len(lane)
    sent, unsent = lane.broken_drop()
    assert answered + sent + unsent == list(range(offered))
