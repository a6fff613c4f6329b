"""The five hosts, booted once a run and removed at its end.

``hosts`` boots them, ``rehearsed`` runs the playbook's check mode on the empty hosts, ``installed`` runs
the playbook for the first time; each keeps what it saw, so that tests in any order can judge it. ``cluster``
is what most tests take: whole when a test begins, whatever the one before has broken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.hosts.cluster import Cluster
from tests.hosts.machines import Machines
from tests.hosts.plan import HOSTS

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.hosts.plan import Host
    from tests.hosts.playbook import Play

PLACES = "/opt/kvnode /etc/kvnode /var/lib/kvnode/* /etc/systemd/system/kv-*"
FOOTPRINT = f"ls -d {PLACES} 2>/dev/null; id kvnode 2>/dev/null; true"


@dataclass(frozen=True)
class Rehearsal:
    """A check-mode run on empty hosts, and what of kvnode was found on each host after it."""

    play: Play
    footprints: dict[str, str]


@dataclass(frozen=True)
class Installation:
    """The first run of the playbook."""

    cluster: Cluster
    play: Play


@pytest.fixture(scope="session")
def hosts() -> Iterator[Cluster]:
    """Boot the hosts; they know nothing of kvnode."""
    machines = Machines()
    machines.up()
    cluster = Cluster(machines)
    yield cluster
    cluster.close()
    machines.sweep()


@pytest.fixture(scope="session")
def rehearsed(hosts: Cluster) -> Rehearsal:
    """Run the playbook's check mode before anything is installed."""
    played = hosts.play("--check", "--diff")
    return Rehearsal(played, {host.name: hosts.run(host, FOOTPRINT) for host in HOSTS})


@pytest.fixture(scope="session")
def installed(hosts: Cluster, rehearsed: Rehearsal) -> Installation:
    """Run the playbook for the first time."""
    del rehearsed  # only to come after it
    return Installation(hosts, hosts.play())


@pytest.fixture
def cluster(installed: Installation) -> Cluster:
    """Give a whole cluster."""
    assert not installed.play.failed, installed.play.output[-8000:]
    installed.cluster.mend()
    return installed.cluster


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the hosts' journals to the report of a test that failed."""
    report = yield
    cluster = getattr(item, "funcargs", {}).get("cluster")
    if call.when == "call" and call.excinfo is not None and isinstance(cluster, Cluster):
        for host in HOSTS:
            report.sections.append((f"journal of {host.name}", _journal(cluster, host)))
    return report


def _journal(cluster: Cluster, host: Host) -> str:
    try:
        return cluster.run(host, f"journalctl --no-pager --lines=25 --unit={host.unit}")
    except (AssertionError, OSError) as error:
        return str(error)
