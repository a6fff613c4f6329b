"""What the controller knows of the cluster, and since when. Pure: reports and clock readings in, values out.

It is a view and never part of a decision: workers find each other, elect and store without it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec

from kvnode.config import ClusterConfig, WorkerEntry
from kvnode.controller.status import (
    AntiEntropyView,
    ClusterInfo,
    ClusterStatus,
    Health,
    LogCounts,
    PartitionCounts,
    PeerView,
    RingView,
    WorkerView,
)
from kvnode.core.messages import Hello
from kvnode.core.ring import Place, Ring
from kvnode.core.status import PARTITIONS_NAMED, PeerStatus, Report, WorkerStatus
from kvnode.errors import MismatchError

SILENCE_S: Final = 2.0
"""A worker that has not reported for this long is offline."""

NEVER_SEEN: Final = "has not reported since the controller started"
VOTELESS: Final = frozenset({"forming", "rebuilding"})


class _Seen(msgspec.Struct):
    """What was last heard of one worker. Times are in seconds of the caller's clock."""

    online: bool = False
    reason: str = NEVER_SEEN
    at: float | None = None
    hello: Hello | None = None
    status: WorkerStatus | None = None
    logs_dropped: int = 0


class ClusterView:
    """The live view. ``revision`` grows with every change of what ``status`` would say."""

    def __init__(self, cluster: ClusterConfig, ring: Ring, *, release: str) -> None:
        self._cluster = cluster
        self._layout = cluster.layout_digest()
        self._ring = ring
        self._release = release
        self._entries: dict[int, WorkerEntry] = {entry.id: entry for entry in cluster.workers}
        self._seen = {worker: _Seen() for worker in self._entries}
        self._ring_view = RingView([ring.preference_list(p) for p in range(cluster.partitions)])
        self.revision = 0

    def check(self, hello: Hello) -> None:
        """Refuse, with MismatchError, a worker that is not of this cluster's layout."""
        if hello.worker not in self._entries:
            message = f"worker {hello.worker} is not in this cluster's configuration"
            raise MismatchError(message)
        if hello.layout != self._layout:
            message = (
                f"worker {hello.worker} places data by another layout ({hello.layout}) than the controller"
                f" ({self._layout}): their [cluster] sections differ"
            )
            raise MismatchError(message)

    def report(self, hello: Hello, report: Report, now: float) -> bool:
        """Take in a report; return whether its worker came online by it. A stranger's is refused."""
        self.check(hello)
        seen = self._seen[hello.worker]
        came = not seen.online
        self._seen[hello.worker] = _Seen(
            online=True,
            reason="",
            at=now,
            hello=hello,
            status=report.status,
            logs_dropped=report.logs_dropped,
        )
        self.revision += 1
        return came

    def gone(self, worker: int, reason: str) -> bool:
        """Note that a worker's stream broke; return whether it was online until now."""
        seen = self._seen.get(worker)
        if seen is None or not seen.online:
            return False
        seen.online = False
        seen.reason = reason
        self.revision += 1
        return True

    def tick(self, now: float) -> list[int]:
        """Return the workers that are offline from now on because they fell silent."""
        silent = [
            worker
            for worker, seen in self._seen.items()
            if seen.online and seen.at is not None and now - seen.at > SILENCE_S
        ]
        for worker in silent:
            self.gone(worker, f"no report for {SILENCE_S:g} s")
        return silent

    @property
    def workers(self) -> Collection[int]:
        """The numbers of all workers of the cluster."""
        return self._entries.keys()

    @property
    def workers_online(self) -> int:
        """How many workers report now."""
        return sum(seen.online for seen in self._seen.values())

    def by_usefulness(self) -> list[list[int]]:
        """Return the workers in three groups: ready ones, others that are online, and the rest."""
        groups: list[list[int]] = [[], [], []]
        for worker, seen in self._seen.items():
            ready = seen.status is not None and seen.status.state == "ready"
            groups[2 if not seen.online else 0 if ready else 1].append(worker)
        return groups

    def rest_address(self, worker: int) -> str:
        """Return ``http://host:port`` of a worker; KeyError for a stranger."""
        return f"http://{self._entries[worker].rest}"

    def place(self, key: str) -> Place:
        """Return where a key lives and who leads its partition, as far as is known."""
        partition = self._ring.partition(key)
        return Place(partition, self._ring.preference_list(partition), self._leaders().get(partition, 0))

    def readiness(self) -> list[str]:
        """Return why the controller cannot vouch for the cluster: fewer than a majority of workers report."""
        needed = len(self._seen) // 2 + 1
        if self.workers_online >= needed:
            return []
        return [f"{self.workers_online} of {len(self._seen)} workers are online, {needed} are needed"]

    def status(self, now: float, *, log_lines: int, own_dropped: int = 0, ring: bool = True) -> ClusterStatus:
        """Return the whole view. ``own_dropped``: log lines that the controller itself could not keep."""
        counts = self._partition_counts()
        dropped = own_dropped + sum(seen.logs_dropped for seen in self._seen.values())
        return ClusterStatus(
            cluster=self._info(),
            health=self._health(counts),
            partitions=counts,
            workers=self._workers(now),
            logs=LogCounts(log_lines, dropped),
            ring=self._ring_view if ring else msgspec.UNSET,
        )

    def _info(self) -> ClusterInfo:
        hellos = [seen.hello for seen in self._seen.values() if seen.hello is not None]
        ids = [seen.status.cluster_id for seen in self._seen.values() if seen.status]
        return ClusterInfo(
            name=self._cluster.name,
            id=next(filter(None, ids), ""),
            partitions=self._cluster.partitions,
            replicas=self._cluster.replicas,
            write_quorum=self._cluster.replicas // 2 + 1,
            epoch=max((hello.epoch for hello in hellos), default=1),
            layout=self._layout,
            release=self._release,
        )

    def _leaders(self) -> dict[int, int]:
        """Return the live leader of each partition; of two that claim one, whoever reported last."""
        live = [(seen.at or 0.0, seen.status) for seen in self._seen.values() if seen.online and seen.status]
        live.sort(key=lambda pair: pair[0])
        return {partition: status.worker for _, status in live for partition in status.led}

    def _partition_counts(self) -> PartitionCounts:
        voters = {worker for worker, seen in self._seen.items() if seen.online and _votes(seen)}
        quorum = self._cluster.replicas // 2 + 1
        lists = self._ring_view.preference_lists
        led = len(self._leaders())
        short = sum(len(voters.intersection(replicas)) < quorum for replicas in lists)
        return PartitionCounts(led=led, leaderless=len(lists) - led, without_quorum=short)

    def _health(self, counts: PartitionCounts) -> Health:
        if counts.without_quorum:
            return "unavailable"
        ready, *_ = self.by_usefulness()
        if counts.leaderless or len(ready) < len(self._seen):
            return "degraded"
        return "healthy"

    def _workers(self, now: float) -> list[WorkerView]:
        """Return each worker, with what each other live one says it still holds for it."""
        owed: dict[int, list[PeerStatus]] = {worker: [] for worker in sorted(self._seen)}
        for seen in self._seen.values():
            if seen.online and seen.status is not None:
                for peer in seen.status.peers:
                    if peer.worker in owed:
                        owed[peer.worker].append(peer)
        return [self._worker(worker, peers, now) for worker, peers in owed.items()]

    def _worker(self, worker: int, owed: list[PeerStatus], now: float) -> WorkerView:
        entry, seen = self._entries[worker], self._seen[worker]
        status = seen.status
        return WorkerView(
            id=worker,
            online=seen.online,
            state=status.state if status and seen.online else "offline",
            reasons=status.reasons if status and seen.online else [seen.reason],
            rest_address=self.rest_address(worker),
            grpc_address=entry.grpc,
            host=entry.host,
            zone=entry.zone,
            weight=entry.weight,
            release=status.release if status else "",
            incarnation=status.incarnation if status else "",
            uptime_s=status.uptime_s if status and seen.online else 0.0,
            keys=status.keys if status else 0,
            tombstones=status.tombstones if status else 0,
            disk_bytes=status.disk_bytes if status else 0,
            partitions_led=len(status.led) if status and seen.online else 0,
            partitions_held=len(self._ring.held_by(worker)),
            partitions_primary=len(self._ring.primaries_of(worker)),
            behind=status.behind if status else 0,
            rebuilding=status.rebuilding if status else 0,
            anti_entropy=_compared(owed),
            latent_copies=sum(peer.latent_copies for peer in owed),
            latent_bytes=sum(peer.latent_bytes for peer in owed),
            latent_oldest_ms=max((peer.latent_oldest_ms for peer in owed), default=0),
            last_seen_ms=None if seen.at is None else max(0, round((now - seen.at) * 1000)),
            peers=_peers(status) if status and seen.online else {},
        )


def _votes(seen: _Seen) -> bool:
    return seen.status is not None and seen.status.state not in VOTELESS


def _compared(told: list[PeerStatus]) -> AntiEntropyView:
    """Add up what leaders tell of one follower."""
    return AntiEntropyView(
        comparing=sum(peer.comparing for peer in told),
        behind=sum(peer.behind for peer in told),
        behind_in=sorted(partition for peer in told for partition in peer.behind_in)[:PARTITIONS_NAMED],
        differing=sum(peer.differing for peer in told),
        repaired=sum(peer.repaired for peer in told),
    )


def _peers(status: WorkerStatus) -> dict[str, PeerView]:
    return {str(peer.worker): PeerView(peer.live, peer.latent_copies) for peer in status.peers}
