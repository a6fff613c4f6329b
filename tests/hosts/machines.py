"""Five systemd hosts on this machine: ``python -m tests.hosts.machines up | down | status``.

``up`` boots a controller and four workers in the network namespace ``kvhosts`` and installs kvnode on
them with the playbook (``--bare`` leaves that out); ``down`` removes every trace. Needs root on Debian.
One set of hosts at a time: a second ``up`` is refused.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.hosts import access, images, namespace
from tests.hosts.machine import Machine
from tests.hosts.plan import HERE, HOSTS, NAMESPACE, RUN_DIRECTORY, Host, Traces
from tests.hosts.playbook import play
from tests.hosts.wait import until

BOOT_DEADLINE_S = 90
STATE = RUN_DIRECTORY / "state.json"
NEEDED = ("mmdebstrap", "systemd-nspawn", "ip", "nft", "ssh", "nsenter", "mkfs.ext4")


class HostsError(Exception):
    """The hosts cannot be booted as things are; the text says why and what to do."""


@dataclass(frozen=True)
class Claim:
    """Whose hosts these are. ``keep``: they outlive the process that booted them; else they end with it."""

    directory: str
    pid: int
    keep: bool

    @staticmethod
    def read() -> Claim | None:
        """The claim on the hosts that were booted last, None when there are none."""
        try:
            return Claim(**json.loads(STATE.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write(self) -> None:
        """Make this the claim."""
        STATE.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @property
    def checkout(self) -> Path:
        """The checkout whose hosts these are."""
        return Path(self.directory).parent

    def machines(self) -> Machines:
        """The claimed hosts."""
        return Machines(Traces(Path(self.directory)))

    def in_use(self) -> bool:
        """Whether somebody wants these hosts: kept ones that run, or ones whose process still lives."""
        if self.keep:
            return bool(self.machines().running())
        return self.pid != os.getpid() and Path(f"/proc/{self.pid}").exists()


class Machines:
    """The five hosts of one checkout."""

    def __init__(self, traces: Traces = HERE) -> None:
        self.traces = traces
        self.machines = {host.name: Machine(host, traces) for host in HOSTS}

    def up(self) -> None:
        """Boot all hosts and wait until each is reached by SSH and its systemd has settled."""
        self._check()
        self.sweep()
        roots = {release: images.image(release) for release in sorted({host.release for host in HOSTS})}
        RUN_DIRECTORY.mkdir(parents=True)
        Claim(str(self.traces.directory), os.getpid(), keep=False).write()
        access.write(self.traces)
        namespace.create()
        for host in HOSTS:
            self.machines[host.name].prepare(roots[host.release])
            self.machines[host.name].power_on()
        with ThreadPoolExecutor(len(HOSTS)) as pool:
            list(pool.map(self.wait_for, HOSTS))

    def wait_for(self, host: Host) -> None:
        """Return when ``host`` answers SSH and its systemd says that it is running."""

        def answers() -> bool:
            said = access.ssh(self.traces, host, "systemctl", "is-system-running")
            return said.stdout.strip() in {"running", "degraded"}

        until(answers, BOOT_DEADLINE_S, f"{host.name} to boot (see {self.traces.machine(host)}/console.log)")

    def sweep(self) -> None:
        """Remove every trace of this set: processes, mounts, cgroups, namespace, files."""
        access.disconnect(self.traces, HOSTS)
        for machine in self.machines.values():
            machine.remove()
        namespace.delete()
        shutil.rmtree(RUN_DIRECTORY, ignore_errors=True)
        shutil.rmtree(self.traces.directory, ignore_errors=True)

    def running(self) -> list[str]:
        """The names of the hosts that are switched on."""
        return [name for name, machine in self.machines.items() if machine.running()]

    def _check(self) -> None:
        missing = [tool for tool in NEEDED if not shutil.which(tool)]
        if missing:
            raise HostsError(
                f"{', '.join(missing)} missing: apt-get install mmdebstrap systemd-container "
                "iproute2 nftables openssh-client e2fsprogs"
            )
        if os.geteuid() != 0:
            raise HostsError("booting hosts needs root")
        claim = Claim.read()
        if claim and claim.in_use():
            raise HostsError(f"hosts booted from {claim.checkout} are up: `make hosts-down` ends them")
        if claim:
            claim.machines().sweep()


def booted_from() -> Traces | None:
    """Whose hosts these are: the traces of the checkout that booted them last, None when there are none."""
    try:
        return Traces(Path(json.loads(STATE.read_text(encoding="utf-8"))["directory"]))
    except (FileNotFoundError, ValueError):
        return None


def up(*, bare: bool) -> None:
    """Boot, install, and say how to reach each host."""
    machines = Machines()
    machines.up()
    Claim(str(machines.traces.directory), os.getpid(), keep=True).write()
    print(f"five hosts are up in the network namespace {NAMESPACE}", flush=True)
    if not bare:
        played = play(machines.traces, quiet=False)
        if played.failed:
            raise HostsError("the playbook failed; the hosts are left as they are for a look")
    print(access.how_to_reach(machines.traces))


def down() -> None:
    """Remove every trace of the hosts, of this checkout's and of whichever were booted last."""
    claim = Claim.read()
    if claim:
        claim.machines().sweep()
    Machines().sweep()


def status() -> None:
    """Say which hosts are switched on, and how to reach them."""
    claim = Claim.read()
    running = claim.machines().running() if claim else []
    print(f"up: {', '.join(running) or 'none'}")
    if claim and running:
        print(access.how_to_reach(claim.machines().traces))


def main() -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.hosts.machines", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    boot = commands.add_parser("up", help="boot the hosts and install kvnode on them")
    boot.add_argument("--bare", action="store_true", help="do not run the playbook")
    commands.add_parser("down", help="remove every trace of the hosts")
    commands.add_parser("status", help="say which hosts are up")
    chosen = parser.parse_args()
    try:
        if chosen.command == "up":
            up(bare=chosen.bare)
        elif chosen.command == "down":
            down()
        else:
            status()
    except (HostsError, RuntimeError, TimeoutError) as error:
        print(f"hosts: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
