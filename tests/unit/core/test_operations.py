"""What clients see of a healthy cluster, whichever worker they ask."""

from __future__ import annotations

import pytest

from kvnode.core.messages import ConfirmBatch, ExecuteBatch
from kvnode.core.operations import Condition, Kind, Operation, Outcome, Status
from kvnode.core.versions import Version
from tests.simulation.cluster import OLDER, SimCluster, formed

WORKERS = (1, 2, 3, 4)


@pytest.fixture
def cluster() -> SimCluster:
    """Return a cluster that has formed."""
    return formed()


def version_of(outcome: Outcome) -> Version:
    """Return the version in an outcome that must have one."""
    assert outcome.version is not None
    return outcome.version


@pytest.mark.parametrize("writer", WORKERS)
def test_what_is_put_anywhere_is_read_everywhere(cluster: SimCluster, writer: int) -> None:
    """A value put through one worker is read, with its version, through all."""
    put = cluster.put(writer, "a", b'"x"')
    assert (put.status, put.replicas, put.pending) == (Status.OK, 2, 1)
    for reader in WORKERS:
        got = cluster.get(reader, "a")
        assert (got.status, got.value, got.version) == (Status.OK, b'"x"', put.version)


def test_a_deleted_key_is_absent(cluster: SimCluster) -> None:
    """After a delete the key is absent everywhere, and deleting it again writes nothing."""
    cluster.put(1, "a", b"1")
    deleted = cluster.delete(2, "a")
    assert deleted.status is Status.OK
    for reader in WORKERS:
        assert cluster.get(reader, "a").status is Status.ABSENT
    again = cluster.delete(3, "a")
    assert (again.status, again.version) == (Status.ABSENT, deleted.version)


def test_a_key_never_written_is_absent(cluster: SimCluster) -> None:
    """Reading or deleting a key that was never written finds no version."""
    assert cluster.get(1, "a").version is None
    assert cluster.delete(1, "a").status is Status.ABSENT


def test_versions_of_a_key_rise(cluster: SimCluster) -> None:
    """Each write's version is above the one before it and names it as its predecessor."""
    first = version_of(cluster.put(1, "a", b"1"))
    second = version_of(cluster.put(2, "a", b"2"))
    assert second > first
    record = cluster.copies("a")[0]
    assert record is not None
    assert (record.version, record.previous) == (second, first)


def test_a_write_on_a_version_replaces_only_that_version(cluster: SimCluster) -> None:
    """Of two writes conditional on one version the first wins and the second is told the winner."""
    base = version_of(cluster.put(1, "a", b"0"))
    condition = Condition(any_of=(base,))
    won = cluster.put(2, "a", b"1", condition)
    lost = cluster.put(3, "a", b"2", condition)
    assert won.status is Status.OK
    assert (lost.status, lost.version) == (Status.CONDITION_FAILED, won.version)
    assert cluster.get(4, "a").value == b"1"


def test_concurrent_writes_on_a_version_have_one_winner(cluster: SimCluster) -> None:
    """Of conditional writes from one version that race through all workers exactly one succeeds."""
    condition = Condition(any_of=(version_of(cluster.put(1, "a", b"0")),))
    calls = [
        cluster.submit(worker, Operation(Kind.PUT, "a", b"%d" % worker, condition)) for worker in WORKERS
    ]
    outcomes = [cluster.finish(call).status for call in calls]
    assert sorted(outcomes) == [Status.OK] + [Status.CONDITION_FAILED] * 3


def test_create_only_once(cluster: SimCluster) -> None:
    """A write on absence succeeds on a new and on a deleted key, and fails on a present one."""
    create = Condition(absent=True)
    assert cluster.put(1, "a", b"1", create).status is Status.OK
    assert cluster.put(2, "a", b"2", create).status is Status.CONDITION_FAILED
    cluster.delete(3, "a")
    assert cluster.put(4, "a", b"3", create).status is Status.OK


def test_update_only_what_is_there(cluster: SimCluster) -> None:
    """A write or delete on presence fails on an absent key, without a version to show."""
    there = Condition(present=True)
    missing = cluster.put(1, "a", b"1", there)
    assert (missing.status, missing.version) == (Status.CONDITION_FAILED, None)
    assert cluster.delete(2, "a", there).status is Status.CONDITION_FAILED
    cluster.put(3, "a", b"1")
    assert cluster.delete(4, "a", there).status is Status.OK


