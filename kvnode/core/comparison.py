"""Comparing a partition with one replica's, by the hash tree, and settling one as a whole.

A tombstone and an absence under a floor at or above it are equal: one of the two has forgotten.
"""

from __future__ import annotations

from collections.abc import Callable

from kvnode.core.calls import Calls
from kvnode.core.context import Context
from kvnode.core.hash_tree import bucket_of
from kvnode.core.leadership import Leadership
from kvnode.core.messages import Held, Promise, Refusal, Reply, Sync, SyncReply
from kvnode.core.peers import Peers
from kvnode.core.versions import Ballot, Version

SETTLING_AT_ONCE = 64
"""So many keys are settled at a time, in all partitions that were taken over: one in each at the least, for
some may wait long for a majority. What clients ask for is not counted."""

Overtaken = Callable[[Refusal, int], None]


class Comparison:
    """One comparison: ``done`` is told the keys that differ, or None if it could not be finished.

    ``lags``: the replica's floor is lower than ours, or it has forgotten less.
    """

    def __init__(
        self,
        ctx: Context,
        calls: Calls,
        leadership: Leadership,
        overtaken: Overtaken,
        done: Callable[[int, list[str] | None], None],
    ) -> None:
        self._ctx = ctx
        self._calls = calls
        self._partition = leadership.partition
        self._ballot: Ballot = leadership.ballot
        self._overtaken = overtaken
        self._done = done
        self._theirs: set[str] = set()
        self._differing: set[int] = set()
        self._keys: list[str] = []
        self.lags = False

    def start(self, worker: int) -> None:
        """Begin to compare with a replica."""
        self._ask(worker, "")

    def _ask(self, worker: int, after: str) -> None:
        number = self._ctx.number()
        buckets = list(self._ctx.journal.tree(self._partition).buckets)
        self._calls.ask(worker, Sync(number, self._partition, self._ballot, buckets, after), self._page)

    def _page(self, worker: int, reply: Reply | None) -> None:
        if not isinstance(reply, SyncReply) or reply.refused is not None:
            if isinstance(reply, SyncReply) and reply.refused is not None:
                self._overtaken(reply.refused, worker)
            self._done(worker, None)
            return
        self._learn_floor(reply)
        self._differing.update(reply.differing)
        for held in reply.held:
            self._theirs.add(held.key)
            if self._differs(held):
                self._keys.append(held.key)
        if reply.more:
            self._ask(worker, reply.held[-1].key)
        else:
            self._add_missing(reply.floor)
            self._done(worker, self._keys)

    def _differs(self, held: Held) -> bool:
        journal = self._ctx.journal
        entry = journal.entry(self._partition, held.key)
        if entry is None:
            return not (held.tombstone and held.version <= journal.floor(self._partition))
        if entry.copied or held.copied:
            return True
        return entry.rank != (held.accepted, held.version)

    def _add_missing(self, floor: Version) -> None:
        if not self._differing:
            return
        journal, partition = self._ctx.journal, self._partition
        for key in journal.keys(partition):
            if key in self._theirs or bucket_of(key) not in self._differing:
                continue
            entry = journal.entry(partition, key)
            if entry is not None and not (entry.tombstone and entry.version <= floor):
                self._keys.append(key)

    def _learn_floor(self, reply: SyncReply) -> None:
        """Take a higher floor over: what made the replica raise it, or forget, holds here too."""
        journal, partition = self._ctx.journal, self._partition
        if reply.floor > journal.floor(partition) or reply.forgotten > journal.forgotten(partition):
            floor = max(reply.floor, journal.floor(partition))
            self._ctx.raise_floor(partition, floor, reply.forgotten)
        self.lags = reply.floor < journal.floor(partition) or reply.forgotten < journal.forgotten(partition)


class Turns:
    """How many keys all settlings of a worker have under way."""

    __slots__ = ("taken",)

    def __init__(self) -> None:
        self.taken = 0


class Settling:
    """Settles a newly led partition: compares it with enough replicas, then settles what differs.

    What stands alike on this worker and on quorum - 1 replicas that promised the ballot is
    committed. An empty partition, or one whose digests are equal, needs no message at all.
    """

    def __init__(
        self,
        ctx: Context,
        calls: Calls,
        peers: Peers,
        leadership: Leadership,
        overtaken: Overtaken,
        turns: Turns,
    ) -> None:
        self._ctx = ctx
        self._calls = calls
        self._peers = peers
        self._turns = turns
        self._leadership = leadership
        self._overtaken = overtaken
        self._compared: set[int] = set()
        self._comparing = False
        self._todo: list[str] = []
        self._under_way = 0
        self._feeding = False

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self._leadership.ended or self._leadership.settled

    def start(self, promises: dict[int, Promise]) -> None:
        """Count the replicas whose digest equals ours, once ours is durable, and go on from there."""
        root = self._ctx.journal.tree(self._leadership.partition).root
        equal = {worker for worker, promise in promises.items() if promise.digest == root}
        equal.discard(self._ctx.worker)

        def durable() -> None:
            self._compared |= equal
            self.go_on()

        self._ctx.durability.after_all(durable)

    def go_on(self) -> None:
        """Take the next step, if none is under way: also called from time to time."""
        leadership = self._leadership
        if self._todo and not self._feeding:
            self._feed()
        if self.done or self._comparing or self._under_way or self._todo:
            return
        if len(self._compared) >= self._ctx.quorum - 1:
            leadership.settled_whole()
            return
        for worker in leadership.others:
            if worker not in self._compared and self._peers.live(worker):
                self._comparing = True
                comparison = Comparison(
                    self._ctx, self._calls, leadership, self._overtaken, self._compared_with
                )
                comparison.start(worker)
                return

    def _compared_with(self, worker: int, keys: list[str] | None) -> None:
        self._comparing = False
        if keys is None:
            return

        def durable() -> None:
            self._compared.add(worker)
            self._todo.extend(keys)
            self._feed()

        self._ctx.durability.after_all(durable)

    def _feed(self) -> None:
        if self._leadership.ended:
            return
        self._feeding = True
        while self._todo and (not self._under_way or self._turns.taken < SETTLING_AT_ONCE):
            self._under_way += 1
            self._turns.taken += 1
            self._leadership.settle(self._todo.pop(), self._one_done)
        self._feeding = False
        if not self._todo:
            self.go_on()

    def _one_done(self) -> None:
        if self._leadership.ended:
            return
        self._under_way -= 1
        self._turns.taken -= 1
        if not self._feeding:
            self._feed()

    def end(self) -> None:
        """Give its turns to others: the leadership has ended, and nothing of it will be done."""
        self._turns.taken -= self._under_way
        self._under_way = 0
        self._todo.clear()
