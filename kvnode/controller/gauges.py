"""What ``/metrics`` tells of the cluster: the view at the moment of the scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kvnode.controller.status import ClusterStatus, WorkerView


class ClusterCollector(Collector):
    """Turns the view into metric families whenever the registry is rendered."""

    def __init__(self, status: Callable[[], ClusterStatus]) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        """Yield every family."""
        status = self._status()
        healthy = status.health == "healthy"
        yield _gauge(
            "kvnode_cluster_healthy", "1 when all workers are ready and all partitions led.", healthy
        )
        counts = status.partitions
        yield _gauge("kvnode_cluster_partitions_led", "Partitions with a live leader", counts.led)
        yield _gauge("kvnode_cluster_partitions_leaderless", "Partitions without one", counts.leaderless)
        yield _gauge(
            "kvnode_cluster_partitions_without_quorum", "Partitions that cannot write", counts.without_quorum
        )
        dropped = CounterMetricFamily(
            "kvnode_cluster_log_lines_dropped", "Log lines that nodes could not ship."
        )
        dropped.add_metric([], status.logs.dropped)
        yield dropped
        yield from _by_worker(status.workers)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=float(value))


def _by_worker(workers: list[WorkerView]) -> Iterator[GaugeMetricFamily]:
    online = GaugeMetricFamily("kvnode_cluster_worker_online", "1 while a worker reports", labels=["worker"])
    copies = GaugeMetricFamily(
        "kvnode_cluster_worker_latent_copies", "Copies that others still hold for a worker", labels=["worker"]
    )
    oldest = GaugeMetricFamily(
        "kvnode_cluster_worker_latent_oldest_seconds", "Age of the oldest of them", labels=["worker"]
    )
    for worker in workers:
        label = [str(worker.id)]
        online.add_metric(label, float(worker.online))
        copies.add_metric(label, worker.latent_copies)
        oldest.add_metric(label, worker.latent_oldest_ms / 1000)
    yield from (online, copies, oldest)
