"""The third copy, and how a replica that missed something becomes whole again."""

from __future__ import annotations

import pytest

from kvnode.core.operations import Kind, Operation, Status
from kvnode.core.records import Record
from kvnode.core.settings import Bounds
from kvnode.core.versions import Ballot, Version
from tests.simulation.cluster import SimCluster, formed


@pytest.fixture
def cluster() -> SimCluster:
    """Return a cluster that has formed."""
    return formed()


def test_the_third_copy_comes_after_the_answer(cluster: SimCluster) -> None:
    """A write is answered with two durable copies, and the third replica holds it soon after."""
    key = cluster.key(primary=1)
    third = cluster.replicas(key)[2]
    cluster.workers[third].pause()
    put = cluster.put(1, key, b"1")
    assert (put.status, put.replicas, put.pending) == (Status.OK, 2, 1)
    assert cluster.held(third, key) is None
    cluster.workers[third].resume()
    cluster.until(lambda: cluster.held(third, key) is not None, within_ms=100)


@pytest.mark.parametrize("place", [1, 2], ids=["second", "third"])
def test_a_dead_replica_fails_nothing(cluster: SimCluster, place: int) -> None:
    """With one follower dead every write and read succeeds."""
    key = cluster.key(primary=1)
    cluster.crash(cluster.replicas(key)[place], silent=True)
    for number in range(30):
        assert cluster.put(1, key, b"%d" % number).status is Status.OK
        assert cluster.get(1, key).value == b"%d" % number


def test_a_full_queue_drops_copies_and_anti_entropy_brings_them(cluster: SimCluster) -> None:
    """What does not fit the queue to a dead replica is dropped and counted, and repaired when it is back."""
    cluster = formed(bounds=Bounds(latent_records=10))
    key = cluster.key(primary=1)
    partition = cluster.ring.partition(key)
    dead = cluster.replicas(key)[2]
    cluster.crash(dead)
    keys = [name for name in map(str, range(400)) if cluster.ring.partition(name) == partition][:40]
    for name in keys:
        assert cluster.put(1, name, b"1").status is Status.OK
    copies = cluster.workers[1].machine.copies
    assert copies.waiting(dead)[0] == 10
    assert copies.dropped[dead] >= 30
    anti_entropy = cluster.workers[1].machine.anti_entropy
    assert anti_entropy.progress(dead).behind_in
    cluster.start(dead)
    cluster.until(lambda: cluster.healthy() and cluster.converged())
    assert anti_entropy.repaired[dead] >= 30
    cluster.until(lambda: anti_entropy.progress(dead)[:3] == (0, [], 0))
    assert all(cluster.held(dead, name) is not None for name in keys)


def test_a_follower_that_missed_writes_is_ready_only_when_whole(cluster: SimCluster) -> None:
    """A restarted worker calls itself ready once it holds everything that was written while it was away."""
    cluster.crash(4)
    for number in range(60):
        assert cluster.put(1, f"key-{number}", b"1").status is Status.OK
    cluster.start(4)
    cluster.until(lambda: cluster.ready([4]))
    held = cluster.workers[4].machine.ctx.held
    names = [f"key-{number}" for number in range(60)]
    mine = [name for name in names if cluster.ring.partition(name) in held]
    assert mine
    assert all(cluster.held(4, name) is not None for name in mine)


def test_a_copy_that_nobody_remembers_to_send_is_repaired(cluster: SimCluster) -> None:
    """A follower whose copy was lost on its way is found by comparing, and sent the record again."""
    key = cluster.key(primary=1)
    third = cluster.replicas(key)[2]
    cluster.put(1, key, b"1")
    cluster.until(cluster.converged)
    cluster.crash(third)
    put = cluster.put(1, key, b"2")
    cluster.workers[1].machine.copies._lanes[third].broken_drop()
    cluster.start(third)
    cluster.until(cluster.converged)
    record = cluster.held(third, key)
    assert record is not None
    assert (record.value, record.version) == (b"2", put.version)


def test_a_record_unknown_to_a_settled_leader_loses(cluster: SimCluster) -> None:
    """A record that only one follower holds is put out of the way by a tombstone, on all three."""
    key = cluster.key(primary=1)
    partition = cluster.ring.partition(key)
    third = cluster.replicas(key)[2]
    stray = Record(partition, key, Ballot(1, 1), Version(1, 1, 999), None, b'"stray"')
    cluster.workers[third].take(cluster.workers[third].machine.ctx.append, stray)
    cluster.restart(third)
    cluster.until(lambda: cluster.healthy() and cluster.converged())
    assert cluster.get(2, key).status is Status.ABSENT
    records = cluster.copies(key)
    assert len({record and record.version for record in records}) == 1
    assert all(record is None or record.value is None for record in records)


def test_a_late_accept_of_a_deposed_leader_is_refused(cluster: SimCluster) -> None:
    """Copies that a deposed leader still sends change nothing at replicas that promised another."""
    key = cluster.key(primary=1)
    cluster.put(1, key, b'"old"')
    cluster.isolate(1)
    torn = cluster.submit(1, Operation(Kind.PUT, key, b'"torn"'))
    cluster.until(lambda: cluster.leader(key) not in (0, 1))
    cluster.put(cluster.outsider(key), key, b'"new"')
    assert cluster.finish(torn).status is Status.UNKNOWN
    cluster.heal()
    cluster.until(lambda: cluster.healthy() and cluster.converged())
    assert {record.value for record in cluster.copies(key) if record is not None} == {b'"new"'}
