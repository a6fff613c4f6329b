"""The compiled code against the interpreted, which all other simulations and unit tests are about."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
UNIT_TESTS = """
import kvnode.core.worker
import pytest
assert kvnode.core.worker.__file__.endswith(".so"), kvnode.core.worker.__file__
sys.exit(pytest.main(["-o", "pythonpath=", *sys.argv[1:]]))
"""
TESTED = ("api", "core", "replication", "rpc", "storage")
INHERITING = "tests/unit/rpc/http2"
"""Tests whose own classes are derived from those of kvnode, which compiled code forbids."""
TIMEOUT_S = 600


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


def test_compiled_code_passes_the_unit_tests(tmp_path: Path) -> None:
    """What is seen from outside a class is the same, errors and cancelled tasks too."""
    require_compiler()
    which = [
        *(f"tests/unit/{name}" for name in TESTED),
        f"--ignore={INHERITING}",
        "-o",
        f"cache_dir={tmp_path}",
    ]
    command = [sys.executable, "-P", "-c", WITH_TESTS + UNIT_TESTS, *which]
    run = subprocess.run(
        command, cwd=CHECKOUT, capture_output=True, check=False, text=True, timeout=TIMEOUT_S
    )
    assert run.returncode == 0, run.stdout + run.stderr