def test_a_tombstones_version_fulfils_no_condition(cluster: SimCluster) -> None:
    """A deleted key matches no version, not even its tombstone's."""
    cluster.put(1, "a", b"1")
    tombstone = version_of(cluster.delete(1, "a"))
    assert cluster.put(1, "a", b"2", Condition(any_of=(tombstone,))).status is Status.CONDITION_FAILED


def test_operations_on_one_key_take_effect_in_their_order(cluster: SimCluster) -> None:
    """Operations that one client sends without waiting are executed in the order they were sent."""
    key = cluster.key(primary=1)
    operations = [Operation(Kind.PUT, key, b"%d" % number) for number in range(20)]
    calls = [cluster.submit(1, operation) for operation in operations]
    versions = [version_of(cluster.finish(call)) for call in calls]
    assert versions == sorted(versions)
    assert cluster.get(2, key).value == b"19"


@pytest.mark.parametrize(
    "operation",
    [
        Operation(Kind.GET, "key"),
        Operation(Kind.PUT, "key", b"1", Condition(present=True)),
        Operation(Kind.DELETE, "key", condition=Condition(present=True)),
    ],
    ids=["absent", "nothing to replace", "nothing to delete"],
)
def test_what_may_write_nothing_is_confirmed(cluster: SimCluster, operation: Operation) -> None:
    """An answer that rests on what is stored is given only after another replica was asked for its promise.

    Through a replica that does not lead none is: it has its own.
    """
    partition, leader = cluster.ring.partition("key"), cluster.leader("key")
    follower = next(number for number in cluster.replicas("key") if number != leader)
    for coordinator, asked in ((leader, 1), (cluster.outsider("key"), 1), (follower, 0)):
        sent = cluster.network.watch()
        cluster.execute(coordinator, operation)
        asks = [
            (to, ask) for _, to, message in sent if isinstance(message, ExecuteBatch) for ask in message.asks
        ]
        assert [ask for _, ask in asks] == [partition] * asked
        assert not {leader, coordinator} & {to for to, _ in asks}


@pytest.mark.parametrize(
    "operation", [Operation(Kind.GET, "key"), Operation(Kind.DELETE, "key")], ids=["read", "delete"]
)
def test_among_older_workers_the_leader_sees_to_its_confirmation(operation: Operation) -> None:
    """Where nobody can be asked beside the leader, that one begins a round that names its ballot."""
    cluster = formed(protocol=OLDER)
    leader = cluster.leader("key")
    sent = cluster.network.watch()
    cluster.execute(leader, operation)
    rounds = [message for _, _, message in sent if isinstance(message, ConfirmBatch) and message.ballots]
    assert [ballot[0] for message in rounds for ballot in message.ballots] == [cluster.ring.partition("key")]


def test_only_a_delete_that_finds_nothing_is_confirmed(cluster: SimCluster) -> None:
    """Its leader begins a round; nobody is asked beside the leader, for most deletes find something."""
    leader, outsider = cluster.leader("key"), cluster.outsider("key")
    cluster.put(leader, "key", b"1")
    for coordinator, status, expected in (
        (outsider, Status.OK, []),
        (outsider, Status.ABSENT, [cluster.ring.partition("key")]),
        (leader, Status.ABSENT, [cluster.ring.partition("key")]),
    ):
        sent = cluster.network.watch()
        assert cluster.delete(coordinator, "key").status is status
        asks = [ask for _, _, message in sent if isinstance(message, ExecuteBatch) for ask in message.asks]
        rounds = [message for _, _, message in sent if isinstance(message, ConfirmBatch)]
        assert not asks
        assert [ballot[0] for message in rounds for ballot in message.ballots] == expected


def test_a_local_read_asks_nobody(cluster: SimCluster) -> None:
    """A local read is answered at once from the worker's own copy, or from a replica's if it has none."""
    key = cluster.key(primary=1)
    cluster.put(1, key, b"1")
    cluster.until(cluster.converged)
    operation = Operation(Kind.GET, key, local=True)
    for replica in cluster.replicas(key):
        sent = cluster.network.watch()
        call = cluster.submit(replica, operation)
        cluster.run(0)
        assert call.outcome is not None
        assert (call.outcome.value, call.outcome.node, sent) == (b"1", replica, [])
    assert cluster.execute(cluster.outsider(key), operation).value == b"1"


def test_a_great_many_at_once_are_all_answered(cluster: SimCluster) -> None:
    """Hundreds of operations in flight on many keys all succeed."""
    calls = [
        cluster.submit(1 + number % 4, Operation(Kind.PUT, f"key-{number}", b"%d" % number))
        for number in range(400)
    ]
    assert {cluster.finish(call).status for call in calls} == {Status.OK}
    cluster.until(cluster.converged)
