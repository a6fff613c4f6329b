"""An empty disk has no vote until it has copied what all others hold, and its copies are no votes either."""

from __future__ import annotations

import pytest

from kvnode.core import comparison, rebuild, replica
from kvnode.core.messages import Request, Sync
from kvnode.core.operations import Kind, Operation, Status
from tests.simulation.cluster import SimCluster, formed

KEYS = [f"key-{number}" for number in range(40)]


@pytest.fixture
def cluster() -> SimCluster:
    """Return a cluster that has formed and holds some keys on all replicas."""
    cluster = formed()
    for key in KEYS:
        assert cluster.put(1, key, b"1").status is Status.OK
    cluster.until(cluster.converged)
    return cluster


def replace_disk(cluster: SimCluster, number: int) -> None:
    """Crash a worker and start it with an empty disk."""
    cluster.crash(number)
    cluster.wipe(number)
    cluster.start(number)


def rebuilt(cluster: SimCluster, number: int) -> list[int]:
    """Return the partitions in which a worker votes."""
    worker = cluster.workers[number]
    return [partition for partition in worker.machine.ctx.held if worker.store.voting(partition)]


def test_a_wiped_disk_is_filled_from_the_others(cluster: SimCluster) -> None:
    """A worker with a wiped disk comes to hold everything again, and is ready only then."""
    replace_disk(cluster, 2)
    cluster.run(1)
    assert not cluster.ready([2])
    cluster.until(lambda: cluster.healthy() and cluster.converged())
    held = cluster.workers[2].machine.ctx.held
    mine = [key for key in KEYS if cluster.ring.partition(key) in held]
    assert mine
    assert all(cluster.held(2, key) is not None for key in mine)


def test_a_wiped_disk_waits_for_both_others(cluster: SimCluster) -> None:
    """While another replica is away a wiped disk gets no vote, and the two that are up store nothing."""
    key = cluster.key(primary=1)
    _, second, third = cluster.replicas(key)
    cluster.crash(third)
    replace_disk(cluster, second)
    cluster.run(2000)
    assert cluster.ring.partition(key) not in rebuilt(cluster, second)
    assert cluster.put(1, key, b"2").status in (Status.NOT_STORED, Status.UNKNOWN)
    cluster.start(third)
    cluster.until(lambda: cluster.healthy() and cluster.converged())


def test_wiping_loses_no_acknowledged_write(cluster: SimCluster) -> None:
    """A write that two replicas acknowledged survives that one of them is wiped and then the other dies."""
    key = cluster.key(primary=1)
    _, second, third = cluster.replicas(key)
    cluster.network.cut(1, third)
    put = cluster.put(1, key, b"2")
    cluster.network.heal()
    replace_disk(cluster, second)
    cluster.until(lambda: cluster.ready([second]))
    cluster.crash(1)
    cluster.until(lambda: cluster.leader(key) not in (0, 1))
    got = cluster.get(cluster.outsider(key), key)
    assert (got.value, got.version) == (b"2", put.version)
    cluster.crash(third)
    cluster.start(1)
    cluster.until(lambda: cluster.leader(key) != 0)
    assert cluster.get(cluster.outsider(key), key).value == b"2"


def test_a_copied_record_does_not_stand(cluster: SimCluster) -> None:
    """What a rebuilt disk has copied is marked, and accepted again under a ballot before it counts."""
    key = cluster.key(primary=1)
    second = cluster.replicas(key)[1]
    cluster.put(1, key, b"1")
    cluster.until(cluster.converged)
    replace_disk(cluster, second)
    cluster.until(lambda: cluster.held(second, key) is not None)
    copied = cluster.held(second, key)
    assert copied is not None
    assert copied.copied
    cluster.until(lambda: cluster.healthy() and cluster.converged())
    again = cluster.held(second, key)
    assert again is not None
    assert (again.copied, again.version) == (False, copied.version)


def test_the_mark_of_a_copied_record_survives_a_restart(cluster: SimCluster) -> None:
    """A rebuilt disk that restarts before its records were accepted again still knows them as copies."""
    key = KEYS[0]
    number = cluster.replicas(key)[1]
    replace_disk(cluster, number)
    cluster.until(lambda: cluster.ring.partition(key) in rebuilt(cluster, number))
    cluster.isolate(number)
    cluster.run(20)
    copied = cluster.held(number, key)
    assert copied is not None
    assert copied.copied
    cluster.restart(number)
    assert cluster.held(number, key) == copied


def test_an_old_disk_is_refused(cluster: SimCluster) -> None:
    """Once a new disk of a worker is noted, the old one that comes back is not greeted and leads nothing."""
    cluster.crash(2)
    old = cluster.workers[2].remove_disk()
    cluster.start(2)
    cluster.until(lambda: cluster.healthy() and cluster.converged())
    cluster.crash(2)
    cluster.workers[2].insert(old)
    cluster.start(2)
    cluster.run(2000)
    sharing = {peer for key in KEYS if 2 in cluster.replicas(key) for peer in cluster.replicas(key)} - {2}
    assert all("incarnation" in cluster.network.refusals[2, peer] for peer in sharing)
    assert not cluster.workers[2].machine.leaders.led
    assert {cluster.put(1, key, b"2").status for key in KEYS} == {Status.OK}


