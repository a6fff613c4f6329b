"""Writes whose fate is open: whatever becomes of one, it becomes of it once and for all readers."""

from __future__ import annotations

import pytest

from kvnode.core.operations import Condition, Kind, Operation, Outcome, Status
from tests.simulation.cluster import SimCluster, formed


def minority_write(cluster: SimCluster, key: str, value: bytes) -> Outcome:
    """Put a value at its leader alone, which is then cut off; return what the client is told."""
    leader = cluster.leader(key)
    cluster.isolate(leader)
    return cluster.put(leader, key, value)


@pytest.fixture
def cluster() -> SimCluster:
    """Return a cluster that has formed."""
    return formed()


def test_a_minority_write_that_nobody_else_has_seen_is_gone(cluster: SimCluster) -> None:
    """A write that only a cut-off leader holds never surfaces once others went on without it."""
    key = cluster.key(primary=1)
    cluster.put(1, key, b'"old"')
    assert minority_write(cluster, key, b'"torn"').status is Status.UNKNOWN
    other = cluster.outsider(key)
    assert cluster.get(other, key).value == b'"old"'
    cluster.heal()
    cluster.until(lambda: cluster.healthy() and cluster.converged())
    values = {cluster.get(worker, key).value for worker in cluster.numbers}
    assert values == {b'"old"'}
    assert {record.value for record in cluster.copies(key) if record is not None} == {b'"old"'}


@pytest.mark.parametrize("seed", range(12))
def test_a_write_that_may_have_happened_is_seen_by_all_or_by_none(seed: int) -> None:
    """When a leader dies amid a write, the first read afterwards decides, and all later ones agree."""
    cluster = formed(seed)
    key = cluster.key(primary=1)
    cluster.put(1, key, b'"old"')
    cluster.submit(1, Operation(Kind.PUT, key, b'"new"'))
    cluster.run(seed % 6)
    cluster.crash(1)
    cluster.until(lambda: cluster.leader(key) not in (0, 1))
    first = cluster.get(cluster.outsider(key), key)
    assert first.value in (b'"old"', b'"new"')
    cluster.start(1)
    for _ in range(5):
        cluster.run(300)
        for worker in cluster.numbers:
            again = cluster.get(worker, key)
            assert (again.value, again.version) == (first.value, first.version)
    cluster.until(lambda: cluster.healthy() and cluster.converged())


def test_what_is_found_on_one_replica_is_accepted_again_before_it_is_seen(cluster: SimCluster) -> None:
    """A record on one replica of a majority is accepted by all of it under the new ballot, as it is."""
    key = cluster.key(primary=1)
    _, second, third = cluster.replicas(key)
    cluster.network.cut(1, third)
    put = cluster.put(1, key, b"1")
    assert cluster.held(third, key) is None
    cluster.crash(1)
    cluster.network.heal()
    cluster.until(lambda: cluster.leader(key) not in (0, 1))
    got = cluster.get(cluster.outsider(key), key)
    assert (got.value, got.version) == (b"1", put.version)
    for replica in (second, third):
        record = cluster.held(replica, key)
        assert record is not None
        assert (record.version, record.accepted.worker) == (put.version, got.leader)


def test_a_write_in_doubt_settles_with_the_next_operation(cluster: SimCluster) -> None:
    """After an unknown outcome the same leader finds out, once it has a quorum, before it goes on."""
    key = cluster.key(primary=1)
    _, second, third = cluster.replicas(key)
    cluster.put(1, key, b'"old"')
    sent = cluster.submit(1, Operation(Kind.PUT, key, b'"new"'), timeout_ms=150)
    cluster.workers[second].pause()
    cluster.workers[third].pause()
    assert cluster.finish(sent).status is Status.UNKNOWN
    cluster.heal()
    got = cluster.get(cluster.outsider(key), key)
    assert got.value == b'"new"'
    assert got.version is not None
    assert cluster.put(1, key, b'"newer"', Condition(any_of=(got.version,))).status is Status.OK


def test_a_condition_is_judged_on_the_settled_record(cluster: SimCluster) -> None:
    """A conditional write after a takeover sees the acknowledged record, not what its leader holds."""
    key = cluster.key(primary=1)
    _, second, third = cluster.replicas(key)
    base = cluster.put(1, key, b"0").version
    cluster.until(cluster.converged)
    cluster.network.cut(1, second)
    newest = cluster.put(1, key, b"1").version
    assert base is not None
    cluster.crash(1)
    cluster.network.heal()
    cluster.until(lambda: cluster.leader(key) not in (0, 1))
    stale = Condition(any_of=(base,))
    refused = cluster.put(third, key, b"2", stale)
    assert (refused.status, refused.version) == (Status.CONDITION_FAILED, newest)


def test_an_unknown_write_is_never_sent_twice(cluster: SimCluster) -> None:
    """When the link to the leader breaks under a write, the client is told so and nobody repeats it."""
    key = cluster.key(primary=1)
    outsider = cluster.outsider(key)
    call = cluster.submit(outsider, Operation(Kind.PUT, key, b"1"))
    cluster.run(0)
    sent = cluster.network.watch()
    cluster.network.close(outsider, 1)
    assert cluster.finish(call).status is Status.UNKNOWN
    cluster.run(2000)
    operations = [message for _, _, message in sent if getattr(message, "attempts", ())]
    assert operations == []
