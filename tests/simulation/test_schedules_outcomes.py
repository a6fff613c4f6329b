"""Directed schedules: an operation is done once or not at all, and its client is told which."""

from __future__ import annotations

from kvnode.core.messages import AcceptBatch, ConfirmReply, ExecuteBatch, ExecuteReply
from kvnode.core.operations import Status
from tests.simulation.stage import LONG_MS, Stage, between, sent


def test_the_answer_to_a_write_is_lost(stage: Stage) -> None:
    """A write whose answer was lost with its link is unknown, and is not sent again over a newer one."""
    first, outside = stage.first, stage.outside
    stage.network.hold(sent(ExecuteReply, target=outside))
    call = stage.begin_put(outside, "one", timeout_ms=LONG_MS)
    stage.until(lambda: stage.held(first, "key"))
    stage.read(first)
    stage.store(first, "two")
    stage.network.close(outside, first)
    stage.run(500)
    stage.read(first)
    stage.judge()
    assert call.status is Status.UNKNOWN


def test_a_request_is_copied(stage: Stage) -> None:
    """A copy of a request that was executed, arriving later, does nothing."""
    first, outside = stage.first, stage.outside
    copies = stage.network.hold(sent(ExecuteBatch, source=outside), copying=True)
    stage.store(outside, "one")
    stage.read(first)
    stage.store(first, "two")
    copies.release()
    stage.run(100)
    stage.read(first)
    stage.judge()


def test_a_request_is_copied_across_a_restart(stage: Stage) -> None:
    """A copy of a request that was meant for a leader's earlier process does nothing at its next one."""
    first, outside = stage.first, stage.outside
    copies = stage.network.hold(sent(ExecuteBatch, source=outside, target=first), copying=True)
    stage.store(outside, "one")
    stage.restart(first)
    stage.run(100)
    stage.crown(first)
    stage.read(first)
    stage.store(first, "two")
    copies.release()
    stage.run(100)
    stage.read(first)
    stage.judge()


def test_a_request_to_be_relayed_is_copied(stage: Stage) -> None:
    """A replica that is asked twice to relay a write passes it on once."""
    first, second, outside = stage.first, stage.second, stage.outside
    stage.store(outside, "zero")
    stage.part(outside, first)
    stage.run(2 * stage.timing.suspect_ms)
    copies = stage.network.hold(sent(ExecuteBatch, source=outside), copying=True)
    stage.store(outside, "one")
    stage.read(second)
    stage.store(second, "two")
    copies.release()
    stage.run(100)
    stage.read(second)
    stage.judge()


def test_the_answer_to_a_relayed_write_is_lost(stage: Stage) -> None:
    """A relayed write whose answer was lost on the second hop is unknown, and not tried again."""
    first, outside = stage.first, stage.outside
    stage.store(outside, "zero")
    stage.part(outside, first)
    stage.run(2 * stage.timing.suspect_ms)
    stage.network.hold(sent(ExecuteReply, source=first))
    call = stage.begin_put(outside, "one", timeout_ms=LONG_MS)
    stage.until(lambda: stage.record(first).value == b'"one"')
    stage.read(first)
    stage.store(first, "two")
    for replica in (stage.second, stage.third):
        stage.network.close(replica, first)
    stage.run(500)
    stage.read(first)
    stage.judge()
    assert call.status is Status.UNKNOWN


def test_leadership_is_handed_over_under_a_write(stage: Stage) -> None:
    """A write under way when its leader drains is finished first; the next goes to the successor."""
    first, second, outside = stage.first, stage.second, stage.outside
    stage.store(first, "old")
    stage.run(100)
    copies = stage.network.hold(sent(AcceptBatch, source=first))
    write = stage.begin_put(outside, "new")
    stage.until(lambda: copies.packets)
    stage.workers[first].take(stage.workers[first].machine.drain)
    stage.run(100)
    behind = stage.begin_put(outside, "newer")
    stage.run(50)
    assert 0 in stage.workers[first].machine.leaders.led
    copies.release()
    statuses = [stage.finish(call).status for call in (write, behind)]
    stage.until(lambda: stage.leader("key") == second)
    assert stage.read(outside) == "newer"
    stage.crash(first)
    stage.judge()
    assert statuses == [Status.OK, Status.OK]


def test_leadership_is_handed_over_under_a_read(stage: Stage) -> None:
    """A read that waits to be confirmed when its leader lets go is answered by the successor."""
    first, second = stage.first, stage.second
    stage.store(first, "old")
    stage.run(100)
    stage.network.hold(sent(ConfirmReply, target=first))
    read = stage.begin_get(first, timeout_ms=LONG_MS)
    stage.run(5)
    stage.workers[first].take(stage.workers[first].machine.drain)
    stage.until(lambda: stage.leader("key") not in (0, first))
    stage.network.release_all()
    stage.store(second, "new")
    stage.finish(read)
    stage.restart(first)
    stage.judge()
    assert read.status is Status.OK


def test_two_conditional_writes_from_one_version(stage: Stage) -> None:
    """Of two writes over one version, through a deposed leader and its successor, one succeeds."""
    first, second = stage.first, stage.second
    base = stage.store(first, "old")
    copies = stage.network.hold(sent(source=first))
    one = stage.begin_put(first, "one", over=base, timeout_ms=LONG_MS)
    stage.run(20)
    stage.network.hold(between(first, second))
    stage.crown(second)
    two = stage.begin_put(second, "two", over=base)
    stage.finish(two)
    copies.release()
    stage.network.release_all()
    stage.finish(one)
    stage.judge()
    assert [one.status, two.status] == [Status.UNKNOWN, Status.OK]


def test_clocks_disagree(stage: Stage) -> None:
    """A write through a leader whose clock lags by hours is seen, and is above what a fast clock wrote."""
    first, second = stage.first, stage.second
    stage.workers[first].jump(10_000_000)
    stage.run(1000)
    fast = stage.store(stage.outside, "fast")
    stage.silence(first)
    stage.crown(second)
    slow = stage.store(second, "slow")
    assert stage.read(stage.third) == "slow"
    stage.judge()
    assert slow > fast
