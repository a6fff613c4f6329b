"""What the state machines of a worker share."""

from __future__ import annotations

from typing import cast

import pytest

from kvnode.core.context import Context
from kvnode.core.journal import Journal
from kvnode.core.ring import Member, Ring
from kvnode.core.settings import Bounds, Timing
from tests.unit.core.building import FakeJournal

MEMBERS = [Member(number, f"host-{number}") for number in (1, 2, 5, 9)]


@pytest.mark.parametrize("worker", [1, 2, 5, 9])
def test_the_next_by_number_is_asked_first(worker: int) -> None:
    """Of the other replicas those with higher numbers come first, in order, then those with lower ones."""
    ring = Ring.build(MEMBERS, partitions=64, vnodes=8, replicas=3)
    ctx = Context(
        worker,
        ring,
        cast("Journal", FakeJournal()),
        random=lambda: 0.5,
        timing=Timing(),
        bounds=Bounds(),
    )
    onward = [number for number in (1, 2, 5, 9, 1, 2, 5) if number != worker]
    start = sum(number < worker for number in (1, 2, 5, 9))
    for partition in range(64):
        held = ring.preference_list(partition)
        expected = [number for number in onward[start : start + 3] if number in held]
        assert list(ctx.others(partition)) == expected
        assert ctx.others(partition) is ctx.others(partition)
