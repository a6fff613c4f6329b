"""Finding the leader, and saying honestly what became of an operation."""

from __future__ import annotations

from collections import Counter

import pytest

from kvnode.core.messages import Attempt, ConfirmBatch, ExecuteBatch, ExecuteReply, HandOver, Reply
from kvnode.core.operations import Kind, Operation, Status
from kvnode.core.settings import Bounds
from tests.simulation.cluster import SimCluster, formed


@pytest.fixture
def cluster() -> SimCluster:
    """Return a cluster that has formed."""
    return formed()


def test_with_two_replicas_away_nothing_is_stored_or_confirmed(cluster: SimCluster) -> None:
    """Once the leader sees that it has no quorum, writes are certainly not stored and reads unavailable."""
    key = cluster.key(primary=1)
    cluster.put(1, key, b"1")
    for replica in cluster.replicas(key)[1:]:
        cluster.crash(replica)
    cluster.run(100)
    put = cluster.put(1, key, b"2")
    assert put.status is Status.NOT_STORED
    assert cluster.get(1, key).status is Status.UNAVAILABLE
    local = cluster.execute(1, Operation(Kind.GET, key, local=True))
    assert (local.status, local.value) == (Status.OK, b"1")
    for replica in cluster.replicas(key)[1:]:
        cluster.start(replica)
    cluster.until(cluster.healthy)
    assert cluster.get(2, key).value == b"1"


def test_a_write_under_way_when_the_quorum_goes_is_unknown(cluster: SimCluster) -> None:
    """What was already sent out when both followers die is reported as unknown, never as not stored."""
    key = cluster.key(primary=1)
    for replica in cluster.replicas(key)[1:]:
        cluster.workers[replica].pause()
    call = cluster.submit(1, Operation(Kind.PUT, key, b"1"))
    cluster.run(1)
    for replica in cluster.replicas(key)[1:]:
        cluster.crash(replica)
    assert cluster.finish(call).status is Status.UNKNOWN


def test_a_write_that_waited_behind_it_is_not_stored(cluster: SimCluster) -> None:
    """An operation that never got its turn behind a stuck one certainly did nothing."""
    key = cluster.key(primary=1)
    for replica in cluster.replicas(key)[1:]:
        cluster.workers[replica].pause()
    stuck = cluster.submit(1, Operation(Kind.PUT, key, b"1"))
    behind = cluster.submit(1, Operation(Kind.PUT, key, b"2"), timeout_ms=500)
    assert cluster.finish(behind).status is Status.NOT_STORED
    assert cluster.finish(stuck).status is Status.UNKNOWN
    cluster.heal()
    cluster.until(cluster.healthy)
    assert cluster.get(1, key).value in (b"1", None)


def test_an_attempt_that_comes_twice_is_executed_once(cluster: SimCluster) -> None:
    """A batch of attempts that arrives again is dropped: it writes nothing and is not answered."""
    key = cluster.key(primary=1)
    sender = cluster.outsider(key)
    leader = cluster.workers[1]
    hello = cluster.workers[sender].hello()
    operation = Operation(Kind.PUT, key, b"1")
    batch = ExecuteBatch(10_000, [Attempt(10_001, operation, 1000)])
    replies: list[Reply] = []
    for _ in range(2):
        leader.receive(hello, batch, replies.append)
        cluster.run(200)
    answers = [reply for reply in replies if isinstance(reply, ExecuteReply) and reply.outcomes]
    assert [outcome.status for reply in answers for _, outcome in reply.outcomes] == [Status.OK]
    record = cluster.held(1, key)
    assert record is not None
    assert record.version.seq == 1


def test_an_attempt_of_a_new_process_is_not_taken_for_an_old_one(cluster: SimCluster) -> None:
    """Attempts of a restarted coordinator are executed though their numbers begin anew."""
    key = cluster.key(primary=1)
    outsider = cluster.outsider(key)
    for number in range(10):
        assert cluster.put(outsider, key, b"%d" % number).status is Status.OK
    cluster.restart(outsider)
    cluster.run(200)
    assert cluster.put(outsider, key, b"10").status is Status.OK


def test_a_refusal_to_lead_is_tried_again(cluster: SimCluster) -> None:
    """A write that reaches a replica that no longer leads finds the leader within its deadline."""
    key = cluster.key(primary=1)
    partition = cluster.ring.partition(key)
    outsider, second = cluster.outsider(key), cluster.workers[cluster.replicas(key)[1]]
    cluster.put(outsider, key, b"1")
    second.take(second.machine.leaders.asked_to_lead, [partition])
    cluster.until(lambda: cluster.leader(key) == second.number)
    put = cluster.put(outsider, key, b"2")
    assert (put.status, put.leader) == (Status.OK, second.number)


@pytest.mark.parametrize("kind", [Kind.PUT, Kind.GET])
def test_another_replica_relays_to_a_leader_out_of_reach(cluster: SimCluster, kind: Kind) -> None:
    """A coordinator that cannot reach the leader has a replica that can pass its operations on."""
    key = cluster.key(primary=1)
    outsider = cluster.outsider(key)
    cluster.put(outsider, key, b"1")
    cluster.network.cut_both(outsider, 1)
    cluster.run(2 * cluster.timing.suspect_ms)
    sent = cluster.network.watch()
    value = b"2" if kind is Kind.PUT else None
    outcome = cluster.execute(outsider, Operation(kind, key, value))
    assert (outcome.status, outcome.leader, outcome.ballot) == (Status.OK, 1, None)
    batches = [(source, to, message) for source, to, message in sent if isinstance(message, ExecuteBatch)]
    hops = [(source, to) for source, to, message in batches if message.attempts]
    assert hops[0][0] == outsider
    assert [source in cluster.replicas(key)[1:] for source, to in hops if to == 1] == [True]


