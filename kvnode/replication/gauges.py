"""What the protocol's state machines count, copied into the metrics' registry now and then."""

from __future__ import annotations

from kvnode import metrics
from kvnode.core.worker import WorkerMachine
from kvnode.storage.store import Store


class Gauges:
    """One worker's figures: the machine itself knows nothing of metrics."""

    def __init__(self, machine: WorkerMachine, store: Store) -> None:
        self._machine = machine
        self._store = store
        self._leader_changes = 0
        self._forgotten = 0
        self._dropped = {peer.worker: 0 for peer in machine.peers}

    def update(self) -> None:
        """Copy the machine's and the store's figures into the registry."""
        leaders = self._machine.leaders
        metrics.PARTITIONS_LED.set(len(leaders.led))
        metrics.PARTITIONS_HELD.set(len(leaders.held))
        metrics.PARTITIONS_BEHIND.set(leaders.behind)
        metrics.LEADER_CHANGES.inc(leaders.changes - self._leader_changes)
        self._leader_changes = leaders.changes
        metrics.TOMBSTONES_FORGOTTEN.inc(self._machine.ctx.forgotten - self._forgotten)
        self._forgotten = self._machine.ctx.forgotten
        keys, tombstones = self._store.counts
        metrics.KEYS.set(keys)
        metrics.TOMBSTONES.set(tombstones)
        metrics.DISK_USED_BYTES.set(self._store.disk_bytes)
        for peer in self._machine.peers:
            self._update_peer(peer.worker, live=peer.live)

    def _update_peer(self, worker: int, *, live: bool) -> None:
        """Copy what is known of one peer."""
        name = str(worker)
        copies = self._machine.copies
        waiting, _, oldest_ms = copies.waiting(worker)
        metrics.PEER_LIVE.labels(name).set(int(live))
        metrics.LATENT_COPIES.labels(name).set(waiting)
        metrics.LATENT_OLDEST_AGE_SECONDS.labels(name).set(oldest_ms / 1000)
        metrics.LATENT_DROPPED.labels(name).inc(copies.dropped[worker] - self._dropped[worker])
        self._dropped[worker] = copies.dropped[worker]
