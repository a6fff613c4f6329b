"""Directed schedules: what was deleted stays deleted, also when the tombstone is forgotten.

The floor is mostly raised by the schedule's own hand, on all replicas, once all hold the tombstone.
"""

from __future__ import annotations

from kvnode.core.operations import Kind, Operation, Status
from kvnode.core.versions import NO_VERSION, Version
from tests.simulation.stage import KEY, LONG_MS, STEADY, Stage, carrying


def delete(stage: Stage) -> Version:
    """Delete the key and wait until all replicas hold the tombstone; return its version."""
    outcome = stage.finish(stage.submit(stage.first, Operation(Kind.DELETE, KEY)))
    assert outcome.status is Status.OK
    assert outcome.version is not None
    stage.until(stage.copies_meet)
    return outcome.version


def raise_floor(stage: Stage, number: int, floor: Version, forgotten: Version) -> None:
    """Have a replica raise its floor and forget, durably."""
    store = stage.workers[number].store
    store.raise_floor(0, floor, forgotten)
    stage.until(lambda: store.durable_lsn == store.appended_lsn)


def test_a_copy_is_held_past_its_deletion_and_the_forgetting(stage: Stage) -> None:
    """A copy of a put that arrives when the key was deleted and that forgotten is refused."""
    first, second, third = stage.first, stage.second, stage.third
    late = stage.network.hold(carrying("gone", target=third), copying=True)
    stage.store(first, "gone")
    stage.until(lambda: late.packets)
    tombstone = delete(stage)
    for number in (first, second, third):
        raise_floor(stage, number, tombstone, NO_VERSION)
    for number in (first, second, third):
        raise_floor(stage, number, tombstone, tombstone)
    late.release()
    stage.run(20)
    held = stage.held(third, KEY)
    stage.crash(first)
    stage.crown(third)
    stage.read(third)
    stage.judge()
    assert held is None


def test_a_leader_has_missed_the_forgetting(stage: Stage) -> None:
    """A leader that still holds a tombstone goes on beside a replica that has forgotten it."""
    first, second, third = stage.first, stage.second, stage.third
    stage.store(first, "gone")
    tombstone = delete(stage)
    for number in (first, second, third):
        raise_floor(stage, number, tombstone, NO_VERSION)
    stage.silence(third)
    for number in (first, second):
        raise_floor(stage, number, tombstone, tombstone)
    stage.crash(first)
    stage.join(second, third)
    stage.crown(third)
    stage.read(third)
    stage.store(third, "again")
    assert stage.read(second) == "again"
    stage.judge()


def test_a_deletion_grows_old_while_a_replica_is_away(stage: Stage) -> None:
    """However old a deletion is: while one replica has missed it, the others go on holding it against it."""
    first, second, third = stage.first, stage.second, stage.third
    stage.store(first, "gone")
    stage.until(stage.copies_meet)
    stage.silence(third)
    assert stage.finish(stage.submit(first, Operation(Kind.DELETE, KEY))).status is Status.OK
    stage.run(20 * STEADY.tombstone_ms)
    stage.crash(first)
    stage.join(second, third)
    stage.crown(third)
    stage.begin_get(third, timeout_ms=LONG_MS)
    stage.judge()


def test_a_deletion_that_all_have_is_forgotten_by_all(stage: Stage) -> None:
    """Forgotten by the leader's own doing, it stays a deletion to every reader, and to a late copy."""
    first, third = stage.first, stage.third
    late = stage.network.hold(carrying("gone", target=third), copying=True)
    stage.store(first, "gone")
    delete(stage)
    stage.until(lambda: all(copy is None for copy in stage.copies(KEY)), LONG_MS)
    late.release()
    stage.run(20)
    held = stage.held(third, KEY)
    stage.crash(first)
    stage.crown(third)
    stage.read(third)
    stage.judge()
    assert held is None


def test_a_copy_is_late_while_a_deletion_grows_old(stage: Stage) -> None:
    """No floor is raised past a record that one replica lacks, or that replica would refuse the record."""
    first, third = stage.first, stage.third
    stage.finish(stage.submit(first, Operation(Kind.PUT, "other", b"1")))
    late = stage.network.hold(carrying("kept", target=third))
    stage.store(first, "kept")
    assert stage.finish(stage.submit(first, Operation(Kind.DELETE, "other"))).status is Status.OK
    stage.run(20 * STEADY.tombstone_ms)
    late.release()
    stage.run(20)
    stage.crash(first)
    stage.crown(third)
    stage.begin_get(third, timeout_ms=LONG_MS)
    stage.judge()
