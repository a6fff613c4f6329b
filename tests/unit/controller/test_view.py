"""The cluster view under a clock that the test drives."""

from __future__ import annotations

import msgspec
import pytest

from kvnode.controller.status import AntiEntropyView, ClusterStatus, WorkerView
from kvnode.controller.view import SILENCE_S, ClusterView
from kvnode.core.status import PeerStatus
from kvnode.errors import MismatchError
from tests.unit.controller.building import WORKERS, cluster_config, hello, report, status

ALL = range(16)


@pytest.fixture
def view() -> ClusterView:
    """Return the view of a cluster of four that nobody has reported to."""
    cluster = cluster_config()
    return ClusterView(cluster, cluster.ring(), release="0.1.0")


def all_report(view: ClusterView, now: float, state: str = "ready") -> None:
    """Let every worker report; each leads four partitions."""
    for worker in WORKERS:
        led = [p for p in ALL if p % 4 == worker - 1]
        view.report(hello(worker), report(status(worker, state=state, led=led)), now)


def seen(view: ClusterView, now: float) -> ClusterStatus:
    """Return the whole view."""
    return view.status(now, log_lines=0)


def worker(view: ClusterView, number: int, now: float) -> WorkerView:
    """Return the view of one worker."""
    return seen(view, now).workers[number - 1]


def test_before_the_first_report_all_are_offline(view: ClusterView) -> None:
    """A controller that has just started claims nothing."""
    now = seen(view, 0.0)
    assert [w.online for w in now.workers] == [False] * 4
    assert now.workers[0].reasons == ["has not reported since the controller started"]
    assert now.workers[0].last_seen_ms is None
    assert now.health == "unavailable"
    assert now.partitions == msgspec.structs.replace(now.partitions, led=0, leaderless=16, without_quorum=16)


def test_all_ready_and_led_is_healthy(view: ClusterView) -> None:
    """Every worker ready and every partition led: healthy."""
    all_report(view, 0.0)
    now = seen(view, 0.5)
    assert now.health == "healthy"
    assert (now.partitions.led, now.partitions.leaderless, now.partitions.without_quorum) == (16, 0, 0)
    assert now.cluster.id == "c1"
    assert now.cluster.write_quorum == 2
    assert now.workers[1].last_seen_ms == 500
    assert now.workers[1].keys == 20
    assert now.workers[1].partitions_led == 4
    assert sum(w.partitions_primary for w in now.workers) == 16
    assert sum(w.partitions_held for w in now.workers) == 48


def test_silence_makes_a_worker_offline(view: ClusterView) -> None:
    """Two seconds without a report, and not a moment earlier."""
    all_report(view, 0.0)
    assert view.tick(SILENCE_S) == []
    assert view.tick(SILENCE_S + 0.01) == [1, 2, 3, 4]
    assert view.tick(SILENCE_S + 0.02) == []
    assert worker(view, 1, 3.0).reasons == ["no report for 2 s"]


def test_a_broken_stream_makes_a_worker_offline_at_once(view: ClusterView) -> None:
    """Its leaderships lapse, its counts stay as they were last seen."""
    all_report(view, 0.0)
    assert view.gone(2, "connection reset")
    assert not view.gone(2, "again")
    lost = worker(view, 2, 1.0)
    assert (lost.online, lost.state, lost.reasons) == (False, "offline", ["connection reset"])
    assert (lost.keys, lost.partitions_led, lost.peers) == (20, 0, {})
    now = seen(view, 1.0)
    assert now.health == "degraded"
    assert now.partitions.leaderless == 4
    assert now.partitions.without_quorum == 0


def test_a_report_brings_a_worker_back(view: ClusterView) -> None:
    """Coming online is told once."""
    assert view.report(hello(1), report(status(1)), 0.0)
    assert not view.report(hello(1), report(status(1)), 0.5)
    view.gone(1, "reset")
    assert view.report(hello(1), report(status(1)), 1.0)
    assert worker(view, 1, 1.0).online


def test_two_workers_away_leave_partitions_without_quorum(view: ClusterView) -> None:
    """A partition with fewer than two voting replicas makes the cluster unavailable in part."""
    all_report(view, 0.0)
    view.gone(1, "reset")
    view.gone(2, "reset")
    now = seen(view, 0.0)
    assert now.health == "unavailable"
    assert now.partitions.without_quorum > 0


