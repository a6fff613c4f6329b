"""Whether all copies of everything are equal: record by record, not only by their hash trees."""

from __future__ import annotations

from kvnode.core.replica import load
from tests.simulation.cluster import SimCluster


def check_copies(cluster: SimCluster) -> None:
    """Fail where two replicas of a partition do not hold the same."""
    for partition in range(cluster.ring.partitions):
        held = {
            number: {
                key: load(cluster.workers[number].machine.ctx, partition, key)
                for key in cluster.workers[number].store.keys(partition)
            }
            for number in cluster.ring.preference_list(partition)
        }
        first, *others = held.items()
        for number, records in others:
            assert records == first[1], (
                f"partition {partition}: worker {first[0]} holds {first[1]}, worker {number} {records}"
            )
