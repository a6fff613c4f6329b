"""The compiled machines against the interpreted ones, which all other simulations are about."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.installed import CHECKOUT, WITH_TESTS, can_compile

SEEDS = range(1, 21)
SCRIPT = """
import kvnode.core.worker
from tests.simulation.simulation import Simulation
print("compiled" if kvnode.core.worker.__file__.endswith(".so") else "interpreted")
for seed in map(int, sys.argv[1:]):
    simulation = Simulation(seed)
    simulation.cluster.network.watch()
    simulation.run()
    print("digest", seed, simulation.digest())
"""


def lived(first: str) -> tuple[str, list[str]]:
    """Run ``first`` and live through the seeds; return how the code ran, and the digest of each history."""
    command = [sys.executable, "-P", "-c", first + SCRIPT, *map(str, SEEDS)]
    said = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
    code = [line for line in said if line in {"compiled", "interpreted"}]
    return code[0], [line for line in said if line.startswith("digest ")]


def test_compiled_machines_live_the_same_histories() -> None:
    """Every message, every write and every answer is the same, whatever fails meanwhile."""
    if os.environ.get("CI") != "true" and not can_compile():
        pytest.skip("needs a C compiler and Python's headers")
    code, histories = lived(WITH_TESTS)
    assert code == "compiled"
    assert len(histories) == len(SEEDS)
    assert lived(f"import sys; sys.path.insert(0, {str(CHECKOUT)!r})") == ("interpreted", histories)