def test_a_worker_that_is_rebuilt_does_not_count_for_a_quorum(view: ClusterView) -> None:
    """Online is not enough: a rebuilt disk has no vote."""
    all_report(view, 0.0, state="rebuilding")
    assert seen(view, 0.0).partitions.without_quorum == 16


def test_lag_is_what_the_others_still_hold_for_a_worker(view: ClusterView) -> None:
    """Copies and bytes add up over live workers, the age is the oldest."""
    for number, copies in ((1, 3), (2, 4)):
        peer = PeerStatus(4, live=False, latent_copies=copies, latent_bytes=100, latent_oldest_ms=copies * 10)
        view.report(hello(number), report(status(number, peers=[peer])), 0.0)
    lagging = worker(view, 4, 0.0)
    assert (lagging.latent_copies, lagging.latent_bytes, lagging.latent_oldest_ms) == (7, 200, 40)
    view.gone(2, "reset")
    assert worker(view, 4, 0.0).latent_copies == 3
    assert worker(view, 1, 0.0).peers["4"].latent_copies == 3


def test_what_leaders_find_at_a_follower_adds_up(view: ClusterView) -> None:
    """Partitions under comparison, behind (the first are named), keys that differ, keys repaired."""
    for number, partitions in ((1, [5, 9]), (2, list(range(10, 30)))):
        behind = len(partitions)
        peer = PeerStatus(4, True, 0, 0, 0, 1, behind, 3, partitions, 7)  # noqa: FBT003 - all fields
        view.report(hello(number), report(status(number, peers=[peer])), 0.0)
    seen_by_leaders = worker(view, 4, 0.0).anti_entropy
    assert seen_by_leaders == AntiEntropyView(2, 22, [5, 9, *range(10, 24)], 14, 6)
    view.gone(2, "reset")
    assert worker(view, 4, 0.0).anti_entropy == AntiEntropyView(1, 2, [5, 9], 7, 3)


def test_of_two_claims_to_a_partition_the_newer_one_counts(view: ClusterView) -> None:
    """A takeover shows before the old leader has noticed it."""
    key = "some key"
    partition = view.place(key).partition
    view.report(hello(1), report(status(1, led=[partition])), 0.0)
    assert view.place(key).leader == 1
    view.report(hello(2), report(status(2, led=[partition])), 0.1)
    assert view.place(key).leader == 2
    view.gone(2, "reset")
    view.gone(1, "reset")
    assert view.place(key).leader == 0


def test_another_layout_is_refused(view: ClusterView) -> None:
    """A worker whose cluster section differs must not be shown as one of ours."""
    with pytest.raises(MismatchError, match="another layout"):
        view.report(hello(1, layout="0123"), report(status(1)), 0.0)
    with pytest.raises(MismatchError, match="not in this cluster"):
        view.check(hello(9))
    assert view.workers_online == 0


def test_ready_with_a_majority_online(view: ClusterView) -> None:
    """Three of four workers are a majority, two are not."""
    view.report(hello(1), report(status(1)), 0.0)
    view.report(hello(2), report(status(2)), 0.0)
    assert view.readiness() == ["2 of 4 workers are online, 3 are needed"]
    view.report(hello(3), report(status(3)), 0.0)
    assert view.readiness() == []


def test_useful_workers_first(view: ClusterView) -> None:
    """Ready ones, then those that are online, then the rest."""
    view.report(hello(3), report(status(3)), 0.0)
    view.report(hello(2), report(status(2, state="catching_up")), 0.0)
    assert view.by_usefulness() == [[3], [2], [1, 4]]


def test_every_change_has_a_revision(view: ClusterView) -> None:
    """A feed can tell by one number whether there is anything new."""
    revisions = [view.revision]
    view.report(hello(1), report(status(1), logs_dropped=7), 0.0)
    revisions.append(view.revision)
    view.gone(1, "reset")
    revisions.append(view.revision)
    assert revisions == sorted(set(revisions))
    view.gone(1, "reset")
    assert view.revision == revisions[-1]
    assert view.status(0.0, log_lines=5, own_dropped=2).logs.dropped == 9


def test_the_ring_may_be_left_out(view: ClusterView) -> None:
    """The feed's status carries no ring, the whole one does."""
    assert b'"ring"' not in msgspec.json.encode(view.status(0.0, log_lines=0, ring=False))
    whole = msgspec.json.decode(msgspec.json.encode(view.status(0.0, log_lines=0)))
    assert len(whole["ring"]["preference_lists"]) == 16
