"""Deletions are forgotten when all replicas have had them for long enough, and never come back."""

from __future__ import annotations

import pytest

from kvnode.core.messages import AcceptBatch, AcceptItem, AcceptReply, Reply, SetFloor
from kvnode.core.operations import Condition, Status
from kvnode.core.records import Record
from kvnode.core.versions import NO_VERSION, Ballot, Version
from tests.simulation.cluster import FAST, SimCluster, formed


@pytest.fixture
def cluster() -> SimCluster:
    """Return a cluster that has formed."""
    return formed()


@pytest.fixture
def key(cluster: SimCluster) -> str:
    """Return a key that has been written and deleted, as all its replicas know."""
    key = cluster.key(primary=1)
    assert cluster.put(1, key, b"1").status is Status.OK
    assert cluster.delete(1, key).status is Status.OK
    cluster.until(cluster.converged)
    return key


def forgotten(cluster: SimCluster, key: str) -> bool:
    """Whether no replica holds anything of a key."""
    return cluster.copies(key) == [None, None, None]


def test_a_deletion_is_forgotten_after_a_while(cluster: SimCluster, key: str) -> None:
    """All replicas drop the tombstone, not before its time, and stay equal; the key stays absent."""
    began_ms = cluster.now_ms
    cluster.until(lambda: forgotten(cluster, key))
    assert cluster.now_ms - began_ms >= FAST.tombstone_ms
    assert len(cluster.noted("tombstones_forgotten")) == 3
    cluster.until(cluster.converged)
    got = cluster.get(1, key)
    assert (got.status, got.version) == (Status.ABSENT, None)


def test_nothing_is_forgotten_while_a_replica_is_away(cluster: SimCluster, key: str) -> None:
    """A floor needs all replicas: without one of them the others go on holding the tombstone."""
    third = cluster.replicas(key)[2]
    cluster.crash(third)
    cluster.run(5 * FAST.tombstone_ms)
    assert all(cluster.held(number, key) is not None for number in cluster.replicas(key)[:2])
    cluster.start(third)
    cluster.until(lambda: forgotten(cluster, key))


def test_a_forgotten_key_is_as_one_that_never_was(cluster: SimCluster, key: str) -> None:
    """Its next write replaces nothing, and no version of it is matched any more."""
    before = cluster.held(1, key)
    assert before is not None
    cluster.until(lambda: forgotten(cluster, key))
    refused = cluster.put(1, key, b"2", Condition(any_of=(before.version,)))
    assert (refused.status, refused.version) == (Status.CONDITION_FAILED, None)
    written = cluster.put(2, key, b"2", Condition(absent=True))
    assert written.status is Status.OK
    assert written.version is not None
    assert written.version > before.version
    again = cluster.held(1, key)
    assert again is not None
    assert again.previous is None


def test_a_late_copy_does_not_bring_a_deleted_key_back(cluster: SimCluster) -> None:
    """A copy of the deleted value that arrives after the forgetting is refused, under the same ballot too."""
    key = cluster.key(primary=1)
    assert cluster.put(1, key, b"1").status is Status.OK
    cluster.until(cluster.converged)
    record = cluster.held(1, key)
    assert record is not None
    cluster.delete(1, key)
    cluster.until(lambda: forgotten(cluster, key))
    follower = cluster.workers[cluster.replicas(key)[1]]
    replies: list[Reply] = []
    batch = AcceptBatch(1, [AcceptItem(record)])
    follower.receive(cluster.workers[1].hello(), batch, replies.append)
    cluster.until(lambda: replies)
    reply = replies[0]
    assert isinstance(reply, AcceptReply)
    assert [index for index, _ in reply.refused] == [0]
    assert forgotten(cluster, key)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_who_missed_the_forgetting_forgets_later(cluster: SimCluster, key: str, place: int) -> None:
    """A replica, the leader too, that alone still holds the tombstone drops it, and no new one is made."""
    partition = cluster.ring.partition(key)
    tombstone = cluster.held(1, key)
    assert tombstone is not None
    floor = tombstone.version
    replicas = cluster.replicas(key)
    cluster.workers[replicas[place]].store.raise_floor(partition, floor, NO_VERSION)
    for number in replicas[:place] + replicas[place + 1 :]:
        cluster.workers[number].store.raise_floor(partition, floor, floor)
    cluster.restart(replicas[0])
    cluster.until(lambda: forgotten(cluster, key) and cluster.healthy() and cluster.converged())
    assert all(cluster.workers[n].store.forgotten(partition) >= floor for n in replicas)


def test_a_floor_obeys_promises(cluster: SimCluster, key: str) -> None:
    """A floor under a ballot that was overtaken is refused."""
    follower = cluster.workers[cluster.replicas(key)[1]]
    partition = cluster.ring.partition(key)
    floor = follower.store.floor(partition)
    follower.store.promise(partition, Ballot(99, 1))
    replies: list[Reply] = []
    high = Version(50, 1, 1)
    request = SetFloor(1, partition, Ballot(50, 1), high, high)
    follower.receive(cluster.workers[1].hello(), request, replies.append)
    cluster.until(lambda: replies)
    assert follower.store.floor(partition) == floor


def test_a_wiped_disk_takes_the_floor_over(cluster: SimCluster, key: str) -> None:
    """A rebuilt replica refuses what the others have forgotten."""
    cluster.until(lambda: forgotten(cluster, key))
    partition, second = cluster.ring.partition(key), cluster.replicas(key)[1]
    floor = cluster.workers[1].store.floor(partition)
    cluster.crash(second)
    cluster.wipe(second)
    cluster.start(second)
    cluster.until(lambda: cluster.healthy() and cluster.converged())
    assert cluster.workers[second].store.floor(partition) >= floor
    assert forgotten(cluster, key)


def test_a_busy_partition_forgets_too(cluster: SimCluster, key: str) -> None:
    """Writes that are always on their way to other keys of the partition do not keep tombstones alive."""
    partition = cluster.ring.partition(key)
    names = (f"busy-{number}" for number in range(1000))
    other = next(name for name in names if cluster.ring.partition(name) == partition)
    for number in range(1000):
        assert cluster.put(1, other, b"%d" % number).status is Status.OK
        if forgotten(cluster, key):
            break
    assert forgotten(cluster, key)
    held = cluster.held(1, other)
    assert isinstance(held, Record)


def test_no_floor_is_asked_for_before_the_leaders_own_is_durable(cluster: SimCluster, key: str) -> None:
    """A leader whose disk stalls asks nobody to raise a floor: what it holds below may yet be lost."""
    leader = cluster.workers[1]
    sent = cluster.network.watch()
    leader.sync_ms = 10 * FAST.tombstone_ms
    partition = cluster.ring.partition(key)
    cluster.until(lambda: leader.store.floor(partition) != NO_VERSION)
    while leader.store.durable_lsn < leader.store.appended_lsn:
        assert not any(isinstance(request, SetFloor) for _, _, request in sent)
        cluster.run(1)
    cluster.until(lambda: any(isinstance(request, SetFloor) for _, _, request in sent))
