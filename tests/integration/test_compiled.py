"""The compiled machines against the interpreted ones, which all other simulations are about."""

from __future__ import annotations

import subprocess
import sys

from tests.support.installed import CHECKOUT, WITH_TESTS, require_compiler

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
    require_compiler()
    code, histories = lived(WITH_TESTS)
    assert code == "compiled"
    assert len(histories) == len(SEEDS)
    assert lived(f"import sys; sys.path.insert(0, {str(CHECKOUT)!r})") == ("interpreted", histories)
