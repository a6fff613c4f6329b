"""What the five test hosts are: names, addresses, releases and where their traces lie.

Values only. Everything that boots, reaches or breaks a host reads it from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
NAMESPACE = "kvhosts"
NAMESPACE_FILE = Path("/run/netns") / NAMESPACE
BRIDGE = "kvbr0"
BRIDGE_ADDRESS = "10.77.0.1/24"
RUN_DIRECTORY = Path("/run") / NAMESPACE
CACHE_DIRECTORY = Path.home() / ".cache" / "kvnode"


@dataclass(frozen=True)
class Host:
    """One machine: ``release`` is Debian's code name, ``worker`` its worker's number (0: the controller).

    ``small_disk``: its data lies on a disk of its own, small enough to be filled.
    """

    name: str
    address: str
    release: str
    worker: int
    small_disk: bool = False

    @property
    def port(self) -> int:
        """The REST port of the process that lives on it."""
        return 5000 + self.worker

    @property
    def unit(self) -> str:
        """The systemd unit of the process that lives on it."""
        return f"kv-worker@{self.worker}.service" if self.worker else "kv-controller.service"


HOSTS = (
    Host("controller", "10.77.0.10", "bookworm", 0),
    Host("worker1", "10.77.0.11", "bookworm", 1),
    Host("worker2", "10.77.0.12", "bookworm", 2),
    Host("worker3", "10.77.0.13", "trixie", 3),
    Host("worker4", "10.77.0.14", "trixie", 4, small_disk=True),
)
BUILDS = {"bookworm": ((3, 11), (2, 36)), "trixie": ((3, 13), (2, 41))}
"""The Python and the C library of each Debian release: what decides whether code compiled here runs there."""
CONTROLLER = HOSTS[0]
WORKERS = HOSTS[1:]
SMALL_DISK = WORKERS[3]


@dataclass(frozen=True)
class Traces:
    """Where a running set of hosts leaves its files: ``.hosts`` of the checkout that booted them."""

    directory: Path

    @property
    def key(self) -> Path:
        """The SSH private key that every host accepts for root."""
        return self.directory / "id"

    @property
    def inventory(self) -> Path:
        """Ansible's inventory of the hosts."""
        return self.directory / "inventory.yml"

    @property
    def ssh_config(self) -> Path:
        """What ``ssh -F`` needs to reach a host by its name, from inside or outside the namespace."""
        return self.directory / "ssh_config"

    def machine(self, host: Host) -> Path:
        """The folder of one host: its overlay, its root and its console."""
        return self.directory / "machines" / host.name


HERE = Traces(CHECKOUT / ".hosts")
