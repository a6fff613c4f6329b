"""What clients notice when a worker, a host, a cable or the controller goes away: what was promised."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.hosts import faults
from tests.hosts.cluster import others
from tests.hosts.load import Load
from tests.hosts.plan import CONTROLLER, HOSTS, WORKERS
from tests.hosts.wait import until

if TYPE_CHECKING:
    from tests.hosts.cluster import Cluster
    from tests.hosts.plan import Host

TAKEOVER_S = 2
OFFLINE_S = 3


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


def test_stopping_a_unit_fails_no_request_to_the_others(cluster: Cluster) -> None:
    """`systemctl stop` hands over in good order; the worker is shown offline, and catches up again."""
    host = WORKERS[0]
    with Load(others(host), "stop") as load:
        _let_pass(load, 100)
        cluster.run(host, f"systemctl stop {host.unit}")
        until(lambda: cluster.online(host) is False, OFFLINE_S, "the controller to see it offline")
        _let_pass(load, 200)
        cluster.run(host, f"systemctl start {host.unit}")
        until(lambda: cluster.ready(host), 30, "the worker to be ready again")
        until(lambda: cluster.online(host) is True, OFFLINE_S, "the controller to see it online")
        _let_pass(load, 200)
    assert not load.failures()
    assert cluster.run(host, f"systemctl show --property=Result --value {host.unit}").strip() == "success"
    until(lambda: cluster.worker_status(host)["behind"] == 0, 30, "the worker to have caught up")
    _assert_kept(cluster, load)


def test_stopping_the_controller_stops_no_read_or_write(cluster: Cluster) -> None:
    """The controller is not on the data path."""
    with Load(WORKERS, "controller") as load:
        _let_pass(load, 100)
        cluster.run(CONTROLLER, f"systemctl stop {CONTROLLER.unit}")
        _let_pass(load, 400)
        cluster.run(CONTROLLER, f"systemctl start {CONTROLLER.unit}")
        until(lambda: cluster.ready(CONTROLLER), 30, "the controller to be ready again")
        _let_pass(load, 100)
    assert not load.failures()
    until(cluster.whole, 30, "the controller to see all workers again")


def test_rebooted_host_brings_its_worker_back(cluster: Cluster) -> None:
    """A reboot needs no hand: the unit starts with the host and the worker catches up."""
    host = WORKERS[3]
    boots = "systemctl show --property=UserspaceTimestampMonotonic --value"
    before = int(cluster.run(host, boots))
    with Load(others(host), "reboot") as load:
        _let_pass(load, 50)
        cluster.run(host, "systemctl reboot")
        cluster.disconnect(host)
        until(lambda: not cluster.ready(host), 30, "the worker to be gone")
        until(lambda: cluster.ready(host), 60, "the worker to be back and ready")
    cluster.machines.wait_for(host)
    assert int(cluster.run(host, boots)) > before
    assert not load.failures()
    _assert_kept(cluster, load)


def test_host_without_power_loses_no_acknowledged_write(cluster: Cluster) -> None:
    """Power cut under load: the others answer again within 2 s, and no acknowledged write is missing."""
    host = WORKERS[1]
    with Load(others(host), "power") as load:
        _let_pass(load, 100)
        cut_at = time.monotonic()
        with faults.powered_off(cluster, host):
            until(lambda: cluster.online(host) is False, OFFLINE_S, "the controller to see it offline")
            _let_pass(load, 300)
            late = [s for s in load.failures() if s.at_s > cut_at + TAKEOVER_S]
            assert not late
            _assert_kept(cluster, load)
        until(lambda: cluster.ready(host), 60, "the worker to be back and ready")
    _assert_kept(cluster, load)


def test_killed_worker_is_taken_over_within_two_seconds(cluster: Cluster) -> None:
    """Killed under load: every key can be written and read again within 2 s, through any other worker."""
    host = WORKERS[0]
    with Load(others(host), "kill") as load:
        _let_pass(load, 100)
        killed_at = time.monotonic()
        cluster.run(host, f"systemctl kill --signal=SIGKILL {host.unit}")
        _let_pass(load, 300)
        until(lambda: cluster.ready(host), 30, "the worker to be ready again")
    assert not [s for s in load.failures() if s.at_s > killed_at + TAKEOVER_S]
    _assert_kept(cluster, load)


def test_worker_that_is_cut_off_is_done_without(cluster: Cluster) -> None:
    """An unplugged host is shown offline, its keys are taken over; plugged in again, it catches up."""
    host = WORKERS[2]
    with Load(others(host), "cable") as load:
        _let_pass(load, 100)
        cluster.disconnect(host)
        cut_at = time.monotonic()
        with faults.unplugged(host):
            until(lambda: cluster.online(host) is False, OFFLINE_S + 1, "the controller to see it offline")
            _let_pass(load, 200)
            assert not [s for s in load.failures() if s.at_s > cut_at + TAKEOVER_S + 1]
        until(lambda: cluster.ready(host), 60, "the worker to be ready again")
    _assert_kept(cluster, load)


def test_two_workers_that_cannot_hear_each_other_lose_nothing(cluster: Cluster) -> None:
    """A cut between two hosts only: acknowledged writes stay, and after it all agree again."""
    one, other = WORKERS[0], WORKERS[3]
    with Load(WORKERS, "between") as load, faults.cut((one, other), (other, one)):
        _let_pass(load, 300)
    until(cluster.whole, 60, "the cluster to be whole again")
    _assert_kept(cluster, load)


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


def _let_pass(load: Load, requests: int) -> None:
    """Return when so many more requests have ended."""
    enough = load.count() + requests
    until(lambda: load.count() >= enough, 60, f"{requests} more requests")


def _assert_kept(cluster: Cluster, load: Load) -> None:
    """Each acknowledged write of the load, or a newer one, is read back through the workers there are."""
    ready = [worker for worker in WORKERS if cluster.ready(worker)]
    for number, (key, value) in enumerate(load.acknowledged().items()):
        read = cluster.client.get(ready[number % len(ready)], f"/kv/{key}")
        assert read.status == 200, (key, read)
        assert read.body["value"] >= value, (key, read)