def test_nothing_is_relayed_to_a_leader_that_stops(cluster: SimCluster) -> None:
    """Who has told a leader that nothing more will come passes nothing on to it: it may be gone by then."""
    key = cluster.key(primary=1)
    outsider = cluster.outsider(key)
    cluster.put(outsider, key, b"1")
    kept = cluster.network.hold(lambda packet: isinstance(packet.message, HandOver))
    worker = cluster.workers[1]
    worker.take(worker.machine.drain)
    cluster.until(lambda: all(w.machine.peers[1].draining for n, w in cluster.workers.items() if n != 1))
    sent = cluster.network.watch()
    call = cluster.submit(outsider, Operation(Kind.PUT, key, b"2"), 10_000)
    cluster.run(100)
    assert not [to for _, to, message in sent if isinstance(message, ExecuteBatch) and to == 1]
    kept.release()
    outcome = cluster.finish(call)
    assert outcome.status is Status.OK
    assert outcome.leader != 1


def test_a_silent_witness_holds_up_no_read(cluster: SimCluster) -> None:
    """A replica that does not say what it has promised is done without: the leader has itself confirmed."""
    key = cluster.key(primary=1)
    cluster.put(1, key, b"1")
    kept = cluster.network.hold(lambda packet: isinstance(packet.message, ExecuteReply))
    call = cluster.submit(1, Operation(Kind.GET, key))
    outcome = cluster.finish(call)
    assert kept.packets
    assert (outcome.status, outcome.value) == (Status.OK, b"1")
    assert call.ended_ms is not None
    assert call.ended_ms - call.began_ms < 6 * cluster.timing.hedge_ms


def test_a_read_asks_elsewhere_when_its_leader_falls_silent(cluster: SimCluster) -> None:
    """A read that was sent to a leader which then hangs is answered by its successor, within the deadline."""
    key = cluster.key(primary=1)
    cluster.put(1, key, b"1")
    outsider = cluster.outsider(key)
    call = cluster.submit(outsider, Operation(Kind.GET, key), 3000)
    cluster.workers[1].pause()
    outcome = cluster.finish(call)
    assert (outcome.status, outcome.value) == (Status.OK, b"1")
    assert outcome.leader != 1


def test_a_write_not_yet_sent_goes_to_the_successor_of_a_silent_leader(cluster: SimCluster) -> None:
    """What waits behind an unanswered batch is written elsewhere as soon as the leader counts as silent."""
    key = cluster.key(primary=1)
    cluster.put(1, key, b"1")
    outsider = cluster.outsider(key)
    cluster.workers[1].pause()
    cluster.submit(outsider, Operation(Kind.PUT, key, b"2"), 3000)
    cluster.run(1)
    outcome = cluster.finish(cluster.submit(outsider, Operation(Kind.PUT, key, b"3"), 3000))
    assert outcome.status is Status.OK
    assert outcome.leader != 1


def test_every_operation_is_answered_by_its_deadline() -> None:
    """Whatever is cut or down, each operation is answered once, and hardly later than its deadline."""
    cluster = formed(3)
    calls = []
    for number in range(120):
        worker = 1 + number % 4
        key = f"key-{number % 7}"
        operation = Operation(Kind.PUT, key, b"1") if number % 2 else Operation(Kind.GET, key)
        calls.append(cluster.submit(worker, operation, 300))
        if number % 10 == 0:
            cluster.network.cut(1 + number % 3, 4)
        if number % 24 == 0:
            cluster.isolate(1 + number % 4)
        if number % 36 == 0:
            cluster.network.heal()
        cluster.run(9)
    cluster.run(500)
    assert all(call.outcome is not None for call in calls)
    assert max((call.ended_ms or 0) - call.began_ms for call in calls) <= 300 + 60


def test_too_much_at_once_is_refused_before_anything_is_done() -> None:
    """Above the bound on operations a leader refuses what others bring, and says that nothing was written."""
    cluster = formed(bounds=Bounds(operations=5))
    key = cluster.key(primary=1)
    outsider = cluster.outsider(key)
    calls = [cluster.submit(outsider, Operation(Kind.PUT, key, b"%d" % number)) for number in range(20)]
    statuses = Counter(cluster.finish(call).status for call in calls)
    assert statuses == {Status.OK: 5, Status.OVERLOADED: 15}
    assert cluster.get(1, key).value == b"4"


def test_reads_share_confirmations(cluster: SimCluster) -> None:
    """A hundred reads at once at a leader cost a couple of messages to its followers, not hundreds."""
    key = cluster.key(primary=1)
    cluster.put(1, key, b"1")
    cluster.run(100)
    sent = cluster.network.watch()
    calls = [cluster.submit(1, Operation(Kind.GET, key)) for _ in range(100)]
    assert {cluster.finish(call).status for call in calls} == {Status.OK}
    rounds = [message for _, _, message in sent if isinstance(message, ConfirmBatch) and message.ballots]
    assert len(rounds) <= 4


def test_a_read_is_confirmed_by_the_other_follower_when_one_is_slow(cluster: SimCluster) -> None:
    """A read whose first confirmation does not come is confirmed by the other follower a little later."""
    key = cluster.key(primary=1)
    cluster.put(1, key, b"1")
    cluster.workers[cluster.replicas(key)[1]].pause()
    call = cluster.submit(1, Operation(Kind.GET, key))
    assert cluster.finish(call).value == b"1"
    assert call.ended_ms is not None
    assert call.ended_ms - call.began_ms < cluster.timing.suspect_ms
