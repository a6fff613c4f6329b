"""Random schedules of faults under concurrent clients: every history must be linearizable.

A seed that fails is in the test's name, and is the same history whenever it is run again.
"""

from __future__ import annotations

import pytest

from tests.simulation.chaos import Chaos
from tests.simulation.history import check_linearizable

SEEDS = 200


@pytest.mark.parametrize("seed", range(SEEDS))
def test_any_faults_leave_one_register_per_key(seed: int) -> None:
    """Whatever is cut, crashed, paused or wiped, answers never contradict, and in the end all copies meet."""
    chaos = Chaos(seed, wipes=seed % 2 == 1)
    chaos.run()
    check_linearizable(chaos.calls)


def test_a_seed_is_one_history() -> None:
    """The same seed gives the same operations with the same outcomes at the same times."""

    def history() -> list[tuple[object, ...]]:
        chaos = Chaos(7, wipes=True)
        chaos.run()
        return [(call.began_ms, call.ended_ms, call.operation, call.outcome) for call in chaos.calls]

    assert history() == history()
