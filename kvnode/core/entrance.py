"""Where operations enter the cluster, as seen by one worker among those that it leads or should.

An operation whose coordinator leads its key takes one exchange of messages, any other two. Keys are
spread by their hash: whoever brings most of the operations for some partitions brings them for all.
So where one worker is asked nearly everything, leadership follows there, as CockroachDB's leases
follow the workload; and it returns to the ring's order when that has ended.

Where operations come by several workers, each leads its share, so that all processors are of use.
Workers that share too few for that have leadership gather at the first, when they have much to do: what
costs there is messages, which are fewer and fuller with one leader.
"""

from __future__ import annotations

from collections import Counter

from kvnode.core.context import Context

SHARE = 0.75
LOOKS = 4


class Entrance:
    """The worker to which leadership goes: by which operations come, or where it gathers; 0 for none."""

    def __init__(self, ctx: Context) -> None:
        self.worker = 0
        self._ctx = ctx
        self._places = {worker: place for place, worker in enumerate(ctx.ring.workers)}
        self._came: Counter[int] = Counter()
        self._looked_ms = 0
        self._next = 0
        self._since_ms = 0

    def came(self, worker: int, operations: int) -> None:
        """Count operations that a worker coordinates."""
        self._came[worker] += operations

    def distance(self, worker: int) -> int:
        """Return how many workers further on a worker comes, in the order of their numbers."""
        places = self._places
        return (places[worker] - places[self.worker]) % len(places)

    def tick(self) -> None:
        """Look, now and then, by whom operations have come since the last look."""
        now, timing = self._ctx.now_ms, self._ctx.timing
        if now - self._looked_ms < timing.follow_ms // LOOKS:
            return
        favourite = self._favourite()
        self._looked_ms = now
        self._came.clear()
        if favourite == self.worker:
            self._next = favourite
            return
        if favourite != self._next:
            self._next, self._since_ms = favourite, now
        if now - self._since_ms >= (timing.follow_ms if favourite else timing.stable_ms):
            self.worker = favourite
            self._ctx.outbox.note("entrance_changed", worker=favourite)

    def _favourite(self) -> int:
        total = self._came.total()
        if total < self._ctx.timing.follow_operations:
            return 0
        worker, count = self._came.most_common(1)[0]
        if count >= SHARE * total:
            return worker
        return self._ctx.ring.workers[0] if 0 < self._ctx.timing.gather_operations <= total else 0
