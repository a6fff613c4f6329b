"""What clients notice when a worker, a host, a network or a disk fails: what was promised, nothing lost."""

from __future__ import annotations

import time
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

from tests.hosts import faults
from tests.hosts.cluster import others
from tests.hosts.copies import until_equal
from tests.hosts.plan import CONTROLLER, HOSTS, SMALL_DISK, WORKERS
from tests.hosts.traffic import ANSWERED, Traffic
from tests.hosts.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hosts.cluster import Cluster
    from tests.hosts.plan import Host

TAKEOVER_S = 2
OFFLINE_S = 3
SERVE_S = 20
HEAL_S = 60
EQUAL_S = 30
CUTS = {
    "cut off from all": faults.around,
    "heard by none": faults.out_of,
    "hearing none": faults.into,
}


def test_what_one_worker_stores_every_other_returns(cluster: Cluster) -> None:
    """A key that was put through any worker is read through any other, and through the controller."""
    for worker in WORKERS:
        key, value = f"höst/{worker.name} %2F", {"from": worker.name, "n": [1, 2.5, None]}
        put = cluster.client.put(worker, key, value)
        assert put.status == 200, put
        assert put.body["status"] == "success"
        assert put.body["replicas"] in (2, 3)
        for host in HOSTS:
            read = cluster.client.get(host, "/kv/" + "h%C3%B6st/" + worker.name + "%20%252F")
            assert (read.status, read.body.get("value")) == (200, value), (host, read)


def test_stopping_a_unit_fails_no_request(cluster: Cluster) -> None:
    """`systemctl stop` hands over in good order: what the worker answers is answered well, to its end."""
    host = WORKERS[0]
    with at_work(cluster, "stop") as traffic:
        with faults.stopped(cluster, host):
            until(lambda: cluster.online(host) is False, OFFLINE_S, "the controller to see it offline")
            traffic.until_calm(others(host))
        until(lambda: cluster.ready(host), 30, "the worker to be ready again")
        until(lambda: cluster.online(host) is True, OFFLINE_S, "the controller to see it online")
    assert not traffic.failed(others(host))
    assert not [said for said in traffic.failed([host]) if ANSWERED in said]
    assert cluster.run(host, f"systemctl show --property=Result --value {host.unit}").strip() == "success"


def test_stopping_the_controller_stops_no_read_or_write(cluster: Cluster) -> None:
    """The controller is not on the data path: stopped, or without power, nobody misses it."""
    with at_work(cluster, "controller") as traffic:
        with faults.stopped(cluster, CONTROLLER):
            traffic.until_calm(WORKERS)
        until(cluster.whole, HEAL_S, "the controller to see all workers again")
        with faults.powered_off(cluster, CONTROLLER):
            traffic.until_calm(WORKERS)
    assert not traffic.failed(WORKERS)


def test_rebooted_host_brings_its_worker_back(cluster: Cluster) -> None:
    """A reboot needs no hand: the unit starts with the host and the worker catches up."""
    host = WORKERS[3]
    boots = "systemctl show --property=UserspaceTimestampMonotonic --value"
    before = int(cluster.run(host, boots))
    with at_work(cluster, "reboot") as traffic:
        cluster.run(host, "systemctl reboot")
        cluster.disconnect(host)
        until(lambda: not cluster.ready(host), 30, "the worker to be gone")
        until(lambda: cluster.ready(host), HEAL_S, "the worker to be back and ready")
    cluster.machines.wait_for(host)
    assert int(cluster.run(host, boots)) > before
    assert not traffic.failed(others(host))


def test_killed_worker_is_taken_over_within_two_seconds(cluster: Cluster) -> None:
    """Killed: every key can be written and read again within 2 s, through any other worker."""
    host = WORKERS[0]
    with at_work(cluster, "kill") as traffic:
        killed_s = time.monotonic()
        with faults.killed(cluster, host):
            traffic.until_calm(others(host))
    assert not traffic.failed(others(host), killed_s + TAKEOVER_S)


