"""Directed schedules: nothing is said before it is durable, and what was said outlives every crash."""

from __future__ import annotations

from kvnode.core.messages import AcceptBatch, AcceptReply, Prepare, PrepareReply, ReadStates, Sync
from kvnode.core.operations import Status
from tests.simulation.stage import KEY, Stage, between, sent


def test_power_fails_before_the_sync(stage: Stage) -> None:
    """A write that no disk has synced is not acknowledged, and so may be gone after a power cut."""
    stage.store(stage.first, "old")
    stage.run(100)
    for number in stage.numbers:
        stage.workers[number].hold_syncs()
    call = stage.begin_put(stage.first, "new")
    stage.run(100)
    answered = call.outcome
    stage.crash_all()
    for number in stage.numbers:
        stage.start(number)
    assert stage.read(stage.outside) is not None
    stage.judge()
    assert answered is None


def test_power_fails_right_after_the_answer(stage: Stage) -> None:
    """A write that was acknowledged with two copies durable survives a power cut of all workers."""
    with stage.losing(sent(AcceptBatch, target=stage.third)):
        stage.store(stage.first, "new")
        stage.crash_all()
    for number in stage.numbers:
        stage.start(number)
    assert stage.read(stage.outside) == "new"
    stage.judge()


def test_an_acknowledgement_comes_twice_while_the_leaders_disk_is_slow(stage: Stage) -> None:
    """One follower's copy counts once, however often it is acknowledged."""
    stage.store(stage.first, "old")
    stage.run(100)
    stage.network.hold(sent(AcceptBatch, source=stage.first, target=stage.third))
    stage.workers[stage.first].hold_syncs()
    copies = stage.network.hold(sent(AcceptReply, source=stage.second), copying=True)
    call = stage.begin_put(stage.first, "new")
    stage.until(lambda: copies.packets)
    stage.run(10)
    copies.release()
    stage.run(10)
    answered = call.outcome
    stage.crash(stage.first)
    stage.crash(stage.second)
    stage.start(stage.first)
    assert stage.read(stage.outside) == "old"
    stage.judge()
    assert answered is None


def test_a_write_in_doubt_at_a_leader_with_a_slow_disk(stage: Stage) -> None:
    """A write in doubt is not shown before the leader's own copy is durable: all three may crash."""
    stage.store(stage.first, "old")
    stage.run(100)
    for kind in (AcceptBatch, ReadStates):
        stage.network.hold(sent(kind, source=stage.first, target=stage.third))
    stage.workers[stage.first].hold_syncs()
    stage.lost(stage.begin_put(stage.first, "new"))
    assert stage.record(stage.second).value == b'"new"'
    early = stage.begin_get(stage.first)
    stage.run(200)
    answered = early.outcome
    stage.crash_all()
    for number in (stage.first, stage.third, stage.outside):
        stage.start(number)
    assert stage.read(stage.outside) == "old"
    stage.judge()
    assert answered is None


def test_a_promise_outlives_a_restart(stage: Stage) -> None:
    """A replica that restarts still refuses the leader that it had promised to leave behind."""
    first, second, third = stage.first, stage.second, stage.third
    base = stage.store(first, "old")
    stage.until(stage.copies_meet)
    stage.until(lambda: stage.workers[first].machine.copies.waiting(second)[0] == 0)
    stage.part(first, third)
    news = stage.network.hold(between(first, second))
    stage.crown(third)
    assert stage.read(third) == "old"
    news.drop()
    for kind in (Prepare, Sync):
        stage.network.hold(sent(kind, source=first))
    stage.part(second, third)
    stage.restart(second)
    stage.join(first, second)
    deposed = stage.begin_put(first, "late")
    stage.run(50)
    stage.join(second, third)
    stage.store(third, "new", over=base)
    stage.run(50)
    stage.judge()
    assert deposed.status is Status.UNKNOWN


def test_a_promise_given_to_an_earlier_process(stage: Stage) -> None:
    """A promise that is answered to a process that is no more counts for no later one."""
    first, second, third = stage.first, stage.second, stage.third
    stage.store(first, "one")
    stage.part(second, third)
    stage.restart(first)
    promise = stage.network.hold(sent(PrepareReply, target=first))
    stage.until(lambda: len(promise.packets) == 1)
    stage.restart(first)
    stage.run(100)
    stage.network.release_all()
    stage.crown(first)
    stage.store(first, "two")
    assert stage.read(stage.outside) == "two"
    stage.judge()


def test_a_ballot_is_not_used_again_after_a_timeout(stage: Stage) -> None:
    """Who stood in vain stands again under a higher ballot, since the old one may have been promised."""
    first, second, third = stage.first, stage.second, stage.third
    stage.store(first, "one")
    stage.silence(first)
    stage.crown(second)
    stage.store(second, "two")
    asked = stage.network.watch()
    mute = stage.network.hold(sent(PrepareReply, target=first))
    stage.join(first, second, third)
    while stage.leader(KEY) == second:
        stage.workers[first].take(stage.workers[first].machine.leaders.asked_to_lead, [0])
        stage.run(20)
    stage.until(lambda: mute.packets)
    stage.silence(first)
    stage.run(1000)
    mute.drop()
    stage.join(first, second, third)
    stage.crown(first)
    stage.store(first, "three")
    stage.judge()
    prepared = [message for by, _, message in asked if by == first and isinstance(message, Prepare)]
    stood = [dict(message.ballots)[0] for message in prepared]
    assert len(set(stood)) > 1
    assert stood == sorted(stood)


def test_a_ballot_is_not_used_again_after_a_restart(stage: Stage) -> None:
    """A leader that restarts leads under a new ballot, so no version is given to two writes."""
    earlier = stage.store(stage.first, "one")
    stage.part(stage.second, stage.third)
    stage.restart(stage.first)
    stage.crown(stage.first)
    assert stage.read(stage.first) == "one"
    later = stage.store(stage.first, "two")
    stage.read(stage.first)
    stage.judge()
    assert later[:2] > earlier[:2]
