"""A minute of `make soak`: random faults under steady load, and nothing lost, wrong or unequal after it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.hosts.soak import folder, soak

if TYPE_CHECKING:
    from tests.hosts.cluster import Cluster

SECONDS = 60


def test_a_minute_of_random_faults(cluster: Cluster) -> None:
    """No acknowledged write is lost, every key is linearizable, and all copies agree within 30 s."""
    seed = random.randrange(100_000)
    account = soak(cluster, seed, SECONDS, print)
    print("\n".join(account.lines()))
    assert account.faults
    assert account.passed, f"kept in {folder(seed)}; again: make soak SECONDS={SECONDS} SEED={seed}"
