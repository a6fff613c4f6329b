"""The rate of background work."""

from __future__ import annotations

from kvnode.core.throttle import Throttle


def test_work_is_paid_for_by_waiting() -> None:
    """After so many units nothing is begun for as long as they take at the rate."""
    throttle = Throttle(100)
    assert throttle.is_open(0)
    throttle.spend(50, 0)
    assert not throttle.is_open(499)
    assert throttle.is_open(500)


def test_what_was_begun_before_is_paid_for_too() -> None:
    """Work that ends while nothing may be begun adds up; idle time is not saved."""
    throttle = Throttle(1000)
    throttle.spend(100, 0)
    throttle.spend(100, 50)
    assert not throttle.is_open(199)
    assert throttle.is_open(200)
    throttle.spend(100, 10_000)
    assert not throttle.is_open(10_099)
