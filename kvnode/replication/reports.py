"""What a worker reports to the controller: its status, its log lines and what came to its disk."""

from __future__ import annotations

from collections import deque
from time import monotonic

from kvnode.core.records import Record
from kvnode.core.status import (
    PARTITIONS_NAMED,
    KeyEvent,
    KeyPage,
    PeerStatus,
    Report,
    StoredKey,
    WorkerStatus,
)
from kvnode.core.versions import Version
from kvnode.core.worker import WorkerMachine
from kvnode.logs import LogBuffer
from kvnode.storage.store import Store

EVENTS_KEPT = 10_000
EVENTS_A_REPORT = 500
LINES_A_REPORT = 500
PREVIEW_BYTES = 4096


class Reporter:
    """Gathers reports. The buffers are bounded, and drop and count what does not fit."""

    def __init__(
        self, machine: WorkerMachine, store: Store, logs: LogBuffer, *, process: str, release: str
    ) -> None:
        self._machine = machine
        self._store = store
        self._logs = logs
        self._process = process
        self._release = release
        self._started_s = monotonic()
        self._events: deque[tuple[str, int, Version, bool]] = deque(maxlen=EVENTS_KEPT)
        self._events_dropped = 0

    def appended(self, record: Record) -> None:
        """Note a record that became part of this worker's index."""
        if len(self._events) == EVENTS_KEPT:
            self._events_dropped += 1
        self._events.append((record.key, record.partition, record.version, record.value is None))

    def status(self) -> WorkerStatus:
        """Return the worker's state as of now."""
        machine, identity = self._machine, self._store.identity
        keys, tombstones = self._store.counts
        return WorkerStatus(
            worker=machine.ctx.worker,
            state=machine.state,
            reasons=machine.not_ready(),
            release=self._release,
            cluster_id=identity.cluster_id,
            incarnation=identity.incarnation,
            process=self._process,
            uptime_s=round(monotonic() - self._started_s, 3),
            keys=keys,
            tombstones=tombstones,
            disk_bytes=self._store.disk_bytes,
            held=len(machine.leaders.held),
            led=sorted(machine.leaders.led),
            behind=machine.leaders.behind,
            rebuilding=machine.rebuild.remaining,
            tombstones_forgotten=machine.ctx.forgotten,
            peers=[self._peer(peer.worker, live=peer.live) for peer in machine.peers],
        )

    def _peer(self, worker: int, *, live: bool) -> PeerStatus:
        copies, size, oldest_ms = self._machine.copies.waiting(worker)
        progress = self._machine.anti_entropy.progress(worker)
        return PeerStatus(
            worker=worker,
            live=live,
            latent_copies=copies,
            latent_bytes=size,
            latent_oldest_ms=oldest_ms,
            comparing=progress.comparing,
            behind=len(progress.behind_in),
            repaired=progress.repaired,
            behind_in=progress.behind_in[:PARTITIONS_NAMED],
            differing=progress.differing,
        )

    def report(self, number: int) -> Report:
        """Return the next report; what it carries is not reported again."""
        events = self._events
        count = min(len(events), EVENTS_A_REPORT)
        return Report(
            number=number,
            status=self.status(),
            log_lines=self._logs.drain(LINES_A_REPORT),
            logs_dropped=self._logs.dropped,
            key_events=[KeyEvent(*events.popleft()) for _ in range(count)],
            events_dropped=self._events_dropped,
        )

    def stored_keys(self, prefix: str, after: str, limit: int) -> KeyPage:
        """Return keys of this worker's disk in order, with values up to ``PREVIEW_BYTES``."""
        found = self._store.scan(prefix, after, limit + 1)
        keys = []
        for partition, key, entry in found[:limit]:
            value = self._store.value(partition, key, entry)
            preview = value if len(value) <= PREVIEW_BYTES else None
            keys.append(StoredKey(key, partition, entry.version, len(value), preview))
        return KeyPage(keys, keys[-1].key if len(found) > limit else "")
