"""Rebuilding what is new, wiped or damaged: no vote before it holds what all other replicas hold.

For each partition without a vote the promises, floors and records of every other replica are copied,
and each of those notes the disk and discounts what it had acknowledged before it answers. Whatever a
majority has accepted or promised is known to one of the others, so the copy misses nothing that was
committed. A copied record is marked: it is a candidate, and stands only once a leader has it accepted
again. What is left of a damaged partition are true records, if not the newest of their keys; where
neither other replica holds a key and the record is at or below the floor, its deletion was forgotten
everywhere, and it is deleted here too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from kvnode.core.calls import Calls
from kvnode.core.context import Context
from kvnode.core.formation import Formation
from kvnode.core.messages import Reply, Sync, SyncReply
from kvnode.core.peers import Peers
from kvnode.core.records import Record
from kvnode.core.throttle import Throttle
from kvnode.core.versions import NO_BALLOT, NO_VERSION
from kvnode.errors import NoSpaceError

AT_ONCE = 8
RECORDS_PER_S = 2000
"""How fast records are copied, over all partitions: what clients ask of the other replicas goes first."""

RECORD_BYTES = 4096
"""A record counts as one more for each so many bytes of its value."""


class Copying:
    """One partition being copied: from whom it is whole already, and which keys they hold.

    ``reached``: after which key to go on with the copy of one process, while that lives. ``losses``
    is the journal's count when it began: records lost since may be missing from the copy.
    """

    __slots__ = ("asked", "complete", "losses", "reached", "seen")

    def __init__(self, losses: int) -> None:
        self.losses = losses
        self.complete: set[int] = set()
        self.seen: set[str] = set()
        self.asked: int = 0
        self.reached: tuple[str, str] = ("", "")


class Rebuild:
    """Copies all partitions without a vote, a few at a time. ``rebuilt`` is told of each that has one."""

    def __init__(
        self,
        ctx: Context,
        peers: Peers,
        calls: Calls,
        formation: Formation,
        rebuilt: Callable[[int], None],
    ) -> None:
        self._ctx = ctx
        self._peers = peers
        self._calls = calls
        self._formation = formation
        self._rebuilt = rebuilt
        self._copying: dict[int, Copying] = {}
        self._todo: set[int] | None = None
        self._throttle = Throttle(RECORDS_PER_S)

    @property
    def remaining(self) -> int:
        """Count the partitions that have no vote yet."""
        return len(self._ctx.held) - self._ctx.journal.votes

    @property
    def votes_in(self) -> tuple[int, ...]:
        """The partitions in which this worker votes, if it does not in all."""
        if not self.remaining:
            return ()
        return tuple(partition for partition in sorted(self._ctx.held) if self._ctx.journal.voting(partition))

    def restart(self, partition: int) -> None:
        """Copy a partition from the beginning: something of it was lost."""
        self._copying.pop(partition, None)
        if self._todo is not None:
            self._todo.add(partition)

    def tick(self) -> None:
        """Go on where something can be asked."""
        if not self._formation.identity.cluster_id or self._ctx.journal.full:
            return
        journal = self._ctx.journal
        if self._todo is None:
            self._todo = {part for part in self._ctx.held if not journal.voting(part)}
        while self._todo and len(self._copying) < AT_ONCE:
            partition = max(self._todo)
            self._todo.remove(partition)
            self._copying[partition] = Copying(journal.losses)
        for partition, copying in list(self._copying.items()):
            if not copying.asked:
                self._next(partition, copying)

    def _next(self, partition: int, copying: Copying) -> None:
        others = set(self._ctx.ring.preference_list(partition)) - {self._ctx.worker}
        missing = others - copying.complete
        if not missing:
            self._finish(partition, copying)
            return
        if not self._throttle.is_open(self._ctx.now_ms):
            return
        for worker in sorted(missing):
            if self._peers.live(worker):
                copying.asked = worker
                self._ask(partition, copying, worker)
                return

    def _ask(self, partition: int, copying: Copying, worker: int) -> None:
        process, after = copying.reached
        incarnation = self._formation.identity.incarnation
        number = self._ctx.number()
        again = after if process == self._process(worker) else ""
        message = Sync(number, partition, NO_BALLOT, [], again, incarnation)
        self._calls.ask(worker, message, partial(self._page, partition, copying))

    def _page(self, partition: int, copying: Copying, worker: int, reply: Reply | None) -> None:
        if self._copying.get(partition) is not copying:
            return
        copying.asked = 0
        copying.reached = ("", "")
        if not isinstance(reply, SyncReply) or reply.refused is not None or self._ctx.journal.full:
            return
        hello = self._peers[worker].hello
        try:
            if hello is not None:
                self._formation.note_incarnation(worker, hello.incarnation)
        except NoSpaceError:
            return
        self._take(partition, copying, reply)
        if reply.more and reply.records:
            copying.reached = (self._process(worker), reply.records[-1].key)
        else:
            copying.complete.add(worker)
        self._next(partition, copying)

    def _process(self, worker: int) -> str:
        hello = self._peers[worker].hello
        return "" if hello is None else hello.process

    def _take(self, partition: int, copying: Copying, reply: SyncReply) -> None:
        journal = self._ctx.journal
        if reply.promised > journal.promised(partition):
            journal.promise(partition, reply.promised)
        self._ctx.raise_floor(partition, reply.floor, reply.forgotten)
        sizes = sum(len(record.value or b"") for record in reply.records)
        self._throttle.spend(len(reply.records) + sizes / RECORD_BYTES, self._ctx.now_ms)
        for record in reply.records:
            copying.seen.add(record.key)
            entry = journal.entry(partition, record.key)
            if entry is None or (record.accepted, record.version) > entry.rank:
                self._ctx.append(msgspec.structs.replace(record, copied=True))

    def _finish(self, partition: int, copying: Copying) -> None:
        journal = self._ctx.journal
        del self._copying[partition]
        self._delete_forgotten(partition, copying.seen)
        journal.set_voting(partition)
        if journal.losses != copying.losses:
            journal.clear_voting(partition)
            self.restart(partition)
            return
        self._rebuilt(partition)
        self._ctx.outbox.note("partition_rebuilt", partition=partition, remaining=self.remaining)

    def _delete_forgotten(self, partition: int, seen: set[str]) -> None:
        """Delete what was deleted and forgotten everywhere else."""
        journal = self._ctx.journal
        floor = journal.floor(partition)
        for key in [key for key in journal.keys(partition) if key not in seen]:
            entry = journal.entry(partition, key)
            if entry is not None and not entry.tombstone and entry.version <= floor:
                journal.append(Record(partition, key, NO_BALLOT, NO_VERSION, None, None))
