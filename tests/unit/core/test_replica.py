"""A worker as replica, asked by hand: what it promises, accepts, refuses, and when it says so."""

from __future__ import annotations

import pytest

from kvnode.core.messages import (
    AcceptBatch,
    AcceptItem,
    AcceptReply,
    Prepare,
    PrepareReply,
    ReadStates,
    Refusal,
    Reply,
    Request,
    StatesReply,
)
from kvnode.core.operations import Status
from kvnode.core.records import Record
from kvnode.core.versions import NO_BALLOT, Ballot, Version
from tests.simulation.cluster import SimCluster, formed


class Asker:
    """Talks to the second replica of a key in the name of its primary, with nobody else there."""

    def __init__(self) -> None:
        self.cluster = formed()
        self.key = self.cluster.key(primary=1)
        self.partition = self.cluster.ring.partition(self.key)
        self.replica = self.cluster.workers[self.cluster.replicas(self.key)[1]]
        self.hello = self.cluster.workers[1].hello()
        for number in self.cluster.numbers:
            if number != self.replica.number:
                self.cluster.crash(number)
        self.cluster.run(50)

    def answer(self, request: Request) -> Reply:
        """Send a request and wait for its reply."""
        replies: list[Reply] = []
        self.replica.receive(self.hello, request, replies.append)
        self.cluster.until(lambda: replies)
        return replies[0]

    def record(self, term: int, seq: int, *, written_in: int | None = None) -> Record:
        """Return a record that worker 1 has accepted under a term, by default the one it was written in."""
        version = Version(written_in or term, 1, seq)
        return Record(self.partition, self.key, Ballot(term, 1), version, None, b"%d" % seq)

    def accept(self, record: Record) -> list[tuple[int, Refusal]]:
        """Have a record accepted; return the refusals."""
        reply = self.answer(AcceptBatch(1, [AcceptItem(record)]))
        assert isinstance(reply, AcceptReply)
        return reply.refused

    @property
    def held(self) -> Record | None:
        """What the replica holds."""
        return self.cluster.held(self.replica.number, self.key)


@pytest.fixture
def asker() -> Asker:
    """Return who asks."""
    return Asker()


def test_accepts_what_is_newer(asker: Asker) -> None:
    """A record above what stands takes its place; a higher ballot than promised is promised with it."""
    assert asker.accept(asker.record(5, 1)) == []
    assert asker.accept(asker.record(5, 2)) == []
    assert asker.accept(asker.record(6, 1, written_in=5)) == []
    assert asker.held == asker.record(6, 1, written_in=5)
    assert asker.replica.store.promised(asker.partition) == Ballot(6, 1)


def test_acknowledges_and_ignores_what_is_not_newer(asker: Asker) -> None:
    """A record at or below what stands changes nothing, though it comes under the promised ballot."""
    newest = asker.record(5, 3)
    for record in (newest, asker.record(5, 2), newest):
        assert asker.accept(record) == []
        assert asker.held == newest


def test_refuses_below_its_promise(asker: Asker) -> None:
    """What comes under a lower ballot than promised is refused, with the promise, and changes nothing."""
    asker.accept(asker.record(5, 1))
    refused = asker.accept(asker.record(4, 9))
    assert refused == [(0, Refusal(asker.partition, Ballot(5, 1)))]
    assert asker.held == asker.record(5, 1)
    reply = asker.answer(Prepare(2, [(asker.partition, Ballot(4, 3))]))
    assert isinstance(reply, PrepareReply)
    assert (reply.promises, reply.refused) == ([], [Refusal(asker.partition, Ballot(5, 1))])


def test_tells_what_it_holds_under_the_promise_alone(asker: Asker) -> None:
    """States are told to the holder of the promise, or of a higher ballot, which is promised first."""
    asker.accept(asker.record(5, 1))
    told = asker.answer(ReadStates(2, asker.partition, Ballot(6, 1), [asker.key, "never written"]))
    assert isinstance(told, StatesReply)
    assert told.records == [asker.record(5, 1), None]
    late = asker.answer(ReadStates(3, asker.partition, Ballot(5, 1), [asker.key]))
    assert isinstance(late, StatesReply)
    assert (late.records, late.refused) == ([], Refusal(asker.partition, Ballot(6, 1)))


@pytest.mark.parametrize("kind", ["accept", "prepare", "states"])
def test_says_nothing_before_it_is_durable(asker: Asker, kind: str) -> None:
    """No reply leaves before what it rests on is synced."""
    ballot = Ballot(5, 1)
    requests: dict[str, Request] = {
        "accept": AcceptBatch(1, [AcceptItem(asker.record(5, 1))]),
        "prepare": Prepare(1, [(asker.partition, ballot)]),
        "states": ReadStates(1, asker.partition, ballot, [asker.key]),
    }
    store = asker.replica.store
    durable_lsns: list[int] = []
    asker.replica.receive(asker.hello, requests[kind], lambda _: durable_lsns.append(store.durable_lsn))
    needed_lsn = store.appended_lsn
    assert needed_lsn > store.durable_lsn
    asker.cluster.until(lambda: durable_lsns)
    assert durable_lsns[0] >= needed_lsn


@pytest.mark.parametrize("seed", range(8))
def test_an_acknowledged_write_survives_a_power_cut(seed: int) -> None:
    """If all workers lose power the moment a write is acknowledged, it is there when they are back."""
    cluster: SimCluster = formed(seed)
    for number in range(5):
        put = cluster.put(1 + seed % 4, "a", b"%d" % number)
        assert put.status is Status.OK
        for worker in cluster.numbers:
            cluster.crash(worker)
        for worker in cluster.numbers:
            cluster.start(worker)
        cluster.until(cluster.healthy)
        got = cluster.get(1, "a")
        assert (got.value, got.version) == (b"%d" % number, put.version)


def test_without_a_vote_it_still_learns_who_leads(asker: Asker) -> None:
    """A replica that is being rebuilt refuses all, but notes the leader: it will not stand against it."""
    machine = asker.replica.machine
    asker.replica.store.clear_voting(asker.partition)
    assert asker.accept(asker.record(9, 1)) == [(0, Refusal(asker.partition, NO_BALLOT, voting=False))]
    assert asker.held is None
    assert asker.replica.store.promised(asker.partition) < Ballot(9, 1)
    assert machine.leaders.leader_of(asker.partition) == 1
