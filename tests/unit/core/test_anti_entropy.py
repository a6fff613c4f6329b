"""How soon a follower that has missed something is made equal again when nobody writes any more."""

from __future__ import annotations

from itertools import islice

import msgspec
import pytest

from kvnode.core.operations import Status
from kvnode.core.records import Record
from tests.simulation.cluster import FAST, SimCluster, formed

FEW_ROUNDS_MS = 500
"""Time for some rounds of comparison with a follower that is known to lack something."""


@pytest.fixture
def cluster() -> SimCluster:
    """Return a cluster that has formed."""
    return formed()


def keys_of(cluster: SimCluster, partition: int, count: int) -> list[str]:
    """Return some keys of one partition."""
    names = (str(number) for number in range(10_000))
    return list(islice((name for name in names if cluster.ring.partition(name) == partition), count))


def put_all(cluster: SimCluster, keys: list[str], value: bytes) -> None:
    """Put a value under each key."""
    for key in keys:
        assert cluster.put(1, key, value).status is Status.OK


@pytest.mark.parametrize("writes_s", [2, 3])
def test_what_a_full_follower_refused_comes_at_once_when_it_has_space(
    cluster: SimCluster, writes_s: int
) -> None:
    """A follower that was equal before is not taken for equal again for what it was told before."""
    key = cluster.key(primary=1)
    keys = keys_of(cluster, cluster.ring.partition(key), 8)
    follower = cluster.workers[cluster.replicas(key)[2]]
    put_all(cluster, keys, b"0")
    cluster.run(3 * FAST.compare_ms)
    follower.disk.capacity = 0
    for second in range(1, writes_s + 1):
        put_all(cluster, keys, b"%d" % second)
        cluster.run(1000)
    assert follower.store.full
    assert not cluster.converged()
    follower.disk.capacity = None
    cluster.until(lambda: not follower.store.full)
    cluster.until(cluster.converged, FEW_ROUNDS_MS)


def test_what_differs_for_the_first_time_is_looked_at_again_soon(cluster: SimCluster) -> None:
    """A copy of which nobody knows that it is missing is found and sent though nothing changes any more."""
    key = cluster.key(primary=1)
    assert cluster.put(1, key, b"1").status is Status.OK
    cluster.run(3 * FAST.compare_ms)
    leadership = cluster.workers[1].machine.leaders.led[cluster.ring.partition(key)]
    record = cluster.held(1, key)
    assert isinstance(record, Record)
    unsent = msgspec.structs.replace(record, version=leadership.next_version(), value=b"2")
    cluster.workers[1].take(cluster.workers[1].machine.ctx.append, unsent)
    cluster.until(cluster.converged, 3 * FAST.compare_ms + FEW_ROUNDS_MS)
    assert [copy is not None and copy.value for copy in cluster.copies(key)] == [b"2"] * 3
