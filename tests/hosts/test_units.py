"""The units: who runs them, how hardened they are, what they log, what makes systemd start them again."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import testinfra

from tests.hosts.plan import CONTROLLER, HOSTS, WORKERS, Host
from tests.hosts.wait import until

if TYPE_CHECKING:
    from tests.hosts.cluster import Cluster

EXPOSURE = re.compile(r"Overall exposure level for \S+: (\d+\.\d+)")
EVERY_HOST = pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)


def infra(cluster: Cluster, host: Host) -> Any:  # noqa: ANN401 (testinfra has no types)
    """Testinfra's view of a host."""
    config = cluster.machines.traces.ssh_config
    return testinfra.get_host(f"ssh://{host.name}?ssh_config={config}&controlpersist=0")


@EVERY_HOST
def test_unit_is_enabled_and_runs_as_its_own_user(cluster: Cluster, host: Host) -> None:
    """The process is kvnode's, comes back with the host, listens at its address and says its state."""
    seen = infra(cluster, host)
    service = seen.service(host.unit.removesuffix(".service"))
    assert service.is_enabled
    assert service.is_running
    process = seen.process.get(pid=cluster.main_pid(host))
    assert process.user == "kvnode"
    listening = cluster.run(host, "ss --no-header --listening --tcp --numeric")
    for port in (host.port, host.port + 1000):
        assert re.search(rf"{re.escape(host.address)}\]?:{port}\b", listening), listening
    assert cluster.run(host, f"systemctl show --property=StatusText --value {host.unit}").strip()


@EVERY_HOST
def test_files_are_readable_by_whom_they_concern(cluster: Cluster, host: Host) -> None:
    """The configuration is root's, and only kvnode may read it too; data is kvnode's alone."""
    seen = infra(cluster, host)
    name = f"worker-{host.worker}" if host.worker else "controller"
    config = seen.file(f"/etc/kvnode/{name}.toml")
    assert (config.user, config.group, config.mode) == ("root", "kvnode", 0o640)
    current = seen.file("/opt/kvnode/current")
    assert current.is_symlink
    assert current.linked_to.startswith("/opt/kvnode/releases/0.")
    if host.worker:
        data = seen.file(f"/var/lib/kvnode/{name}")
        assert (data.user, data.mode) == ("kvnode", 0o700)


@EVERY_HOST
def test_unit_is_hardened(cluster: Cluster, host: Host) -> None:
    """`systemd-analyze security` finds next to nothing to object to on a live host."""
    said = cluster.run(host, f"systemd-analyze security --no-pager {host.unit}")
    exposure = EXPOSURE.search(said)
    assert exposure is not None, said
    assert float(exposure[1]) <= 1.1, said


@EVERY_HOST
def test_every_line_in_the_journal_is_one_json_object(cluster: Cluster, host: Host) -> None:
    """All that the process wrote to standard output is JSON, with time, level, event and node."""
    lines = [json.loads(line) for line in cluster.journal(host)]
    assert lines
    node = f"worker-{host.worker}" if host.worker else "controller"
    for line in lines:
        assert {"timestamp", "level", "event", "node"} <= line.keys(), line
        assert line["node"] == node, line


def test_refused_configuration_ends_with_78_and_is_not_tried_again(cluster: Cluster) -> None:
    """An unknown key makes the unit fail once, and the journal names file and key."""
    host = WORKERS[1]
    config = f"/etc/kvnode/worker-{host.worker}.toml"
    spoil = f"cp -a {config} /root/kept && echo 'surprise = 1' | sed -i '1r /dev/stdin' {config}"
    cluster.run(host, f"{spoil} && (systemctl restart {host.unit} || true)")
    try:
        show = f"systemctl show --property=ActiveState,ExecMainStatus,NRestarts {host.unit}"
        until(lambda: "ActiveState=failed" in cluster.run(host, show), 20, "the unit to fail")
        assert "ExecMainStatus=78" in cluster.run(host, show)
        assert "NRestarts=0" in cluster.run(host, show)
        lines = [json.loads(line) for line in cluster.journal(host, "-1min")]
        (refused,) = [line for line in lines if line["event"] == "config_refused"]
        assert refused["file"] == config
        assert refused["key"].endswith("surprise")
    finally:
        cluster.run(host, f"cp -a /root/kept {config} && systemctl reset-failed {host.unit}")


def test_unusable_storage_ends_with_74_and_is_not_tried_again(cluster: Cluster) -> None:
    """A data folder that cannot be trusted makes the unit fail once, and the journal names the file."""
    host = WORKERS[2]
    identity = f"/var/lib/kvnode/worker-{host.worker}/identity.json"
    spoil = f"cp -a {identity} /root/identity && sed -i 's/.\"worker\"/X/' {identity}"
    cluster.run(host, f"systemctl stop {host.unit} && {spoil} && (systemctl start {host.unit} || true)")
    try:
        show = f"systemctl show --property=ActiveState,ExecMainStatus,NRestarts {host.unit}"
        until(lambda: "ActiveState=failed" in cluster.run(host, show), 20, "the unit to fail")
        assert "ExecMainStatus=74" in cluster.run(host, show)
        assert "NRestarts=0" in cluster.run(host, show)
        said = cluster.run(host, f"journalctl --no-pager --output=cat --unit={host.unit} --since=-1min")
        assert "identity.json" in said
    finally:
        cluster.run(host, f"cp -a /root/identity {identity} && systemctl reset-failed {host.unit}")


def test_killed_process_is_started_again(cluster: Cluster) -> None:
    """A worker that died of SIGKILL is started again, and catches up by itself."""
    host = WORKERS[2]
    before = cluster.main_pid(host)
    cluster.run(host, f"systemctl kill --signal=SIGKILL {host.unit}")
    until(lambda: cluster.main_pid(host) not in (0, before), 20, "systemd to start the worker again")
    until(lambda: cluster.ready(host), 30, "the worker to be ready")


def test_controller_that_hangs_is_replaced_by_the_watchdog(cluster: Cluster) -> None:
    """A process that no longer says that it is alive is ended and started again."""
    drop_in = "/run/systemd/system/kv-controller.service.d"
    settings = "[Service]\\nWatchdogSec=3\\n"
    cluster.run(
        CONTROLLER,
        f"mkdir -p {drop_in} && printf '{settings}' > {drop_in}/soon.conf && systemctl daemon-reload "
        f"&& systemctl restart {CONTROLLER.unit}",
    )
    try:
        before = cluster.main_pid(CONTROLLER)
        cluster.run(CONTROLLER, f"systemctl kill --signal=SIGSTOP {CONTROLLER.unit}")
        until(lambda: cluster.main_pid(CONTROLLER) not in (0, before), 30, "the watchdog to act")
    finally:
        cluster.run(CONTROLLER, f"rm -r {drop_in} && systemctl daemon-reload")
