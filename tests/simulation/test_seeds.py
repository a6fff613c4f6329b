"""Random schedules of faults under concurrent clients, each from one seed, judged by all oracles.

``python -m tests.simulation replay SEED`` shows what happened in one; ``make simulate`` runs many.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref

import pytest

from tests.simulation.runner import replay_command
from tests.simulation.simulation import Simulation

SEEDS = range(1, 301)
DIGESTED = 17
SCRIPT = """
import sys
from tests.simulation.simulation import Simulation
simulation = Simulation(int(sys.argv[1]))
simulation.cluster.network.watch()
simulation.run()
print(simulation.digest())
"""


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_keeps_every_promise(seed: int) -> None:
    """Whatever fails meanwhile, answers never contradict, no acknowledged write is lost, all copies meet."""
    simulation = Simulation(seed)
    try:
        simulation.run()
    except BaseException as error:
        error.add_note(f"to see it: {replay_command(seed)}")
        raise


def test_a_seed_is_one_history() -> None:
    """Two processes that hash strings differently live through the same history, message by message."""

    def digest(hash_seed: str) -> str:
        command = [sys.executable, "-c", SCRIPT, str(DIGESTED)]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        return subprocess.run(
            command, env=environment, capture_output=True, check=True, text=True
        ).stdout.splitlines()[-1]

    assert digest("1") == digest("2") != ""


def test_nothing_of_a_history_stays_in_memory() -> None:
    """What a worker has begun and dropped, operations and leaderships, can be collected with the rest."""
    left = []
    for seed in SEEDS[:8]:
        simulation = Simulation(seed)
        simulation.run()
        left.append(weakref.ref(simulation.cluster))
        del simulation
    gc.collect()
    assert [cluster() for cluster in left] == [None] * len(left)
