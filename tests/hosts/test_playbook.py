"""The playbook: from nothing, again, in check mode, and rolling over a cluster that serves."""

from __future__ import annotations

import platform
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

from tests.hosts.plan import BUILDS, CONTROLLER, HOSTS, WORKERS
from tests.hosts.traffic import ANSWERED, Traffic
from tests.support.installed import can_compile

if TYPE_CHECKING:
    from tests.hosts.cluster import Cluster
    from tests.hosts.conftest import Installation, Rehearsal
    from tests.hosts.plan import Host

FINGERPRINTS = "sha256sum /etc/kvnode/* /etc/systemd/system/kv-*.service; readlink /opt/kvnode/current"


def test_check_mode_on_empty_hosts_changes_nothing_and_does_not_fail(rehearsed: Rehearsal) -> None:
    """`--check --diff` foretells an installation on hosts without kvnode, and leaves no trace."""
    assert not rehearsed.play.failed, rehearsed.play.output[-8000:]
    assert all(rehearsed.play.changed[host.name] > 0 for host in HOSTS)
    assert rehearsed.footprints == {host.name: "" for host in HOSTS}


def test_first_run_installs_and_starts_everything(installed: Installation) -> None:
    """From nothing, one run of the playbook ends with a healthy cluster."""
    assert not installed.play.failed, installed.play.output[-8000:]
    assert installed.cluster.whole()


def test_hosts_with_this_machines_python_run_compiled_code(cluster: Cluster) -> None:
    """The others run the same release interpreted; each says so, and has the library in memory or not."""
    for host in HOSTS:
        compiled = _takes_compiled(host)
        said = cluster.run(host, "/opt/kvnode/current/bin/kvnode version")
        assert said.strip().endswith("(compiled)" if compiled else "(interpreted)"), f"{host.name}: {said}"
        libraries = cluster.run(host, f"grep -c /kvnode__mypyc /proc/{cluster.main_pid(host)}/maps || true")
        assert (int(libraries) > 0) is compiled


def test_second_run_changes_nothing(cluster: Cluster) -> None:
    """A run that finds everything in place reports changed=0 and restarts nothing."""
    before = cluster.pids()
    played = cluster.play()
    assert not played.failed, played.output[-8000:]
    assert played.changed == {host.name: 0 for host in HOSTS}, played.output[-8000:]
    assert cluster.pids() == before


def test_check_mode_on_a_running_cluster_foretells_a_change_and_makes_none(cluster: Cluster) -> None:
    """`--check --diff` shows what a new setting would change, and neither writes nor restarts anything."""
    before = cluster.pids(), [cluster.run(host, FINGERPRINTS) for host in HOSTS]
    played = cluster.play("--check", "--diff", kvnode_detector={"suspect_ms": 1234})
    assert not played.failed, played.output[-8000:]
    assert "+suspect_ms = 1234" in played.output
    assert all(played.changed[host.name] > 0 for host in HOSTS)
    assert (cluster.pids(), [cluster.run(host, FINGERPRINTS) for host in HOSTS]) == before


def test_changed_setting_rolls_over_the_hosts_one_at_a_time(cluster: Cluster) -> None:
    """A new setting restarts all processes, never two at a time, and no acknowledged write is lost."""
    before = cluster.pids()
    cluster.settings["kvnode_limits"] = {"slow_request_ms": 400}
    with Traffic(WORKERS, "rolling") as traffic:
        played = cluster.play()
        traffic.stop()
        traffic.read_all()
    assert not played.failed, played.output[-8000:]
    assert all(pid not in (0, before[name]) for name, pid in cluster.pids().items())
    assert not [said for said in traffic.failed(WORKERS) if ANSWERED in said]
    _assert_one_at_a_time(cluster)
    assert not traffic.lost()
    assert not traffic.judge().findings


def test_inventory_that_cannot_work_is_refused_before_anything_is_touched(cluster: Cluster) -> None:
    """More copies than workers: the playbook names the contradiction and changes nothing."""
    played = cluster.play(kvnode_replicas=9)
    assert played.failed
    assert "at least kvnode_replicas" in played.output
    assert not any(played.changed.values())


def test_one_host_alone_can_be_played(cluster: Cluster) -> None:
    """`--limit` to one host builds and checks as a whole run does."""
    played = cluster.play("--limit", WORKERS[1].name)
    assert not played.failed, played.output[-8000:]
    assert played.changed == {WORKERS[1].name: 0}


def _takes_compiled(host: Host) -> bool:
    """Whether what is compiled here runs there."""
    python, libc = BUILDS[host.release]
    own = tuple(map(int, platform.libc_ver()[1].split(".")))
    return can_compile() and python == sys.version_info[:2] and own <= libc


def _assert_one_at_a_time(cluster: Cluster) -> None:
    """Each worker was up again before the next one went down, by systemd's own clock of this machine."""
    shown = "systemctl show --timestamp=us+utc --property={} --value {}"
    spans = []
    for host in (*WORKERS, CONTROLLER):
        down = cluster.run(host, shown.format("InactiveEnterTimestampMonotonic", host.unit))
        up = cluster.run(host, shown.format("ActiveEnterTimestampMonotonic", host.unit))
        spans.append((int(down), int(up)))
    spans.sort()
    assert all(up < next_down for (_, up), (next_down, _) in pairwise(spans)), spans
