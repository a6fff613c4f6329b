"""The cluster on the five hosts, as the tests see it: commands, requests, playbook runs, health."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.hosts import access
from tests.hosts.client import Client
from tests.hosts.plan import CONTROLLER, HOSTS, WORKERS
from tests.hosts.playbook import Play, play
from tests.hosts.wait import until

if TYPE_CHECKING:
    from tests.hosts.machines import Machines
    from tests.hosts.plan import Host

HEALTH_DEADLINE_S = 60


class Cluster:
    """Five booted hosts. ``settings`` are the variables that every playbook run is given."""

    def __init__(self, machines: Machines) -> None:
        self.machines = machines
        self.client = Client()
        self.settings: dict[str, object] = {}

    def close(self) -> None:
        """Let the hosts' connections go."""
        self.client.close()
        self.disconnect(*HOSTS)

    def disconnect(self, *hosts: Host) -> None:
        """End the shared SSH connections, before a host goes away under them."""
        access.disconnect(self.machines.traces, hosts)

    def run(self, host: Host, command: str, *, timeout_s: float = 60) -> str:
        """Run a shell command on a host; its standard output. AssertionError when it fails."""
        done = access.ssh(self.machines.traces, host, command, timeout_s=timeout_s)
        assert done.returncode == 0, f"{host.name}: {command}: {done.stdout}{done.stderr}"
        return done.stdout

    def play(self, *options: str, **settings: object) -> Play:
        """Run the playbook with the cluster's settings, some of them changed for this run."""
        return play(self.machines.traces, "--extra-vars", json.dumps(self.settings | settings), *options)

    def status(self) -> dict[str, Any]:
        """The controller's view of the cluster; empty when it does not answer."""
        answer = self.client.get(CONTROLLER, "/status")
        return answer.body if answer.status == 200 else {}

    def worker_status(self, host: Host) -> dict[str, Any]:
        """One worker in the controller's view; empty when the controller does not answer."""
        workers = self.status().get("workers", [])
        return next((worker for worker in workers if worker["id"] == host.worker), {})

    def online(self, host: Host) -> bool | None:
        """Whether the controller sees a worker; None when the controller does not answer."""
        return self.worker_status(host).get("online")

    def ready(self, host: Host) -> bool:
        """Whether the process on ``host`` says that it is ready."""
        return self.client.get(host, "/readyz").status == 200

    def whole(self) -> bool:
        """Whether every process is ready and the controller sees a healthy cluster."""
        return all(self.ready(host) for host in HOSTS) and self.status().get("health") == "healthy"

    def mend(self) -> None:
        """Start what is stopped and wait until the cluster is whole."""
        for host in HOSTS:
            if not self.ready(host):
                self.run(host, f"systemctl start {host.unit}")
        until(self.whole, HEALTH_DEADLINE_S, "the cluster to be whole")

    def journal(self, host: Host, since: str = "-1h") -> list[str]:
        """The lines that the host's process wrote to its standard output."""
        entries = self.run(
            host, f"journalctl --unit={host.unit} --since={since} --output=json _TRANSPORT=stdout"
        )
        return [str(json.loads(entry)["MESSAGE"]) for entry in entries.splitlines()]

    def main_pid(self, host: Host) -> int:
        """The process id of the host's kvnode process, 0 when it does not run."""
        return int(self.run(host, f"systemctl show --property=MainPID --value {host.unit}"))

    def pids(self) -> dict[str, int]:
        """The process ids of all kvnode processes."""
        return {host.name: self.main_pid(host) for host in HOSTS}


def others(host: Host) -> tuple[Host, ...]:
    """All workers' hosts but one."""
    return tuple(worker for worker in WORKERS if worker != host)