def test_disks_wiped_one_after_the_other_greet_each_other() -> None:
    """A wiped disk that a worker with an outdated roster tells of the cluster knows the present disks."""
    cluster = SimCluster(workers=5, partitions=1)
    cluster.until(cluster.healthy)
    first, second, _ = cluster.replicas("a")
    outsider = cluster.outsider("a")
    replace_disk(cluster, second)
    cluster.until(cluster.healthy)
    cluster.crash(first)
    cluster.wipe(first)
    for number in cluster.numbers:
        if number not in (first, outsider):
            cluster.network.cut_both(first, number)
    cluster.start(first)
    cluster.until(lambda: cluster.workers[first].store.identity.cluster_id)
    cluster.heal()
    cluster.until(cluster.healthy)
    roster = cluster.workers[first].store.identity.roster
    assert roster[second] == cluster.workers[second].store.identity.incarnation


def test_writes_go_on_while_a_disk_is_rebuilt(cluster: SimCluster) -> None:
    """No write through any worker fails while a wiped disk is filled and takes its partitions back."""
    cluster.crash(2)
    cluster.run(100)
    cluster.wipe(2)
    cluster.start(2)
    calls = []
    for number in range(200):
        operation = Operation(Kind.PUT, KEYS[number % len(KEYS)], b"%d" % number)
        calls.append(cluster.submit((1, 3, 4)[number % 3], operation))
        cluster.run(7)
    assert cluster.healthy()
    assert {cluster.finish(call).status for call in calls} == {Status.OK}


def test_two_wiped_disks_turn_no_data_into_absence(cluster: SimCluster) -> None:
    """With two of a key's three disks wiped nothing is said about it: neither absent nor another value."""
    key = cluster.key(primary=1)
    cluster.put(1, key, b"1")
    cluster.until(cluster.converged)
    for number in cluster.replicas(key)[:2]:
        replace_disk(cluster, number)
    cluster.run(3000)
    for worker in cluster.numbers:
        assert cluster.get(worker, key).status is Status.UNAVAILABLE
        assert cluster.put(worker, key, b"2").status is Status.NOT_STORED


def test_a_copy_is_slow_on_purpose_and_goes_on_where_it_was(
    cluster: SimCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes as long as its records at the rate, and asks for every page once."""
    monkeypatch.setattr(replica, "COPY_PAGE_RECORDS", 3)
    monkeypatch.setattr(rebuild, "RECORDS_PER_S", 20)
    sent = cluster.network.watch()
    replace_disk(cluster, 2)
    began_ms = cluster.now_ms
    cluster.until(lambda: pages(sent, 2), 2000)
    cluster.until(lambda: not cluster.workers[2].machine.rebuild.remaining, 60_000)
    took_ms = cluster.now_ms - began_ms
    held = sum(2 in cluster.replicas(key) for key in KEYS)
    assert 2 * held * 1000 / 20 - 1000 < took_ms < 2 * held * 1000 / 20 + 2000
    asked = pages(sent, 2)
    assert len(asked) == len(set(asked)) > 2 * held / 3
    cluster.until(lambda: cluster.healthy() and cluster.converged())


def test_a_copy_begins_anew_at_a_source_that_has_restarted(
    cluster: SimCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the earlier process had noted of the disk may be lost: the first page has it noted again."""
    monkeypatch.setattr(replica, "COPY_PAGE_RECORDS", 3)
    monkeypatch.setattr(rebuild, "RECORDS_PER_S", 20)
    sent = cluster.network.watch()
    replace_disk(cluster, 2)
    cluster.until(lambda: any(after for _, _, after in pages(sent, 2)), 10_000)
    source, partition, _ = next(page for page in pages(sent, 2) if page[2])
    cluster.restart(source)
    cluster.until(lambda: not cluster.workers[2].machine.rebuild.remaining, 60_000)
    assert pages(sent, 2).count((source, partition, "")) == 2
    cluster.until(lambda: cluster.healthy() and cluster.converged())


def pages(sent: list[tuple[int, int, Request]], worker: int) -> list[tuple[int, int, str]]:
    """Return the pages that a rebuilt worker has asked for: of whom, of which partition, after which key."""
    return [
        (to, message.partition, message.after)
        for by, to, message in sent
        if by == worker and isinstance(message, Sync) and message.incarnation
    ]


def test_who_has_only_copied_a_partition_stands_behind_the_others(cluster: SimCluster) -> None:
    """What was copied does not stand: until it does the lead is left to those who hold it whole."""
    key = cluster.key(primary=1)
    partition = cluster.ring.partition(key)
    leaders = cluster.workers[1].machine.leaders
    leaders.rebuilt(partition)
    assert not leaders._candidacy.may_stand(partition)
    leaders.agreed(1, [partition])
    assert leaders._candidacy.may_stand(partition)


def test_a_leader_that_has_copied_everything_settles_a_few_keys_at_a_time() -> None:
    """However many keys differ in however many partitions, few are asked for at once; all are settled."""
    cluster = SimCluster(workers=3, partitions=2)
    cluster.until(cluster.healthy)
    for number in range(300):
        cluster.put(1, f"many-{number}", b"1")
    replace_disk(cluster, 3)
    leaders = cluster.workers[3].machine.leaders
    cluster.until(lambda: not cluster.workers[3].machine.rebuild.remaining)
    cluster.workers[3].take(leaders.asked_to_lead, [0, 1])
    most = 0

    def settled() -> bool:
        nonlocal most
        most = max(most, sum(len(lead._slots) for lead in leaders.led.values()))
        return len(leaders.led) == 2 and all(lead.settled for lead in leaders.led.values())

    cluster.until(settled, 20_000)
    assert 2 <= most <= comparison.SETTLING_AT_ONCE + 2
    cluster.until(lambda: cluster.healthy() and cluster.converged())
