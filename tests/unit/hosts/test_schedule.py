"""The faults of a soak run: the same for the same seed, all kinds, and never two workers at once."""

from __future__ import annotations

from itertools import islice

from tests.hosts.plan import CONTROLLER
from tests.hosts.schedule import Fault, rounds


def test_a_seed_is_a_schedule() -> None:
    """One seed gives one list, another seed another."""
    assert list(islice(rounds(7), 100)) == list(islice(rounds(7), 100))
    assert list(islice(rounds(7), 100)) != list(islice(rounds(8), 100))


def test_every_kind_comes_before_any_comes_twice() -> None:
    """So many rounds as there are kinds of fault show each of them."""
    for seed in range(20):
        assert {one.steps[0].fault for one in islice(rounds(seed), len(Fault))} == set(Fault)


def test_a_second_fault_befalls_the_same_worker_or_the_controller() -> None:
    """The promise is for one worker: no round breaks two, but for a network cut in halves."""
    for one in islice(rounds(3), 1000):
        first, *more = one.steps
        assert all(step.hosts in (first.hosts, (CONTROLLER.name,)) for step in more)
        assert len(first.hosts) == (2 if first.fault is Fault.HALVES else 1)
