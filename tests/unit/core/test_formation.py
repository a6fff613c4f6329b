"""How a fresh cluster comes to be, and which disks it lets in."""

from __future__ import annotations

from kvnode.core.operations import Status
from tests.simulation.cluster import SimCluster, formed


def cluster_ids(cluster: SimCluster) -> set[str]:
    """Return the cluster ids on all disks."""
    return {worker.store.identity.cluster_id for worker in cluster.workers.values()}


def test_forms_when_all_are_up_and_blank() -> None:
    """Four blank workers that see each other become one cluster with full votes."""
    cluster = SimCluster()
    cluster.until(cluster.ready)
    assert len(cluster_ids(cluster)) == 1
    assert "" not in cluster_ids(cluster)
    assert cluster.noted("partition_rebuilt") == []


def test_does_not_form_without_all() -> None:
    """While one worker is missing nothing forms, and every operation is refused for certain."""
    cluster = SimCluster()
    cluster.crash(4)
    cluster.run(3000)
    assert {cluster.workers[number].store.identity.cluster_id for number in (1, 2, 3)} == {""}
    assert cluster.put(1, "a", b"1").status is Status.NOT_STORED
    assert cluster.get(2, "a").status is Status.UNAVAILABLE
    cluster.start(4)
    cluster.until(cluster.ready)


def test_heals_when_a_worker_crashes_while_forming() -> None:
    """Whoever crashes at whatever moment of forming, one cluster with full votes comes out of it."""
    for victim in (1, 3):
        for moment_ms in range(40, 130, 6):
            cluster = SimCluster(seed=5)
            cluster.run(moment_ms)
            cluster.restart(victim)
            cluster.until(cluster.healthy)
            assert len(cluster_ids(cluster)) == 1
            assert cluster.noted("partition_rebuilt") == []


def test_refuses_a_disk_of_another_cluster() -> None:
    """A disk that belongs to another cluster is not let in, and the others go on without it."""
    cluster, other = formed(1), formed(2)
    cluster.crash(4)
    other.crash(4)
    cluster.workers[4].insert(other.workers[4].remove_disk())
    cluster.start(4)
    cluster.run(1000)
    assert "belongs to cluster" in cluster.network.refusals[4, 1]
    assert cluster.put(1, "a", b"1").status is Status.OK
    assert not cluster.ready([4])


def test_a_wiped_founder_does_not_found_again() -> None:
    """The worker that formed the cluster joins it like any other after its disk was wiped."""
    cluster = formed()
    before = cluster_ids(cluster)
    cluster.crash(1)
    cluster.wipe(1)
    cluster.start(1)
    cluster.until(cluster.ready)
    assert cluster_ids(cluster) == before