def test_host_without_power_is_done_without(cluster: Cluster) -> None:
    """A power cut takes a third of the copies away, and nobody else's requests."""
    host = WORKERS[1]
    with at_work(cluster, "power") as traffic, faults.powered_off(cluster, host):
        until(lambda: cluster.online(host) is False, OFFLINE_S, "the controller to see it offline")
        traffic.until_calm(others(host))


def test_unplugged_host_is_done_without(cluster: Cluster) -> None:
    """A host whose cable was pulled is shown offline, its keys are taken over; plugged in, it catches up."""
    host = WORKERS[2]
    with at_work(cluster, "cable") as traffic, faults.unplugged(cluster, host):
        until(lambda: cluster.online(host) is False, 2 * OFFLINE_S, "the controller to see it offline")
        traffic.until_calm(others(host))


def test_frozen_worker_is_done_without_and_wakes_up_harmless(cluster: Cluster) -> None:
    """Frozen longer than the detector waits, a leader is replaced; thawed, it answers nothing that is old."""
    host = WORKERS[0]
    with at_work(cluster, "freeze") as traffic, faults.frozen(cluster, host):
        until(lambda: cluster.online(host) is False, 2 * OFFLINE_S, "the controller to see it offline")
        traffic.until_calm(others(host))


@pytest.mark.parametrize("cut", CUTS)
def test_leader_cut_off_answers_nothing_and_the_others_take_over(cluster: Cluster, cut: str) -> None:
    """Its clients hear 503 instead of what may be old, but for local reads; everybody else goes on."""
    host = WORKERS[0]
    key = _led_by(cluster, host)
    assert cluster.client.put(host, key, 1).status == 200
    with at_work(cluster, "cut") as traffic, faults.cut(CUTS[cut](host)):
        traffic.until_calm(others(host))
        until(lambda: cluster.client.put(others(host)[0], key, 2).status == 200, SERVE_S, "a write")
        assert cluster.client.get(host, f"/kv/{key}").status == 503
        assert cluster.client.put(host, key, 3).status == 503
        assert cluster.client.get(host, f"/kv/{key}?consistency=local").status == 200
    assert cluster.client.get(host, f"/kv/{key}").body["value"] in (2, 3)


def test_each_key_is_served_by_the_half_that_holds_most_of_it(cluster: Cluster) -> None:
    """Split in two: where two of a key's copies are it is written and read, and the other half says 503."""
    half, rest = WORKERS[:2], WORKERS[2:]
    with at_work(cluster, "halves"):
        keys = {side: _mostly_on(cluster, side) for side in (half, rest)}
        with faults.cut(faults.between(half, (*rest, CONTROLLER))):
            for here, there in ((half, rest), (rest, half)):
                key = keys[here]
                until(lambda: cluster.client.put(here[0], key, 1).status == 200, SERVE_S, "a write")  # noqa: B023
                assert cluster.client.get(here[1], f"/kv/{key}").body["value"] == 1
                assert cluster.client.put(there[0], key, 2).status == 503
                assert cluster.client.get(there[1], f"/kv/{key}").status == 503


def test_flapping_network_wears_nobody_out(cluster: Cluster) -> None:
    """A host that is cut off and joined again all the time harms neither its own keys nor the others'."""
    host = WORKERS[2]
    with at_work(cluster, "flapping") as traffic:
        with faults.flapping(faults.around(host), 1.6):
            _let_pass(traffic, 300)
        traffic.until_calm(WORKERS)


def test_two_workers_that_cannot_hear_each_other_are_helped_by_a_third(cluster: Cluster) -> None:
    """A cut between two hosts only: every key is still served through every worker."""
    one, other = WORKERS[0], WORKERS[3]
    with at_work(cluster, "between") as traffic, faults.cut(faults.between([one], [other])):
        traffic.until_calm(WORKERS)


