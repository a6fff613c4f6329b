"""When batches to leaders depart."""

from __future__ import annotations

from functools import partial

from kvnode.core.departures import (
    ALIGNED_FROM,
    COMPANY_SHARE,
    GATHER_MS,
    LONGEST_GATHER_MS,
    Departures,
)


def departures_of(company: int) -> Departures:
    """Return departures that are used to so many operations under way."""
    departures = Departures([2, 3])
    for _ in range(50):
        assert departures.due(company, 0, 0, LONGEST_GATHER_MS, flying=True)
    return departures


def test_few_operations_wait_for_nothing() -> None:
    """Without load a batch leaves beside those in flight."""
    assert Departures([2]).due(1, 100, ALIGNED_FROM - 2, 100, flying=True)
    assert not Departures([2]).due(1, 100, ALIGNED_FROM - 1, 100, flying=True)


def test_many_wait_for_as_long_as_an_answer_usually_takes() -> None:
    """While something is in flight the wait follows what batches have taken, within bounds."""
    departures = Departures([2, 3])
    due = partial(departures.due, 32, 100, 32, flying=True)
    assert due(100 + GATHER_MS)
    for _ in range(100):
        departures.departed(2, 0)
        departures.answered(2, 10)
    assert not due(108)
    assert due(110)
    for _ in range(100):
        departures.departed(3, 0)
        departures.answered(3, 1000)
    assert not due(99 + LONGEST_GATHER_MS)
    assert due(100 + LONGEST_GATHER_MS)


def test_a_wave_waits_for_its_usual_company_when_nothing_is_in_flight() -> None:
    """The first answers bring the first new operations; they leave with those that follow at once."""
    departures = departures_of(64)
    enough = int(COMPANY_SHARE * 64) + 1
    assert not departures.due(enough - 2, 100, 0, 101, flying=False)
    assert departures.due(enough, 100, 0, 101, flying=False)


def test_company_that_does_not_come_is_not_waited_for() -> None:
    """When load goes down a wave leaves a moment later, and soon at once again."""
    departures = departures_of(64)
    assert not departures.due(2, 100, 0, 101, flying=False)
    assert departures.due(2, 100, 0, 100 + GATHER_MS, flying=False)
    waves = 0
    while not departures.due(2, 100, 0, 101, flying=False):
        departures.due(2, 100, 0, 100 + GATHER_MS, flying=False)
        waves += 1
    assert waves < 10
