"""When a worker tells its peers of itself: at a steady beat, seldom to those that it hears of anyway."""

from __future__ import annotations

import pytest

from kvnode.core.messages import ConfirmBatch, Request
from kvnode.core.operations import Status
from tests.simulation.cluster import FAST, SimCluster, formed

TIME_MS = 3000


@pytest.fixture
def cluster() -> SimCluster:
    """Return a cluster that has formed."""
    return formed()


def beats(sent: list[tuple[int, int, Request]], sender: int, receiver: int) -> int:
    """Count the heartbeats that a worker has sent another."""
    return sum(
        (by, to) == (sender, receiver) and isinstance(message, ConfirmBatch) for by, to, message in sent
    )


def test_at_rest_hearts_beat(cluster: SimCluster) -> None:
    """Nothing else tells that a peer is there."""
    sent = cluster.network.watch()
    cluster.run(TIME_MS)
    assert beats(sent, 1, 2) >= 0.7 * TIME_MS / FAST.heartbeat_ms


def test_who_answers_other_messages_is_sent_few(cluster: SimCluster) -> None:
    """Twice in the time after which it would be suspected, and at the next beat what is new."""
    key = cluster.key(primary=2)
    asked = cluster.outsider(key)
    leader = asked % len(cluster.numbers) + 1
    while cluster.leader(key) != leader:
        assert cluster.put(asked, key, b"1").status is Status.OK
    sent = cluster.network.watch()
    end_ms = cluster.now_ms + TIME_MS
    while cluster.now_ms < end_ms:
        assert cluster.put(asked, key, b"1").status is Status.OK
    assert TIME_MS / FAST.suspect_ms <= beats(sent, asked, leader) <= 2.2 * TIME_MS / FAST.suspect_ms
    told = cluster.workers[leader].machine.peers[asked]
    assert not told.draining
    cluster.workers[asked].take(cluster.workers[asked].machine.drain)
    cluster.until(lambda: told.draining, 2 * FAST.heartbeat_ms)
