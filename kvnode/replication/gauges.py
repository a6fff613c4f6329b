"""The gauges of a worker, set when somebody looks."""

from __future__ import annotations

from kvnode import metrics
from kvnode.core.worker import WorkerMachine
from kvnode.storage.store import Store


def set_gauges(machine: WorkerMachine, store: Store) -> None:
    """Copy the machine's and the store's figures into the registry."""
    leaders = machine.leaders
    metrics.PARTITIONS_LED.set(len(leaders.led))
    metrics.PARTITIONS_HELD.set(len(leaders.held))
    metrics.PARTITIONS_BEHIND.set(leaders.behind)
    keys, tombstones = store.counts
    metrics.KEYS.set(keys)
    metrics.TOMBSTONES.set(tombstones)
    metrics.DISK_USED_BYTES.set(store.disk_bytes)
    for peer in machine.peers:
        name = str(peer.worker)
        copies, _, oldest_ms = machine.copies.waiting(peer.worker)
        metrics.PEER_LIVE.labels(name).set(int(peer.live))
        metrics.LATENT_COPIES.labels(name).set(copies)
        metrics.LATENT_OLDEST_AGE_SECONDS.labels(name).set(oldest_ms / 1000)
