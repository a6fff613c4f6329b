"""Directed schedules: who does not lead any more answers no read and judges no condition."""

from __future__ import annotations

import msgspec

from kvnode.core.messages import ConfirmReply, ExecuteBatch, ExecuteReply
from kvnode.core.operations import Status
from tests.simulation.stage import LONG_MS, Stage, sent


def depose(stage: Stage) -> None:
    """Cut ``first`` off while it leads, and have ``second`` led by the other two store a value."""
    stage.silence(stage.first)
    stage.crown(stage.second)
    stage.store(stage.second, "new")


def test_a_leader_that_is_cut_off_is_read(stage: Stage) -> None:
    """A leader that nobody confirms answers no read, though it has heard of no other leader."""
    stage.store(stage.first, "old")
    depose(stage)
    assert 0 in stage.workers[stage.first].machine.leaders.led
    call = stage.begin_get(stage.first)
    stage.run(100)
    answered = call.outcome
    stage.judge()
    assert answered is None


def test_a_frozen_leader_is_thawed(stage: Stage) -> None:
    """A leader that was frozen while another took over answers what had reached it as the other would."""
    stage.store(stage.first, "old")
    stage.workers[stage.first].pause()
    early = stage.begin_get(stage.first, timeout_ms=LONG_MS)
    stage.crown(stage.second)
    stage.store(stage.second, "new")
    late = stage.begin_get(stage.first, timeout_ms=LONG_MS)
    stage.workers[stage.first].resume()
    for call in (early, late):
        stage.finish(call)
    stage.judge()
    assert late.outcome is not None
    assert late.outcome.value == b'"new"'


def test_a_deposed_leader_judges_a_condition(stage: Stage) -> None:
    """A condition that fails by a deposed leader's record alone is not answered by it."""
    stage.store(stage.first, "old")
    stage.silence(stage.first)
    stage.crown(stage.second)
    newest = stage.store(stage.second, "new")
    call = stage.begin_put(stage.first, "newer", over=newest)
    stage.run(100)
    answered = call.outcome
    stage.judge()
    assert answered is None


def test_a_confirmation_was_asked_for_before_the_read_came(stage: Stage) -> None:
    """A confirmation counts for the reads that were there when it was asked for, and for no later one."""
    stage.speak_older()
    first = stage.first
    stage.store(first, "old")
    stage.run(100)
    stage.network.hold(sent(source=stage.third, target=first))
    replies = stage.network.hold(sent(ConfirmReply, source=stage.second, target=first))
    early = stage.begin_get(first, timeout_ms=LONG_MS)
    stage.until(lambda: any(packet for packet in replies.packets))
    stage.run(60)
    stage.network.hold(sent(target=first))
    stage.crown(stage.second)
    stage.store(stage.second, "new")
    late = stage.begin_get(first)
    stage.run(1)
    replies.release()
    stage.run(1)
    answered = late.outcome
    stage.judge()
    assert early.status in (Status.OK, Status.UNAVAILABLE)
    assert answered is None


def test_a_coordinator_has_promised_another_leader(stage: Stage) -> None:
    """A replica that passes a read on vouches for no leader below what it has promised itself."""
    first, second, third = stage.first, stage.second, stage.third
    stage.store(first, "old")
    stage.network.hold(
        lambda packet: (
            packet.target == first
            and not (packet.source == third and isinstance(packet.message, ExecuteBatch))
        )
    )
    stage.crown(second)
    stage.store(second, "new")
    stage.part(second, third, first)
    call = stage.begin_get(third)
    stage.run(100)
    answered, asked = call.outcome, stage.workers[first].machine.executor.idle
    stage.judge()
    assert answered is None
    assert not asked


def hide_from_first(stage: Stage, coordinator: int) -> None:
    """Let ``first`` hear nothing but what a worker has it execute."""
    stage.network.hold(
        lambda packet: (
            packet.target == stage.first
            and not (packet.source == coordinator and isinstance(packet.message, ExecuteBatch))
        )
    )


def test_a_witness_has_promised_another_leader(stage: Stage) -> None:
    """A coordinator that is no replica believes no leader below what another replica has promised."""
    stage.store(stage.first, "old")
    hide_from_first(stage, stage.outside)
    stage.crown(stage.second)
    stage.store(stage.second, "new")
    call = stage.begin_get(stage.outside)
    stage.run(100)
    answered, asked = call.outcome, stage.workers[stage.first].machine.executor.idle
    stage.judge()
    assert answered is None
    assert not asked


def test_a_promise_was_asked_for_before_the_read_came(stage: Stage) -> None:
    """A replica's word counts for the reads that were there when it was asked for, and for no later one."""
    patient = stage.workers[stage.outside].machine.ctx
    patient.timing = msgspec.structs.replace(patient.timing, hedge_ms=LONG_MS)
    stage.store(stage.first, "old")
    stage.run(100)
    told = [
        stage.network.hold(sent(ExecuteReply, source=replica, target=stage.outside))
        for replica in (stage.second, stage.third)
    ]
    early = [stage.begin_get(stage.outside, timeout_ms=LONG_MS) for _ in told]
    stage.until(lambda: all(hold.packets for hold in told))
    hide_from_first(stage, stage.outside)
    stage.crown(stage.second)
    stage.store(stage.second, "new")
    late = stage.begin_get(stage.outside)
    stage.run(1)
    for hold in told:
        hold.release()
    stage.run(5)
    answered = late.outcome
    stage.judge()
    assert all(call.status in (Status.OK, Status.UNAVAILABLE) for call in early)
    assert answered is None


def test_a_leader_hears_nobody_but_is_heard(stage: Stage) -> None:
    """A leader whose messages arrive and who gets no answers confirms nothing; its write is seen by all."""
    first = stage.first
    stage.store(first, "old")
    stage.run(100)
    for other in (stage.second, stage.third, stage.outside):
        stage.network.cut(other, first)
    write = stage.begin_put(first, "new")
    stage.run(20)
    read = stage.begin_get(first)
    stage.run(300)
    stage.crown(stage.second)
    assert stage.read(stage.second) == "new"
    newest = stage.store(stage.third, "newer")
    stage.judge()
    assert write.status is not Status.OK
    assert read.outcome is None or read.outcome.status is Status.UNAVAILABLE or read.outcome.version == newest


def test_a_leader_is_heard_by_nobody_but_hears(stage: Stage) -> None:
    """A leader whose messages are lost learns that another leads, and what it has accepted alone is gone."""
    first = stage.first
    base = stage.store(first, "old")
    for other in (stage.second, stage.third, stage.outside):
        stage.network.cut(first, other)
    write = stage.begin_put(first, "lost")
    stage.until(lambda: stage.leader("key") not in (0, first))
    stage.store(stage.second, "new", over=base)
    stage.judge()
    assert write.status is Status.UNKNOWN
