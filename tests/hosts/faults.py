"""What can befall the hosts, and its undoing. Every fault is a context: it ends with its ``with`` block."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.hosts import namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hosts.cluster import Cluster
    from tests.hosts.plan import Host

TABLE = "kvcut"
CHAIN = """\
table bridge {table} {{
  chain forward {{
    type filter hook forward priority 0; policy accept;
{rules}
  }}
}}
"""


@contextmanager
def cut(*pairs: tuple[Host, Host]) -> Iterator[None]:
    """Drop what the first host of each pair sends to the second. Name both orders for a cut both ways."""
    rules = "\n".join(f"    ip saddr {one.address} ip daddr {other.address} drop" for one, other in pairs)
    namespace.run("nft", "-f", "-", stdin=CHAIN.format(table=TABLE, rules=rules))
    try:
        yield
    finally:
        namespace.run("nft", "delete", "table", "bridge", TABLE)


@contextmanager
def unplugged(host: Host) -> Iterator[None]:
    """Pull the host's network cable."""
    namespace.run("ip", "link", "set", f"vb-{host.name}", "down")
    try:
        yield
    finally:
        namespace.run("ip", "link", "set", f"vb-{host.name}", "up")


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
