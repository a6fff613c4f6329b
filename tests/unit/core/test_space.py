"""A worker whose disk is full accepts and promises nothing, and loses nothing by it."""

from __future__ import annotations

import errno

import pytest

from kvnode.core.operations import Status
from kvnode.core.versions import NO_VERSION, Version
from kvnode.storage.identity import IDENTITY_NAME
from tests.simulation.cluster import SimCluster, formed


@pytest.fixture
def cluster() -> SimCluster:
    """Return a cluster that has formed."""
    return formed()


def fill(cluster: SimCluster, *numbers: int) -> None:
    """Leave workers' disks no room, and wait until they notice."""
    for number in numbers:
        worker = cluster.workers[number]
        worker.disk.capacity = 0
        worker.store.raise_floor(0, Version(0, 0, 1), NO_VERSION)
        worker.take(worker.machine.tick)
    cluster.until(lambda: all(cluster.workers[number].store.full for number in numbers))


def test_a_full_leader_hands_over_and_takes_back(cluster: SimCluster) -> None:
    """Its partitions are led by others until there is space again, and no write fails meanwhile."""
    key = cluster.key(primary=1)
    assert cluster.put(1, key, b"0").status is Status.OK
    fill(cluster, 1)
    for number in range(30):
        assert cluster.put(2, key, b"%d" % number).status is Status.OK
    cluster.until(lambda: not cluster.workers[1].machine.leaders.led)
    assert cluster.workers[1].machine.state == "full"
    assert cluster.leader(key) in cluster.replicas(key)[1:]
    cluster.workers[1].disk.capacity = None
    cluster.until(lambda: cluster.healthy() and cluster.converged())
    got = cluster.get(1, key)
    assert got.value == b"29"


def test_without_a_majority_that_has_space_writes_are_refused_for_certain(cluster: SimCluster) -> None:
    """With two of three disks full a write is refused before it is begun, while reads go on."""
    key = cluster.key(primary=1)
    assert cluster.put(1, key, b"1").status is Status.OK
    leader = cluster.leader(key)
    fill(cluster, *[number for number in cluster.replicas(key) if number != leader])
    cluster.run(300)
    for worker in cluster.numbers:
        assert cluster.put(worker, key, b"2").status is Status.NO_SPACE
        assert cluster.get(worker, key).value == b"1"
    for number in cluster.replicas(key):
        cluster.workers[number].disk.capacity = None
    cluster.until(lambda: cluster.put(1, key, b"3").status is Status.OK)
    cluster.until(lambda: cluster.healthy() and cluster.converged())


def test_a_full_follower_holds_up_nothing(cluster: SimCluster) -> None:
    """Writes have their majority without a full follower, which is made equal when space is back."""
    key = cluster.key(primary=1)
    follower = cluster.replicas(key)[2]
    fill(cluster, follower)
    for number in range(20):
        assert cluster.put(1, key, b"%d" % number).status is Status.OK
    assert cluster.held(follower, key) is None
    cluster.workers[follower].disk.capacity = None
    cluster.until(lambda: cluster.healthy() and cluster.converged())
    assert [copy is not None and copy.value for copy in cluster.copies(key)] == [b"19"] * 3


def test_a_full_replica_is_no_candidate(cluster: SimCluster) -> None:
    """When a leader dies the replica with space takes over though a full one is placed before it."""
    key = cluster.key(primary=1)
    first, second, third = cluster.replicas(key)
    fill(cluster, second)
    cluster.run(300)
    assert not cluster.workers[second].machine.leaders._candidacy.may_stand(cluster.ring.partition(key))
    cluster.crash(first)
    cluster.run(600)
    assert cluster.leader(key) == 0
    assert cluster.put(third, key, b"1").status is Status.NOT_STORED
    cluster.workers[second].disk.capacity = None
    cluster.until(lambda: cluster.leader(key) != 0)
    assert cluster.put(third, key, b"2").status is Status.OK


def test_a_full_leader_gets_its_partitions_back_without_an_election_against_their_leader(
    cluster: SimCluster,
) -> None:
    """It hears who leads while it can promise nothing, and with space again waits to be handed them."""
    key = cluster.key(primary=4)
    assert cluster.put(2, key, b"0").status is Status.OK
    fill(cluster, 4)
    cluster.until(lambda: cluster.leader(key) in cluster.replicas(key)[1:])
    lost = len(cluster.noted("leadership_lost"))
    for number in range(20):
        assert cluster.put(2, key, b"%d" % number).status is Status.OK
    cluster.workers[4].disk.capacity = None
    cluster.until(lambda: cluster.healthy() and cluster.converged())
    assert len(cluster.noted("leadership_lost")) == lost


def refuse_identities(cluster: SimCluster, number: int) -> None:
    """Have a worker's disk find no space for a new identity, and for nothing else."""

    def fault(operation: str, name: str) -> None:
        if operation == "create" and name.startswith(IDENTITY_NAME):
            raise OSError(errno.ENOSPC, "no space left on device", name)

    cluster.workers[number].disk.fault = fault


@pytest.mark.parametrize("full", [1, 3])
def test_a_cluster_waits_with_forming_for_a_full_disk(full: int) -> None:
    """Whoever founds it or joins it: without space for the cluster's id nothing fails, and it forms later."""
    cluster = SimCluster()
    refuse_identities(cluster, full)
    cluster.run(2000)
    assert not cluster.workers[full].store.identity.cluster_id
    cluster.workers[full].disk.fault = None
    cluster.until(cluster.healthy)
    assert len({worker.store.identity.cluster_id for worker in cluster.workers.values()}) == 1


def test_a_rebuild_waits_for_a_full_peer(cluster: SimCluster) -> None:
    """A wiped disk of which a peer cannot take note gets no vote before it can; all else goes on."""
    key = cluster.key(primary=1)
    assert cluster.put(1, key, b"1").status is Status.OK
    first, second, _ = cluster.replicas(key)
    cluster.until(cluster.converged)
    refuse_identities(cluster, first)
    cluster.crash(second)
    cluster.wipe(second)
    cluster.start(second)
    cluster.run(2000)
    assert not cluster.workers[second].store.voting(cluster.ring.partition(key))
    assert cluster.get(1, key).value == b"1"
    cluster.workers[first].disk.fault = None
    cluster.until(lambda: cluster.healthy() and cluster.converged())
    assert cluster.held(second, key) == cluster.held(first, key)
