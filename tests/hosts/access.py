"""How the hosts are reached: the SSH key, ssh's configuration and Ansible's inventory under ``.hosts``."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.hosts.namespace import ENTER
from tests.hosts.plan import CONTROLLER, HOSTS, NAMESPACE_FILE, RUN_DIRECTORY, WORKERS, Host, Traces

if TYPE_CHECKING:
    from collections.abc import Sequence

SSH_CONFIG = """\
Host {names}
  User root
  IdentityFile "{key}"
  IdentitiesOnly yes
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
  ConnectTimeout 10
  ServerAliveInterval 5
  ServerAliveCountMax 2
  ControlMaster auto
  ControlPersist 60
  ControlPath {sockets}/%n
  ProxyUseFdpass yes
  ProxyCommand {proxy}
"""

INVENTORY = """\
---
# The five systemd hosts of `make hosts`. They are reached through their network namespace.
all:
  vars:
    ansible_user: root
    ansible_python_interpreter: /usr/bin/python3
    ansible_ssh_common_args: -F "{ssh_config}"
    ansible_control_path_dir: {sockets}
    kvnode_release_isolated: false
    kvnode_allowed_networks: [10.77.0.0/24]
  children:
    kvnode_controller:
      hosts:
{controllers}
    kvnode_workers:
      hosts:
{workers}
"""


def write(traces: Traces) -> None:
    """Make the key pair, ssh's configuration and the inventory."""
    traces.directory.mkdir(parents=True, exist_ok=True)
    keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "kvhosts", "-f", str(traces.key)]
    subprocess.run(keygen, check=True)
    traces.ssh_config.write_text(_ssh_config(traces), encoding="utf-8")
    traces.inventory.write_text(_inventory(traces), encoding="utf-8")


def ssh(traces: Traces, host: Host, *command: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a command on a host as root; whatever its exit, it is in the answer (255: not reached)."""
    line = ["ssh", "-F", str(traces.ssh_config), host.name, *command]
    return subprocess.run(
        line, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=timeout_s
    )


def disconnect(traces: Traces, hosts: Sequence[Host]) -> None:
    """End the shared SSH connections to ``hosts``."""
    for host in hosts:
        if (RUN_DIRECTORY / host.name).exists():
            command = ["ssh", "-F", str(traces.ssh_config), "-O", "exit", host.name]
            subprocess.run(command, capture_output=True, check=False)


def how_to_reach(traces: Traces) -> str:
    """Words for the person who ran ``make hosts``."""
    config = _short(traces.ssh_config)
    curl = shlex.join([*ENTER, "curl", "-s"])
    lines = [f"{'host':<12}{'address':<13}{'release':<10}{'REST':<24}unit"]
    lines += [
        f"{h.name:<12}{h.address:<13}{h.release:<10}{f'http://{h.address}:{h.port}':<24}{h.unit}"
        for h in HOSTS
    ]
    lines += [
        "",
        f"a shell:        ssh -F {config} worker1",
        f"a request:      {curl} http://{WORKERS[0].address}:{WORKERS[0].port}/readyz",
        f"the dashboard:  ssh -F {config} -S none -N -L 5000:{CONTROLLER.address}:5000 controller",
        "                and a browser at http://127.0.0.1:5000/",
        f"the playbook:   ansible-playbook -i {_short(traces.inventory)} ansible/site.yml",
        "the end:        make hosts-down",
    ]
    return "\n".join(lines)


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _ssh_config(traces: Traces) -> str:
    connect = Path(__file__).with_name("connect.py")
    proxy = shlex.join(["nsenter", f"--net={NAMESPACE_FILE}", sys.executable, "-IS", str(connect)])
    addresses = "".join(f"\nHost {h.name}\n  HostName {h.address}\n" for h in HOSTS)
    names = " ".join(name for h in HOSTS for name in (h.name, h.address))
    shared = SSH_CONFIG.format(names=names, key=traces.key, sockets=RUN_DIRECTORY, proxy=f"{proxy} %h %p")
    return shared + addresses


def _inventory(traces: Traces) -> str:
    return INVENTORY.format(
        ssh_config=traces.ssh_config,
        sockets=RUN_DIRECTORY,
        controllers=_entry(CONTROLLER),
        workers="\n".join(_entry(host) for host in WORKERS),
    )


def _entry(host: Host) -> str:
    lines = [f"        {host.name}:", f"          ansible_host: {host.address}"]
    if host.worker:
        lines.append(f"          kvnode_workers: [{{id: {host.worker}}}]")
    return "\n".join(lines)
