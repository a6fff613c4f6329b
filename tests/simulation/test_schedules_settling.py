"""Directed schedules: who comes to lead finds what could have been committed, and has it accepted again."""

from __future__ import annotations

from kvnode.core.messages import AcceptBatch, AcceptReply, Prepare, Sync
from kvnode.core.operations import Status
from tests.simulation.stage import LONG_MS, Stage, carrying, sent


def test_a_leader_takes_over_without_the_newest_copy(stage: Stage) -> None:
    """A new leader that missed the last write finds it at the other replica before it answers."""
    first, second, third = stage.first, stage.second, stage.third
    stage.store(first, "old")
    stage.until(stage.copies_meet)
    stage.network.hold(sent(AcceptBatch, source=first, target=third))
    stage.store(first, "new")
    stage.workers[second].pause()
    stage.crash(first)
    stage.workers[second].resume()
    stage.crown(third)
    stage.read(third)
    stage.judge()


def test_a_minority_write_surfaces_after_a_takeover(stage: Stage) -> None:
    """A write that only its leader holds is accepted by a majority before anybody sees it."""
    first, second, third = stage.first, stage.second, stage.third
    stage.store(first, "old")
    stage.until(stage.copies_meet)
    copies = stage.network.hold(sent(AcceptBatch, source=first))
    stage.begin_put(first, "new")
    stage.until(lambda: stage.record(first).value == b'"new"')
    stage.run(20)
    stage.part(second, third)
    copies.drop()
    stage.restart(first)
    stage.network.hold(carrying("new", target=third))
    repairs = stage.network.hold(sent(Sync, source=first, target=third))
    stage.crown(first)
    stage.read(first)
    held = stage.record(second).value
    stage.crash(first)
    repairs.drop()
    stage.join(second, third)
    stage.crown(third)
    stage.read(third)
    stage.judge()
    assert held == b'"new"'


def test_one_version_is_accepted_under_two_ballots(stage: Stage) -> None:
    """Two copies of one version under different ballots do not commit it: a third may stand between."""
    first, second, third = stage.first, stage.second, stage.third
    base = stage.store(first, "old")
    stage.until(stage.copies_meet)
    lone = stage.network.hold(sent(AcceptBatch, source=first))
    stage.begin_put(first, "early")
    stage.until(lambda: stage.record(first).value == b'"early"')
    stage.run(20)
    stage.silence(first)
    lone.drop()
    stage.crown(second)
    stage.read(second)
    lone = stage.network.hold(sent(AcceptBatch, source=second))
    stage.begin_put(second, "between", over=base)
    stage.until(lambda: stage.record(second).value == b'"between"')
    stage.run(20)
    stage.silence(second)
    lone.drop()
    lone = stage.network.hold(sent(AcceptBatch, source=third))
    stage.join(first, third)
    stage.crown(third)
    stage.until(lambda: stage.record(third).value == b'"early"')
    stage.run(20)
    ballots = {stage.record(worker).accepted for worker in (first, third)}
    stage.crash(third)
    lone.drop()
    stage.start(third)
    stage.join(first, third)
    stage.crown(third)
    stage.read(third)
    stage.crash(third)
    stage.join(first, second)
    stage.read(second)
    stage.judge()
    assert len(ballots) == 2


def test_an_accept_below_the_promise_arrives(stage: Stage) -> None:
    """A copy that a deposed leader sent is refused, and so its write never counts."""
    first, second, third = stage.first, stage.second, stage.third
    base = stage.store(first, "old")
    stage.until(stage.copies_meet)
    stage.part(first, third)
    late = stage.network.hold(sent(AcceptBatch, source=first, target=second))
    write = stage.begin_put(first, "late", timeout_ms=LONG_MS)
    stage.until(lambda: late.packets)
    stage.network.hold(lambda packet: packet.target == first and not isinstance(packet.message, AcceptReply))
    for kind in (Prepare, Sync):
        stage.network.hold(sent(kind, source=first))
    stage.crown(second)
    stage.store(second, "new", over=base)
    late.release()
    stage.run(50)
    stage.judge()
    assert write.status is Status.UNKNOWN


def test_an_older_accept_arrives_again(stage: Stage) -> None:
    """A copy of an earlier write of the same leader, arriving late, does not take a newer one's place."""
    first, second, third = stage.first, stage.second, stage.third
    stage.store(first, "old")
    stage.until(stage.copies_meet)
    stage.network.hold(sent(AcceptBatch, source=first, target=third))
    copies = stage.network.hold(carrying("one", target=second), copying=True)
    stage.store(first, "one")
    stage.store(first, "two")
    copies.release()
    stage.run(20)
    stage.crash(first)
    stage.crown(second)
    stage.read(second)
    stage.judge()


def test_an_acknowledgement_of_an_older_ballot_arrives(stage: Stage) -> None:
    """A copy acknowledged under a leader's earlier ballot does not count under its next one."""
    first, second, third = stage.first, stage.second, stage.third
    stage.store(first, "old")
    stage.until(stage.copies_meet)
    stage.network.hold(sent(AcceptBatch, source=first, target=third))
    acknowledged = stage.network.hold(sent(AcceptReply, source=second, target=first))
    write = stage.begin_put(first, "new", timeout_ms=LONG_MS)
    stage.until(lambda: acknowledged.packets)
    stage.crown(third)
    stage.until(lambda: 0 not in stage.workers[first].machine.leaders.led)
    stage.network.hold(sent(AcceptBatch, source=third))
    stage.crown(first)
    early = stage.begin_get(first, timeout_ms=LONG_MS)
    stage.run(10)
    stage.workers[first].hold_syncs()
    acknowledged.release()
    stage.run(1)
    stage.judge_answers()
    stage.judge()
    assert write.status is Status.UNKNOWN
    assert early.status is Status.OK


def test_a_repair_of_a_deposed_leader_arrives(stage: Stage) -> None:
    """A repair obeys promises: one that a deposed leader sent changes nothing."""
    first, second, third = stage.first, stage.second, stage.third
    with stage.losing(sent(AcceptBatch, source=first, target=third)):
        base = stage.store(first, "old")
        stage.workers[first].machine.copies._lanes[third].broken_drop()
    repair = stage.network.hold(sent(AcceptBatch, source=first, target=third))
    stage.until(lambda: repair.packets)
    stage.silence(first)
    stage.crown(second)
    stage.store(second, "new", over=base)
    stage.until(lambda: stage.record(third).value == b'"new"')
    repair.release()
    stage.run(20)
    stage.judge()
    assert stage.record(third).value == b'"new"'
