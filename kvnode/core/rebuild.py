"""Rebuilding a disk that is new or was wiped: no vote before it holds what all other replicas hold.

For each partition the promises and records of every other replica are copied, and each of those
notes the new disk before it answers, so that what the old one had voted for is discounted from then
on. A copied record is marked: it is a candidate, and stands only once a leader has it accepted again.
"""

from __future__ import annotations

from functools import partial

from kvnode.core.calls import Calls
from kvnode.core.context import Context
from kvnode.core.formation import Formation
from kvnode.core.messages import Reply, Sync, SyncReply
from kvnode.core.peers import Peers
from kvnode.core.records import Record
from kvnode.core.versions import NO_BALLOT, NO_VERSION

AT_ONCE = 8


class Copying:
    """One partition being copied: from whom it is whole already."""

    __slots__ = ("asked", "complete")

    def __init__(self) -> None:
        self.complete: set[int] = set()
        self.asked: int = 0


class Rebuild:
    """Copies all partitions without a vote, a few at a time."""

    def __init__(self, ctx: Context, peers: Peers, calls: Calls, formation: Formation) -> None:
        self._ctx = ctx
        self._peers = peers
        self._calls = calls
        self._formation = formation
        self._copying: dict[int, Copying] = {}
        self._todo: list[int] | None = None

    @property
    def remaining(self) -> int:
        """Count the partitions that have no vote yet."""
        voting = self._ctx.journal.voting
        return sum(not voting(partition) for partition in self._ctx.held)

    def tick(self) -> None:
        """Go on where something can be asked."""
        if not self._formation.identity.cluster_id:
            return
        if self._todo is None:
            voting = self._ctx.journal.voting
            self._todo = [part for part in sorted(self._ctx.held) if not voting(part)]
        while self._todo and len(self._copying) < AT_ONCE:
            partition = self._todo.pop()
            self._copying[partition] = Copying()
        for partition, copying in list(self._copying.items()):
            if not copying.asked:
                self._next(partition, copying)

    def _next(self, partition: int, copying: Copying) -> None:
        others = set(self._ctx.ring.preference_list(partition)) - {self._ctx.worker}
        missing = others - copying.complete
        if not missing:
            self._finish(partition)
            return
        for worker in sorted(missing):
            if self._peers.live(worker):
                copying.asked = worker
                self._ask(partition, worker, "")
                return

    def _ask(self, partition: int, worker: int, after: str) -> None:
        incarnation = self._formation.identity.incarnation
        number = self._ctx.number()
        message = Sync(number, partition, NO_BALLOT, [], after, incarnation)
        self._calls.ask(worker, message, partial(self._page, partition))

    def _page(self, partition: int, worker: int, reply: Reply | None) -> None:
        copying = self._copying[partition]
        if not isinstance(reply, SyncReply) or reply.refused is not None:
            copying.asked = 0
            return
        self._take(partition, reply)
        if reply.more and reply.records:
            self._ask(partition, worker, reply.records[-1].key)
        else:
            copying.asked = 0
            copying.complete.add(worker)
            self._next(partition, copying)

    def _take(self, partition: int, reply: SyncReply) -> None:
        journal = self._ctx.journal
        if reply.promised > journal.promised(partition):
            journal.promise(partition, reply.promised)
        if reply.floor > journal.floor(partition):
            journal.raise_floor(partition, reply.floor, NO_VERSION)
        for record in reply.records:
            entry = journal.entry(partition, record.key)
            if entry is None or (record.accepted, record.version) > entry.rank:
                self._ctx.append(self._candidate(record))

    def _candidate(self, record: Record) -> Record:
        return Record(
            record.partition,
            record.key,
            record.accepted,
            record.version,
            record.previous,
            record.value,
            copied=True,
        )

    def _finish(self, partition: int) -> None:
        del self._copying[partition]
        self._ctx.journal.set_voting(partition)
        self._ctx.outbox.note("partition_rebuilt", partition=partition, remaining=self.remaining)
