"""Records on their way to the other replicas: the second copy that an answer waits for, and the latent third.

A lane per peer holds them in order until they are durable there, across broken links, up to a
bound. Past it a copy is dropped and its partition is left to anti-entropy: a full queue or a dead
replica never fails or slows a write that has its quorum.

A message costs far more than a record in it. So as many copies as the quorum wants leave at once, for
peers that are free or are sent something anyway; the latent ones ride on the next message to their
peer, or leave together within ``LATENT_MS``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from kvnode.core.context import Context
from kvnode.core.lane import Lane
from kvnode.core.messages import AcceptBatch, AcceptItem, AcceptReply, Refusal

RECORD_OVERHEAD_BYTES = 120
LATENT_MS = 50
LATENT_RECORDS = 64


class CopyWatcher(Protocol):
    """Who counts copies."""

    def copied(self, worker: int, item: AcceptItem) -> None:
        """A record is durable on ``worker``."""

    def copy_refused(self, worker: int, item: AcceptItem, refusal: Refusal) -> None:
        """``worker`` did not take a record."""

    def copy_dropped(self, worker: int, item: AcceptItem) -> None:
        """A record did not fit the queue and will not be sent."""


class Copies:
    """The lanes to all peers."""

    def __init__(self, ctx: Context, peers: list[int]) -> None:
        self._ctx = ctx
        self._linked: set[int] = set()
        self._wanted: set[int] = set()
        bounds = ctx.bounds
        self._lanes = {peer: Lane[AcceptItem](bounds.batch_items, bounds.batch_bytes) for peer in peers}
        self._untold: dict[int, list[tuple[AcceptReply, list[AcceptItem]]]] = {peer: [] for peer in peers}
        self.dropped = dict.fromkeys(peers, 0)
        self.watcher: CopyWatcher | None = None

    def spread(self, workers: Sequence[int], item: AcceptItem, needed: int) -> None:
        """Queue a record for some peers; ``needed`` of them are sent it at once."""
        size = _size_of(item)
        for worker in workers:
            self._queue(worker, item, size)
        self._wanted.update(sorted(workers, key=self._trouble)[:needed])

    def offer(self, worker: int, item: AcceptItem) -> None:
        """Queue a record for a peer, to be sent at once, or drop it if the queue is full."""
        self._queue(worker, item, _size_of(item))
        self._wanted.add(worker)

    def _trouble(self, worker: int) -> int:
        """Rank the peers for a copy that is wanted at once: the least messages, the soonest answer."""
        if worker not in self._linked:
            return 3
        if self._lanes[worker].flying:
            return 2
        return 0 if worker in self._wanted else 1

    def _queue(self, worker: int, item: AcceptItem, size: int) -> None:
        lane, bounds = self._lanes[worker], self._ctx.bounds
        if lane.queued_bytes >= bounds.latent_bytes or len(lane) >= bounds.latent_records:
            self.dropped[worker] += 1
            if self.watcher is not None:
                self.watcher.copy_dropped(worker, item)
            return
        lane.offer(item, size, self._ctx.now_ms)

    def _hurry(self) -> None:
        """Send the latent copies too: one that was wanted at once has failed."""
        self._wanted.update(worker for worker, lane in self._lanes.items() if len(lane))

    def waiting(self, worker: int) -> tuple[int, int, int]:
        """Return (records, bytes, age of the oldest in ms) not yet durable on a peer."""
        lane = self._lanes[worker]
        oldest = lane.oldest_ms
        return len(lane), lane.queued_bytes, 0 if oldest is None else self._ctx.now_ms - oldest

    def link_up(self, worker: int) -> None:
        """Begin to send; what was in flight on an earlier link goes first."""
        self._linked.add(worker)
        if len(self._lanes[worker]):
            self._wanted.add(worker)

    def link_down(self, worker: int) -> None:
        """Stop sending: accepting is idempotent, so what was in flight is sent again later."""
        self._linked.discard(worker)
        self._lanes[worker].broken_resend()
        self._hurry()

    def flush(self) -> None:
        """Let the next batch of every idle lane depart that is wanted, or has waited for long enough."""
        for worker in self._linked:
            self._depart(worker)

    def _depart(self, worker: int) -> bool:
        """Let a lane's next batch depart if it is time; return whether it did."""
        lane, ctx = self._lanes[worker], self._ctx
        if not lane.idle:
            return False
        oldest_ms = lane.oldest_ms or 0
        if worker in self._wanted or len(lane) >= LATENT_RECORDS or ctx.now_ms - oldest_ms >= LATENT_MS:
            self._wanted.discard(worker)
            number = ctx.number()
            ctx.outbox.send(worker, AcceptBatch(number, lane.depart(number)))
            return True
        return False

    def answered(self, worker: int, reply: AcceptReply) -> None:
        """Let the next batch depart, and then tell the watcher of every item of the one that was answered.

        So the peer is at work while clients are answered here.
        """
        self._untold[worker].append((reply, self._lanes[worker].answered(reply.number)))
        if self._depart(worker):
            self._ctx.outbox.proceed(partial(self.tell, worker))
        else:
            self.tell(worker)

    def tell(self, worker: int) -> None:
        """Tell the watcher, now, of all that a peer has answered: before what it said counts no more."""
        untold, self._untold[worker] = self._untold[worker], []
        if self.watcher is not None:
            for reply, items in untold:
                self._tell_of(worker, reply, items, self.watcher)

    def _tell_of(
        self, worker: int, reply: AcceptReply, items: list[AcceptItem], watcher: CopyWatcher
    ) -> None:
        refused = dict(reply.refused)
        if refused:
            self._hurry()
        for index, item in enumerate(items):
            refusal = refused.get(index)
            if refusal is None:
                watcher.copied(worker, item)
            else:
                watcher.copy_refused(worker, item, refusal)


def _size_of(item: AcceptItem) -> int:
    record = item.record
    return len(record.value or b"") + len(record.key) + RECORD_OVERHEAD_BYTES
