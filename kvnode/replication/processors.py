"""Whether the workers of a cluster have processors to spread their work over."""

from __future__ import annotations

import os
from typing import Final

from kvnode.config import ClusterConfig, split_address

MANY: Final = 250
"""Operations in half a second: below that a leader has processors to spare, however few there are."""


def gather_operations(cluster: ClusterConfig) -> int:
    """Return for how many operations leadership is to gather: 0, never, unless workers are crowded.

    That is, unless all share this machine, by their addresses, and outnumber its usable processors.
    """
    machines = {split_address(entry.grpc)[0] for entry in cluster.workers}
    crowded = len(machines) == 1 and len(os.sched_getaffinity(0)) < len(cluster.workers)
    return MANY if crowded else 0
