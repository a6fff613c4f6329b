"""A live cluster survives malformed requests and messages."""

from __future__ import annotations

from pathlib import Path
from random import randrange

from tests.fuzz.__main__ import fuzz


async def test_nothing_malformed_hurts_a_cluster(tmp_path: Path) -> None:
    """No 5xx but 503 and 507, no defect, no end, no growth, and every key that was written stays."""
    seed = randrange(10**9)
    run = await fuzz(3000, seed, tmp_path / "cluster")
    assert not run.faults, f"python -m tests.fuzz --count 3000 --seed {seed}"
