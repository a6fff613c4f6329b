"""Losing records to damage costs a worker its votes, until it has copied what the others hold."""

from __future__ import annotations

import msgspec
import pytest

from kvnode.core.operations import Condition, Kind, Operation, Status
from kvnode.core.records import Record
from kvnode.core.versions import Ballot, Version
from kvnode.errors import MismatchError
from tests.simulation.cluster import SimCluster, formed

KEYS = [f"key-{number}" for number in range(20)]


@pytest.fixture
def cluster() -> SimCluster:
    """Return a cluster that has formed and holds some keys on all replicas."""
    cluster = formed()
    for key in KEYS:
        assert cluster.put(1, key, b'"value of %s"' % key.encode()).status is Status.OK
    cluster.until(cluster.converged)
    return cluster


def damage(cluster: SimCluster, number: int, key: str) -> None:
    """Flip a byte in every line of a worker's log that holds a key's value."""
    disk = cluster.workers[number].disk
    cluster.invariants.damaged(disk)
    spoilt = False
    for name in [name for name in disk.names() if name.endswith(".jsonl")]:
        data = disk.contents(name)
        wrong = data.replace(b'"value of %s"' % key.encode(), b'"walue of %s"' % key.encode())
        spoilt |= wrong != data
        disk.replace(name, wrong)
    assert spoilt


def whole(cluster: SimCluster) -> bool:
    """Whether all is as it was before the damage."""
    return cluster.healthy() and cluster.converged()


def test_a_leader_that_cannot_read_its_record_lets_another_lead(cluster: SimCluster) -> None:
    """A read that finds damage is answered by another leader, and the copy is made whole again."""
    key = KEYS[0]
    leader = cluster.leader(key)
    damage(cluster, leader, key)
    got = cluster.get(cluster.outsider(key), key)
    assert (got.status, got.value) == (Status.OK, b'"value of key-0"')
    assert got.leader != leader
    partition = cluster.ring.partition(key)
    assert {"partitions": [partition]} in cluster.noted("partitions_damaged")
    cluster.until(lambda: whole(cluster))
    assert {"partition": partition, "remaining": 0} in cluster.noted("partition_rebuilt")
    record = cluster.held(leader, key)
    assert record is not None
    assert (record.value, record.copied) == (b'"value of key-0"', False)


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        (Operation(Kind.GET, KEYS[0]), Status.OK),
        (Operation(Kind.PUT, KEYS[0], b"1", Condition(absent=True)), Status.CONDITION_FAILED),
        (Operation(Kind.DELETE, KEYS[0]), Status.OK),
    ],
    ids=["get", "put if absent", "delete"],
)
def test_what_was_lost_is_not_taken_for_absent(
    cluster: SimCluster, operation: Operation, status: Status
) -> None:
    """A leader that has lost a record, and has not been told yet, judges nothing by its absence."""
    key = KEYS[0]
    leader, partition = cluster.leader(key), cluster.ring.partition(key)
    follower = next(number for number in cluster.replicas(key) if number != leader)
    worker = cluster.workers[leader]
    cluster.invariants.damaged(worker.disk)
    store = worker.store
    store._mender._lose(partition, [(key, store._keydirs[partition].packed[key])])
    call = cluster.submit(follower, operation)
    worker.machine.leaders.led[partition].repair(key, follower)
    cluster.run(20)
    record = cluster.held(follower, key)
    assert record is not None
    assert record.value is not None
    worker._damaged(frozenset([partition]))
    assert cluster.finish(call).status is status
    cluster.until(lambda: whole(cluster))


def test_writes_under_way_end_honestly_when_their_leader_is_damaged(cluster: SimCluster) -> None:
    """What a leader had begun when it lost records is unknown, what waited is done by the next leader."""
    key = KEYS[0]
    leader = cluster.leader(key)
    for other in cluster.replicas(key):
        cluster.network.cut(leader, other)
    calls = [cluster.submit(leader, Operation(Kind.PUT, key, b"1")) for _ in range(2)]
    cluster.run(5)
    cluster.workers[leader].take(cluster.workers[leader].machine.damaged, [cluster.ring.partition(key)])
    cluster.network.heal()
    first, second = (cluster.finish(call) for call in calls)
    assert first.status is Status.UNKNOWN
    assert second.status is Status.OK
    cluster.until(lambda: whole(cluster))


def test_a_damaged_follower_has_no_vote(cluster: SimCluster) -> None:
    """While the third replica is away, a follower that lost records makes no majority with the leader."""
    key = cluster.key(primary=1)
    _, second, third = cluster.replicas(key)
    cluster.crash(third)
    cluster.crash(second)
    damage(cluster, second, key)
    cluster.start(second)
    cluster.run(1000)
    assert cluster.put(1, key, b"2").status in (Status.NOT_STORED, Status.UNKNOWN)
    assert cluster.get(1, key).status is Status.UNAVAILABLE
    cluster.start(third)
    cluster.until(lambda: whole(cluster))
    assert cluster.get(1, key).status is Status.OK


