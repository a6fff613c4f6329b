"""When batches to leaders depart."""

from __future__ import annotations

from kvnode.core.departures import ALIGNED_FROM, GATHER_MS, LONGEST_GATHER_MS, Departures


def test_few_operations_wait_for_nothing() -> None:
    """Without load a batch leaves beside those in flight."""
    assert Departures([2]).due(ALIGNED_FROM - 1, 100, 100)
    assert not Departures([2]).due(ALIGNED_FROM, 100, 100)


def test_many_wait_for_as_long_as_an_answer_usually_takes() -> None:
    """The wait follows what batches have taken, within bounds."""
    departures = Departures([2, 3])
    assert departures.due(64, 100, 100 + GATHER_MS)
    for _ in range(100):
        departures.departed(2, 0)
        departures.answered(2, 10)
    assert not departures.due(64, 100, 108)
    assert departures.due(64, 100, 110)
    for _ in range(100):
        departures.departed(3, 0)
        departures.answered(3, 1000)
    assert not departures.due(64, 100, 99 + LONGEST_GATHER_MS)
    assert departures.due(64, 100, 100 + LONGEST_GATHER_MS)