def test_full_disk_hands_over_and_recovers_by_itself(cluster: Cluster) -> None:
    """A worker without space still answers, through those that have some; with space it takes part again."""
    with at_work(cluster, "full") as traffic:
        before = cluster.main_pid(SMALL_DISK)
        with faults.full_disk(cluster, SMALL_DISK):
            traffic.until_calm(WORKERS)
        traffic.until_calm(WORKERS)
    assert cluster.main_pid(SMALL_DISK) == before


def test_wiped_worker_is_whole_again_without_a_hand(cluster: Cluster) -> None:
    """An empty disk is filled from the others, even if the host reboots in the middle of it."""
    host = WORKERS[1]
    with at_work(cluster, "wipe") as traffic:
        with faults.wiped(cluster, host):
            traffic.until_calm(others(host))
        cluster.run(host, "systemctl reboot")
        cluster.disconnect(host)
        until(lambda: not cluster.ready(host), 30, "the worker to be gone")
    cluster.machines.wait_for(host)


def test_request_id_is_found_on_every_node_that_the_request_touched(cluster: Cluster) -> None:
    """One X-Request-ID finds a write in the journals of all workers concerned and in the log window."""
    mark, key = "hosts-trace-1", "traced"
    place = cluster.client.get(WORKERS[0], f"/partition/{key}").body
    put = cluster.client.put(WORKERS[0], key, 1, headers={"X-Request-ID": mark})
    assert put.status == 200
    assert put.headers["x-request-id"] == mark
    touched = {WORKERS[0], *(WORKERS[node - 1] for node in place["replica_node_ids"])}
    names = {f"worker-{host.worker}" for host in touched}
    until(lambda: all(_logged(cluster, host, mark) for host in touched), 10, f"{mark} in every journal")

    def window() -> set[str]:
        lines = cluster.client.get(CONTROLLER, f"/logs?request_id={mark}").body["lines"]
        return {line["node"] for line in lines}

    until(lambda: names <= window(), 10, f"{mark} in the controller's log window")


def _logged(cluster: Cluster, host: Host, mark: str) -> bool:
    return any(mark in line for line in cluster.journal(host, "-5min"))


@contextmanager
def at_work(cluster: Cluster, name: str) -> Iterator[Traffic]:
    """Keep 16 clients at work; after the block all heals by itself, and nothing was lost or wrong."""
    with Traffic(WORKERS, f"{name}-{time.time_ns()}") as traffic:
        _let_pass(traffic, 150)
        yield traffic
        until(cluster.whole, HEAL_S, "the cluster to be whole again")
        traffic.until_calm(WORKERS)
        traffic.stop()
        assert not until_equal(cluster.client, EQUAL_S)
        traffic.read_all()
    assert not traffic.lost()
    assert not traffic.judge().findings


def _let_pass(traffic: Traffic, operations: int) -> None:
    """Return when so many more operations have ended."""
    enough = len(traffic.ops()) + operations
    until(lambda: len(traffic.ops()) >= enough, 60, f"{operations} more operations")


def _led_by(cluster: Cluster, host: Host) -> str:
    """Find a key that a host leads, as soon as there is one: who is back leads after a while of stability."""
    led: list[str] = []

    def found() -> bool:
        led.extend(islice((key for key, at in _places(cluster) if at["leader_id"] == host.worker), 1))
        return bool(led)

    until(found, SERVE_S, f"{host.name} to lead something")
    return led[0]


def _mostly_on(cluster: Cluster, hosts: tuple[Host, ...]) -> str:
    """Find a key of which two copies are on ``hosts``."""
    here = {host.worker for host in hosts}
    found = (key for key, place in _places(cluster) if len(here & set(place["replica_node_ids"])) == 2)
    return next(found)


def _places(cluster: Cluster) -> Iterator[tuple[str, dict[str, Any]]]:
    for number in range(1000):
        key = f"place-{number}"
        yield key, cluster.client.get(WORKERS[0], f"/partition/{key}").body
