"""Directed schedules: an empty, rebuilt or foreign disk has no say in what was committed."""

from __future__ import annotations

from kvnode.core.messages import AcceptBatch, Sync
from kvnode.core.operations import Status
from tests.simulation.stage import Stage, carrying, sent


def votes(stage: Stage, number: int) -> bool:
    """Whether a worker votes."""
    return stage.workers[number].store.voting(0)


def test_a_wiped_disk_meets_a_replica_that_missed_the_write(stage: Stage) -> None:
    """A wiped worker and one that missed a write make no majority: the write is not turned into absence."""
    first, second, third = stage.first, stage.second, stage.third
    stage.store(first, "old")
    stage.until(stage.copies_meet)
    stage.network.hold(sent(AcceptBatch, source=first, target=third))
    stage.store(first, "new")
    stage.crash(first)
    stage.replace_disk(second)
    stage.run(1000)
    call = stage.begin_get(stage.outside)
    stage.finish(call)
    voted = votes(stage, second)
    stage.judge()
    assert not voted
    assert call.status is Status.UNAVAILABLE


def test_a_wiped_disk_has_copied_from_one_replica_alone(stage: Stage) -> None:
    """What one other replica holds is not enough for a vote: it may be the one that missed a write."""
    first, second, third = stage.first, stage.second, stage.third
    stage.store(first, "old")
    stage.until(stage.copies_meet)
    stage.network.hold(sent(AcceptBatch, source=first, target=third))
    stage.store(first, "new")
    stage.crash(first)
    stage.replace_disk(second)
    stage.until(lambda: stage.held(second, "key") is not None)
    stage.run(500)
    voted = votes(stage, second)
    call = stage.begin_get(stage.outside)
    stage.finish(call)
    stage.judge()
    assert not voted


def test_a_rebuilt_copy_is_no_vote(stage: Stage) -> None:
    """A minority write that a rebuilt disk has copied is accepted again before anybody sees it."""
    first, second, third = stage.first, stage.second, stage.third
    base = stage.store(first, "old")
    stage.until(stage.copies_meet)
    missed = stage.network.hold(sent(AcceptBatch, source=first, target=third))
    stage.workers[first].hold_syncs()
    stage.begin_put(first, "early")
    stage.until(lambda: stage.record(second).value == b'"early"')
    stage.silence(second)
    stage.restart(first)
    missed.drop()
    stage.crown(first)
    stage.read(first)
    lone = stage.network.hold(sent(AcceptBatch, source=first))
    copied = stage.network.hold(sent(Sync, source=third, target=first), copying=True)
    stage.replace_disk(third)
    stage.until(lambda: copied.packets)
    stage.until(lambda: stage.held(third, "key") is not None)
    stage.until(lambda: stage.workers[first].machine.peers.live(third))
    stage.begin_put(first, "between", over=base)
    stage.until(lambda: stage.record(first).value == b'"between"')
    stage.run(20)
    stage.silence(first)
    lone.drop()
    stage.join(second, third)
    stage.until(lambda: votes(stage, third))
    stage.crown(second)
    stage.read(second)
    stage.crash(second)
    stage.join(first, third)
    stage.read(third)
    stage.judge()


def test_an_acknowledgement_of_a_wiped_disk_is_discounted(stage: Stage) -> None:
    """A copy that was acknowledged by a disk that is no more does not count beside the leader's own."""
    first, second, third = stage.first, stage.second, stage.third
    stage.store(first, "old")
    stage.until(stage.copies_meet)
    stage.network.hold(sent(AcceptBatch, source=first, target=third))
    stage.workers[first].hold_syncs()
    write = stage.begin_put(first, "new", timeout_ms=5000)
    stage.until(lambda: stage.record(second).value == b'"new"')
    stage.run(20)
    stage.replace_disk(second)
    stage.run(200)
    stage.workers[first].release_syncs()
    stage.run(20)
    stage.judge()
    assert write.status in (Status.OK, Status.UNKNOWN)


def test_an_earlier_disk_comes_back(stage: Stage) -> None:
    """Once a new disk of a worker has been noted, its old one is refused and makes no majority."""
    first, second, third = stage.first, stage.second, stage.third
    stage.store(first, "old")
    stage.until(stage.copies_meet)
    stage.crash(second)
    old = stage.workers[second].remove_disk()
    stage.start(second)
    stage.until(lambda: stage.ready() and stage.copies_meet())
    stage.network.hold(carrying("new", target=third))
    stage.store(first, "new")
    stage.crash(first)
    stage.crash(second)
    new = stage.workers[second].remove_disk()
    stage.workers[second].insert(old)
    stage.start(second)
    stage.run(1000)
    call = stage.begin_get(third)
    stage.finish(call)
    stage.crash(second)
    stage.workers[second].insert(new)
    stage.judge()
    assert call.status is Status.UNAVAILABLE


def test_a_disk_of_another_cluster_is_inserted(stage: Stage) -> None:
    """A disk of another cluster is refused: it makes no majority with a replica that missed a write."""
    first, second, third = stage.first, stage.second, stage.third
    stage.store(first, "old")
    stage.until(stage.copies_meet)
    stage.network.hold(sent(AcceptBatch, source=first, target=third))
    stage.store(first, "new")
    other = Stage(seed=2)
    other.crash(second)
    stage.crash(first)
    stage.crash(second)
    ours = stage.workers[second].remove_disk()
    stage.workers[second].insert(other.workers[second].remove_disk())
    stage.start(second)
    stage.run(1000)
    call = stage.begin_get(third)
    stage.finish(call)
    stage.crash(second)
    stage.workers[second].insert(ours)
    stage.judge()
    assert call.status is Status.UNAVAILABLE
