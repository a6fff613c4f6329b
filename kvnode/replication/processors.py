"""Whether the workers of a cluster have processors to spread their work over."""

from __future__ import annotations

import os

from kvnode.config import ClusterConfig, split_address


def crowded(cluster: ClusterConfig) -> bool:
    """Whether all workers share this machine, by their addresses, and outnumber its usable processors."""
    machines = {split_address(entry.grpc)[0] for entry in cluster.workers}
    return len(machines) == 1 and len(os.sched_getaffinity(0)) < len(cluster.workers)
