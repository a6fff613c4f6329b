"""What can befall the hosts, and its undoing. Every fault is a context: it ends with its ``with`` block.

Faults of different kinds may overlap, and cuts of the network with one another. Requests from outside the
hosts come over the bridge itself: cuts never stop them, so that clients still reach both sides.
"""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.hosts import namespace
from tests.hosts.disk import DATA_FOLDER
from tests.hosts.plan import HOSTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.hosts.cluster import Cluster
    from tests.hosts.plan import Host

    Way = tuple[Host, Host]

CHAIN = """\
table bridge {table} {{
  chain forward {{
    type filter hook forward priority 0; policy accept;
{rules}
  }}
}}
"""
BALLAST = f"{DATA_FOLDER}/ballast"
FILL = (
    f"fallocate --length $(df --output=avail --block-size=1 {DATA_FOLDER} | tail -n 1) {BALLAST}; "
    f"dd if=/dev/zero of={BALLAST} bs=4k oflag=append conv=notrunc,fsync status=none; true"
)

_numbers = itertools.count(1)


def between(some: Iterable[Host], others: Iterable[Host]) -> list[Way]:
    """Every way from ``some`` to ``others`` and back."""
    pairs = list(itertools.product(some, others))
    return pairs + [(other, one) for one, other in pairs]


def around(host: Host) -> list[Way]:
    """Every way between a host and all others."""
    return between([host], [other for other in HOSTS if other != host])


def out_of(host: Host) -> list[Way]:
    """Every way from a host: cut, it hears all others and is heard by none."""
    return [(host, other) for other in HOSTS if other != host]


def into(host: Host) -> list[Way]:
    """Every way to a host: cut, it is heard by all others and hears none."""
    return [(other, host) for other in HOSTS if other != host]


@contextmanager
def cut(ways: Iterable[Way]) -> Iterator[None]:
    """Drop what the first host of each way sends to the second."""
    table = f"kvcut{next(_numbers)}"
    rules = "\n".join(f"    ip saddr {one.address} ip daddr {other.address} drop" for one, other in ways)
    namespace.run("nft", "-f", "-", stdin=CHAIN.format(table=table, rules=rules))
    try:
        yield
    finally:
        namespace.run("nft", "delete", "table", "bridge", table)


@contextmanager
def flapping(ways: Iterable[Way], period_s: float) -> Iterator[None]:
    """Cut and join again, each for half a period, until the end."""
    ends = threading.Event()
    ways = list(ways)

    def flap() -> None:
        while not ends.is_set():
            with cut(ways):
                ends.wait(period_s / 2)
            ends.wait(period_s / 2)

    with ThreadPoolExecutor(1) as pool:
        flapper = pool.submit(flap)
        try:
            yield
        finally:
            ends.set()
            flapper.result()


@contextmanager
def unplugged(cluster: Cluster, host: Host) -> Iterator[None]:
    """Pull the host's network cable."""
    cluster.disconnect(host)
    namespace.run("ip", "link", "set", f"vb-{host.name}", "down")
    try:
        yield
    finally:
        namespace.run("ip", "link", "set", f"vb-{host.name}", "up")


@contextmanager
def stopped(cluster: Cluster, host: Host) -> Iterator[None]:
    """Stop the host's unit in good order."""
    cluster.run(host, f"systemctl stop {host.unit}")
    try:
        yield
    finally:
        cluster.run(host, f"systemctl start {host.unit}")


@contextmanager
def killed(cluster: Cluster, host: Host) -> Iterator[None]:
    """Kill the host's process with SIGKILL. There is nothing to undo: systemd starts it again by itself."""
    cluster.run(host, f"systemctl kill --signal=SIGKILL {host.unit}")
    yield


@contextmanager
def frozen(cluster: Cluster, host: Host) -> Iterator[None]:
    """Stop the host's kvnode process in its tracks: it keeps its connections and answers nothing."""
    cluster.run(host, f"systemctl kill --signal=SIGSTOP {host.unit}")
    try:
        yield
    finally:
        cluster.run(host, f"systemctl kill --signal=SIGCONT {host.unit}")


@contextmanager
def powered_off(cluster: Cluster, host: Host) -> Iterator[None]:
    """Cut the host's power; at the end it boots again, and this returns when it is reached by SSH."""
    machine = cluster.machines.machines[host.name]
    cluster.disconnect(host)
    machine.power_off()
    try:
        yield
    finally:
        machine.power_on()
        cluster.machines.wait_for(host)


@contextmanager
def full_disk(cluster: Cluster, host: Host) -> Iterator[None]:
    """Fill the host's data disk to its last byte; at the end there is space again."""
    cluster.run(host, FILL)
    try:
        yield
    finally:
        cluster.run(host, f"rm -f {BALLAST}")


@contextmanager
def wiped(cluster: Cluster, host: Host) -> Iterator[None]:
    """Stop the host's worker and remove all its data; at the end the worker starts with nothing."""
    with stopped(cluster, host):
        cluster.run(host, f"rm -r {DATA_FOLDER}/worker-{host.worker}")
        yield
