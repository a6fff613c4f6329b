"""Leadership follows operations to the worker by which they come, and returns when that has ended."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from kvnode.core.context import Context
from kvnode.core.entrance import LOOKS, Entrance
from kvnode.core.operations import Kind, Operation, Status
from tests.simulation.cluster import FAST, Call, SimCluster, formed

PERIOD_MS = 4


@pytest.fixture
def entrance(ctx: Context) -> Entrance:
    """Return an entrance that nothing has passed yet."""
    return Entrance(ctx)


def pass_by(ctx: Context, entrance: Entrance, shares: dict[int, int], time_ms: int) -> None:
    """Have so many operations come by each worker in every quarter of the time it takes to follow."""
    step_ms = ctx.timing.follow_ms // LOOKS
    for _ in range(time_ms // step_ms):
        for worker, operations in shares.items():
            entrance.came(worker, operations)
        ctx.now_ms += step_ms
        entrance.tick()


def test_follows_who_brings_most_for_long_enough(ctx: Context, entrance: Entrance) -> None:
    """Three quarters of the operations, and not at the first look."""
    follow_ms = ctx.timing.follow_ms
    pass_by(ctx, entrance, {2: 75, 3: 25}, follow_ms)
    assert entrance.worker == 0
    pass_by(ctx, entrance, {2: 75, 3: 25}, follow_ms)
    assert entrance.worker == 2
    pass_by(ctx, entrance, {3: 75, 2: 25}, 2 * follow_ms)
    assert entrance.worker == 3


@pytest.mark.parametrize("shares", [{2: 74, 3: 26}, {2: 9}, {}], ids=["spread", "few", "none"])
def test_follows_nobody_without_cause(ctx: Context, entrance: Entrance, shares: dict[int, int]) -> None:
    """Neither where operations come by several workers, nor for a few of them."""
    pass_by(ctx, entrance, shares, 10 * ctx.timing.follow_ms)
    assert entrance.worker == 0
    pass_by(ctx, entrance, {3: 100}, 2 * ctx.timing.follow_ms)
    assert entrance.worker == 3
    pass_by(ctx, entrance, shares, ctx.timing.stable_ms)
    assert entrance.worker == 3
    pass_by(ctx, entrance, shares, ctx.timing.follow_ms)
    assert entrance.worker == 0


def test_gathers_if_it_is_to(ctx: Context) -> None:
    """At the first worker, when many operations come by several; else by whom most of them come."""
    ctx.timing = msgspec.structs.replace(ctx.timing, gather_operations=100)
    entrance = Entrance(ctx)
    pass_by(ctx, entrance, {2: 50, 3: 49}, 2 * ctx.timing.follow_ms)
    assert entrance.worker == 0
    pass_by(ctx, entrance, {2: 50, 3: 50}, 2 * ctx.timing.follow_ms)
    assert entrance.worker == 1
    pass_by(ctx, entrance, {3: 100}, 2 * ctx.timing.follow_ms)
    assert entrance.worker == 3
    pass_by(ctx, entrance, {2: 4, 3: 4}, 2 * ctx.timing.stable_ms)
    assert entrance.worker == 0


def test_a_pause_is_nobodys_absence(ctx: Context, entrance: Entrance) -> None:
    """A process that stood still for long looks again before it forgets by whom operations came."""
    pass_by(ctx, entrance, {2: 100}, 2 * ctx.timing.follow_ms)
    ctx.now_ms += 10 * ctx.timing.stable_ms
    entrance.tick()
    assert entrance.worker == 2


def writers(cluster: SimCluster, worker: int) -> Iterator[Call]:
    """Write keys of all partitions through a worker, one after the other; yield the calls."""
    number = 0
    while True:
        cluster.run(PERIOD_MS)
        yield cluster.submit(worker, Operation(Kind.PUT, f"key-{number % 97}", b"%d" % number))
        number += 1


def led_by(cluster: SimCluster, worker: int) -> set[int]:
    """Return the partitions that a worker leads."""
    return set(cluster.workers[worker].machine.leaders.led)


def test_leadership_follows_and_comes_home_and_nothing_fails() -> None:
    """A worker that is asked everything leads all that it holds, until it is asked no more."""
    cluster = formed()
    entry = 2
    calls = []
    for call in writers(cluster, entry):
        calls.append(call)
        if led_by(cluster, entry) == set(cluster.ring.held_by(entry)):
            break
        assert len(calls) * PERIOD_MS < 20 * FAST.follow_ms
    for _, call in zip(range(2 * FAST.stable_ms // PERIOD_MS), writers(cluster, entry), strict=False):
        calls.append(call)
        assert led_by(cluster, entry) == set(cluster.ring.held_by(entry))
    cluster.until(cluster.at_home, 4 * FAST.stable_ms)
    assert {call.status for call in calls} == {Status.OK}


def test_leadership_gathers_under_load_from_all_sides_and_nothing_fails() -> None:
    """The first worker leads all that it holds, whoever is asked, until nobody asks any more."""
    cluster = formed(timing=msgspec.structs.replace(FAST, gather_operations=FAST.follow_operations))
    first = 1
    sides = zip(*(writers(cluster, worker) for worker in cluster.numbers), strict=True)
    calls: list[Call] = []
    for some in sides:
        calls += some
        if led_by(cluster, first) == set(cluster.ring.held_by(first)):
            break
        assert len(calls) * PERIOD_MS < 20 * FAST.follow_ms
    for _, some in zip(range(FAST.stable_ms // PERIOD_MS), sides, strict=False):
        calls += some
        assert led_by(cluster, first) == set(cluster.ring.held_by(first))
    cluster.until(cluster.at_home, 4 * FAST.stable_ms)
    assert {call.status for call in calls} == {Status.OK}


def test_what_the_entrance_does_not_hold_is_led_by_the_next_worker() -> None:
    """All of it by the same, so that messages are few and full."""
    cluster = formed()
    entry = 2
    others = set(range(cluster.ring.partitions)) - set(cluster.ring.held_by(entry))
    assert others
    for call in writers(cluster, entry):
        if others <= led_by(cluster, entry + 1):
            break
        assert call.began_ms < 20_000


def test_one_busy_key_moves_once() -> None:
    """Its new leader has seen nothing yet, and does not send it back before it has."""
    cluster = formed()
    key = cluster.key(primary=2)
    entry = cluster.outsider(key)
    changes = 0
    led = cluster.leader(key)
    end_ms = cluster.now_ms + 6 * FAST.stable_ms
    while cluster.now_ms < end_ms:
        assert cluster.put(entry, key, b"1").status is Status.OK
        if (leader := cluster.leader(key)) not in (0, led):
            changes += 1
            led = leader
    assert changes == 1


def test_a_primary_that_comes_back_leaves_what_has_been_followed() -> None:
    """It takes back what nobody else is asked for; what is led where operations enter stays there."""
    cluster = formed()
    entry, primary = 2, 1
    shared = set(cluster.ring.held_by(entry)) & set(cluster.ring.primaries_of(primary))
    assert shared
    for call in writers(cluster, entry):
        if shared <= led_by(cluster, entry):
            break
        assert call.began_ms < 20_000
    cluster.restart(primary)
    for _, call in zip(range(4 * FAST.stable_ms // PERIOD_MS), writers(cluster, entry), strict=False):
        assert shared <= led_by(cluster, entry), call.status
    cluster.until(cluster.at_home, 6 * FAST.stable_ms)
