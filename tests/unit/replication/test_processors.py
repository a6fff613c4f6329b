"""Leadership gathers where all workers share a machine, and outnumber its processors."""

from __future__ import annotations

import os

import pytest

from kvnode.config import ClusterConfig, ControllerEntry, WorkerEntry
from kvnode.replication.processors import MANY, gather_operations


def cluster_at(*addresses: str) -> ClusterConfig:
    """Return a cluster of a worker at each gRPC address."""
    workers = tuple(
        WorkerEntry(number, f"host-{number}", rest="h:1", grpc=address)
        for number, address in enumerate(addresses, 1)
    )
    return ClusterConfig("test", ControllerEntry(rest="h:1", grpc="h:2"), workers)


@pytest.mark.parametrize(
    ("addresses", "processors", "expected"),
    [
        (("127.0.0.1:6001", "127.0.0.1:6002", "127.0.0.1:6003"), 2, True),
        (("[::1]:6001", "[::1]:6002", "[::1]:6003"), 1, True),
        (("127.0.0.1:6001", "127.0.0.1:6002", "127.0.0.1:6003"), 3, False),
        (("10.0.0.1:6001", "10.0.0.1:6002", "10.0.0.2:6003"), 1, False),
        (("127.0.0.1:6001",), 1, False),
    ],
    ids=["crowded", "by IPv6", "enough processors", "two machines", "alone"],
)
def test_where_leadership_gathers(
    monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...], processors: int, *, expected: bool
) -> None:
    """Only what this process may use counts as a processor."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(processors)))
    assert gather_operations(cluster_at(*addresses)) == (MANY if expected else 0)
