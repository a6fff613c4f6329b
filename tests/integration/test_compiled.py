"""The compiled machines against the interpreted ones, which all other simulations are about."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.installed import can_compile

ROOT = Path(__file__).resolve().parents[2]
SEEDS = range(1, 21)
SCRIPT = """
import sys
compiled, root, seeds = sys.argv[1], sys.argv[2], [int(seed) for seed in sys.argv[3:]]
sys.path.insert(len(sys.path) if compiled == "yes" else 0, root)
import kvnode.core.worker
from tests.simulation.simulation import Simulation
print("compiled" if kvnode.core.worker.__file__.endswith(".so") else "interpreted")
for seed in seeds:
    simulation = Simulation(seed)
    simulation.cluster.network.watch()
    simulation.run()
    print("digest", seed, simulation.digest())
"""


def lived(*, compiled: bool) -> tuple[str, list[str]]:
    """Return what has lived through the seeds, and the digest of each history."""
    arguments = ["yes" if compiled else "no", str(ROOT), *map(str, SEEDS)]
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT, *arguments], capture_output=True, check=True, text=True
    )
    said = done.stdout.splitlines()
    code = [line for line in said if line in {"compiled", "interpreted"}]
    return code[0], [line for line in said if line.startswith("digest ")]


def test_compiled_machines_live_the_same_histories() -> None:
    """Every message, every write and every answer is the same, whatever fails meanwhile."""
    if os.environ.get("CI") != "true" and not can_compile():
        pytest.skip("needs a C compiler and Python's headers")
    code, histories = lived(compiled=True)
    assert code == "compiled"
    assert len(histories) == len(SEEDS)
    assert lived(compiled=False) == ("interpreted", histories)
