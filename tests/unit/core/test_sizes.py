"""Clusters of other sizes than the default: one copy, two, and five."""

from __future__ import annotations

import pytest

from kvnode.core.operations import Kind, Operation, Status
from tests.simulation.cluster import SimCluster


def cluster_of(workers: int, replicas: int) -> SimCluster:
    """Return a cluster that has formed."""
    cluster = SimCluster(workers=workers, replicas=replicas)
    cluster.until(cluster.healthy)
    return cluster


@pytest.mark.parametrize(("workers", "replicas"), [(1, 1), (3, 1), (2, 2), (3, 3), (6, 5)])
def test_any_size_stores_and_reads(workers: int, replicas: int) -> None:
    """Whatever the numbers of workers and copies, what is put is read back, also after restarts."""
    cluster = cluster_of(workers, replicas)
    for number in range(12):
        put = cluster.put(1 + number % workers, f"key-{number}", b"%d" % number)
        assert put.status is Status.OK
        assert put.replicas + put.pending == replicas
    for number in cluster.numbers:
        cluster.restart(number)
    cluster.until(cluster.healthy)
    for number in range(12):
        assert cluster.get(1 + number % workers, f"key-{number}").value == b"%d" % number
    cluster.until(cluster.converged)


def test_five_copies_survive_two_deaths() -> None:
    """With five copies two dead replicas fail nothing, and a third makes the key unavailable."""
    cluster = cluster_of(6, 5)
    key = cluster.key(primary=1)
    outsider = cluster.outsider(key)
    assert cluster.put(outsider, key, b"1").replicas == 3
    first, second, third = cluster.replicas(key)[:3]
    cluster.crash(first)
    cluster.crash(second)
    cluster.until(lambda: cluster.leader(key) not in (0, first, second))
    assert cluster.get(outsider, key).value == b"1"
    assert cluster.put(outsider, key, b"2").status is Status.OK
    cluster.crash(third)
    cluster.run(100)
    assert cluster.get(outsider, key).status is Status.UNAVAILABLE
    assert cluster.put(outsider, key, b"3").status is Status.NOT_STORED


def test_a_disk_is_rebuilt_in_a_cluster_where_not_all_share_partitions() -> None:
    """A rebuilt worker that restarts is greeted also by those who had nothing to tell it."""
    cluster = SimCluster(workers=8, partitions=4)
    cluster.until(cluster.healthy)
    cluster.crash(2)
    cluster.wipe(2)
    cluster.start(2)
    cluster.until(cluster.healthy)
    cluster.restart(2)
    cluster.until(cluster.healthy)
    cluster.run(500)
    assert cluster.network.refusals == {}


def test_a_local_read_says_what_it_is_of() -> None:
    """A local read names the worker whose copy it shows."""
    cluster = cluster_of(1, 1)
    cluster.put(1, "a", b"1")
    assert cluster.execute(1, Operation(Kind.GET, "a", local=True)).node == 1