def test_records_lost_during_a_copy_are_copied_again(cluster: SimCluster) -> None:
    """A copy that was under way when more was lost begins anew."""
    key = cluster.key(primary=1)
    second = cluster.replicas(key)[1]
    worker, partition = cluster.workers[second], cluster.ring.partition(key)
    worker.take(worker.machine.damaged, [partition])
    cluster.run(4)
    worker.take(worker.machine.damaged, [partition])
    cluster.until(lambda: whole(cluster))
    assert cluster.noted("partition_rebuilt") == [{"partition": partition, "remaining": 0}]


def test_what_was_deleted_and_forgotten_does_not_come_back(cluster: SimCluster) -> None:
    """An old value that damage uncovered goes, if the others have forgotten that its key was deleted."""
    key = cluster.key(primary=1)
    partition = cluster.ring.partition(key)
    old = cluster.held(1, key)
    assert old is not None
    deleted = cluster.delete(1, key)
    cluster.until(cluster.converged)
    floor = deleted.version
    assert floor is not None
    for number in cluster.replicas(key):
        cluster.workers[number].store.raise_floor(partition, floor, floor)
    worker = cluster.workers[cluster.replicas(key)[1]]
    worker.store.append(old)
    worker.take(worker.machine.damaged, [partition])
    cluster.until(lambda: whole(cluster))
    assert cluster.copies(key) == [None, None, None]


def test_old_votes_are_refused_and_newer_ones_are_not(cluster: SimCluster) -> None:
    """A disk other than the one noted is refused where it votes in a partition held here."""
    formation, ring = cluster.workers[1].machine.formation, cluster.ring
    hello = msgspec.structs.replace(cluster.workers[2].hello(), incarnation="another", voting=False)
    shared = next(p for p in ring.held_by(2) if 1 in ring.preference_list(p))
    formation.check(hello)
    elsewhere = [p for p in ring.held_by(2) if 1 not in ring.preference_list(p)]
    formation.check(msgspec.structs.replace(hello, votes_in=tuple(elsewhere)))
    for refused in (
        msgspec.structs.replace(hello, votes_in=(shared,)),
        msgspec.structs.replace(hello, voting=True),
    ):
        with pytest.raises(MismatchError, match="the one that votes"):
            formation.check(refused)


def test_a_disk_wiped_again_while_it_was_rebuilt_is_rebuilt(cluster: SimCluster) -> None:
    """A third disk takes the place of a second one that still copied, and the second is refused."""
    cluster.crash(2)
    cluster.wipe(2)
    cluster.start(2)
    cluster.until(lambda: cluster.noted("partition_rebuilt"))
    store = cluster.workers[2].store
    cluster.until(lambda: store.durable_lsn == store.appended_lsn)
    cluster.crash(2)
    second = cluster.workers[2].remove_disk()
    cluster.start(2)
    cluster.until(lambda: whole(cluster))
    cluster.crash(2)
    cluster.workers[2].insert(second)
    cluster.start(2)
    cluster.run(2000)
    assert not cluster.workers[2].machine.leaders.led
    assert {cluster.put(1, key, b"2").status for key in KEYS} == {Status.OK}


def test_a_replaced_disk_is_not_listened_to_any_more(cluster: SimCluster) -> None:
    """What an open link brings from a disk that has been replaced since is dropped."""
    machine = cluster.workers[1].machine
    formation = machine.formation
    old = cluster.workers[2].hello()
    assert not formation.replaced(old)
    assert formation.note_incarnation(2, "newer")
    assert formation.replaced(old)
    assert formation.note_incarnation(2, old.incarnation)
    formation.check(old)
    assert not formation.replaced(old)


def test_unreadable_records_are_not_told(cluster: SimCluster) -> None:
    """A local read of a damaged value fails, and the worker gives up its vote for the partition."""
    key = KEYS[0]
    follower = next(number for number in cluster.replicas(key) if number != cluster.leader(key))
    damage(cluster, follower, key)
    local = cluster.execute(follower, Operation(Kind.GET, key, local=True))
    assert local.status is Status.UNAVAILABLE
    cluster.until(lambda: cluster.noted("partitions_damaged"))
    cluster.until(lambda: whole(cluster))
    local = cluster.execute(follower, Operation(Kind.GET, key, local=True))
    assert local.value == b'"value of key-0"'


def test_an_absent_key_under_a_floor_outranks_an_old_value(cluster: SimCluster) -> None:
    """A leader that alone holds a value at or below another's floor deletes it for good."""
    key = cluster.key(primary=1)
    partition = cluster.ring.partition(key)
    lost = "lost-" + key
    record = Record(partition, lost, Ballot(1, 1), Version(1, 1, 1), None, b"1")
    for number in cluster.replicas(key)[1:]:
        cluster.workers[number].store.raise_floor(partition, Version(1, 1, 9), Version(1, 1, 9))
    cluster.workers[1].store.append(record)
    cluster.restart(1)
    cluster.until(lambda: whole(cluster))
    copies = [cluster.held(number, lost) for number in cluster.replicas(key)]
    assert all(copy is None or copy.value is None for copy in copies)
