"""Forgetting tombstones: deletions that every replica has had for long enough leave index and log.

In this order, driven by the partition's leader under one ballot: a version that no record bears is
drawn (the candidate); each follower is found, by a comparison begun after that, to hold everything up
to it; time passes; all replicas raise their floors to it, durably; and only then does anybody forget.

Why it is safe: whatever is at or below the floor was on all replicas, so that a key that is absent
under it was deleted, and a message that brings such a record is late and is refused. A majority that
has forgotten, one that has not, and any mix of both therefore tell the same. A version above the
candidate may be on its way meanwhile: the floor does not concern it.
"""

from __future__ import annotations

from functools import partial

from kvnode.core.calls import Calls
from kvnode.core.context import Context
from kvnode.core.leaders import Leaders
from kvnode.core.leadership import Leadership
from kvnode.core.messages import FloorReply, Reply, SetFloor
from kvnode.core.versions import Version


class Round:
    """One floor being raised: which followers hold all up to it, and which replicas have it."""

    __slots__ = ("asked_ms", "floor", "floored", "leadership", "since_ms", "whole")

    def __init__(self, leadership: Leadership, floor: Version) -> None:
        self.leadership = leadership
        self.floor = floor
        self.whole: set[int] = set()
        self.since_ms: int | None = None
        self.asked_ms: int | None = None
        self.floored: set[int] = set()


class Forgetting:
    """The floors of the partitions that this worker leads."""

    def __init__(self, ctx: Context, calls: Calls, leaders: Leaders) -> None:
        self._ctx = ctx
        self._calls = calls
        self._leaders = leaders
        self._rounds: dict[int, Round] = {}
        self._ticked_ms = 0

    def round_of(self, leadership: Leadership) -> Round | None:
        """Return a partition's round, to be given back when a comparison that begins now has ended."""
        return self._rounds.get(leadership.partition)

    def compared(self, begun: Round | None, worker: int, differing: list[str]) -> None:
        """Take note of what a follower holds: of what is at or below the floor, nothing may differ."""
        if begun is None or self._rounds.get(begun.leadership.partition) is not begun:
            return
        partition, journal = begun.leadership.partition, self._ctx.journal
        entries = [journal.entry(partition, key) for key in differing]
        if all(entry is not None and entry.version > begun.floor for entry in entries):
            begun.whole.add(worker)

    def tick(self) -> None:
        """Begin, go on, end; as often as hearts beat."""
        if self._ctx.now_ms - self._ticked_ms < self._ctx.timing.heartbeat_ms or self._ctx.journal.full:
            return
        self._ticked_ms = self._ctx.now_ms
        led = self._leaders.led
        for partition, round_ in list(self._rounds.items()):
            if led.get(partition) is not round_.leadership:
                del self._rounds[partition]
        for partition, leadership in led.items():
            if leadership.settled and not leadership.closing:
                self._go_on(partition, leadership)

    def _go_on(self, partition: int, leadership: Leadership) -> None:
        round_ = self._rounds.get(partition)
        if round_ is None:
            if self._ctx.journal.tombstones(partition):
                self._rounds[partition] = Round(leadership, leadership.next_version())
        elif round_.whole.issuperset(leadership.others):
            if round_.since_ms is None:
                round_.since_ms = self._ctx.now_ms
            if self._ctx.now_ms - round_.since_ms >= self._ctx.timing.tombstone_ms:
                self._raise(round_)

    def _raise(self, round_: Round) -> None:
        """Have the floor raised where it is not yet; forget when it is everywhere."""
        now, leadership = self._ctx.now_ms, round_.leadership
        partition, everybody = leadership.partition, {self._ctx.worker, *leadership.others}
        if round_.floored == everybody:
            del self._rounds[partition]
            self._ctx.raise_floor(partition, round_.floor, round_.floor)
            for worker in leadership.others:
                self.set_floor(leadership, worker)
        elif round_.asked_ms is None or now - round_.asked_ms >= 2 * self._ctx.timing.suspect_ms:
            round_.asked_ms = now
            self._ctx.raise_floor(partition, round_.floor, self._ctx.journal.forgotten(partition))
            self._ctx.durability.after_all(partial(round_.floored.add, self._ctx.worker))
            for worker in leadership.others:
                if worker not in round_.floored:
                    self.set_floor(leadership, worker, round_)

    def set_floor(self, leadership: Leadership, worker: int, round_: Round | None = None) -> None:
        """Bring a follower's floor, and what it has forgotten, up to ours.

        Not before ours is durable, and with it everything that was appended here before: a leader
        that loses a record at or below the floor to a crash would else take it for deleted later.
        """
        partition, journal = leadership.partition, self._ctx.journal
        floor, forgotten = journal.floor(partition), journal.forgotten(partition)
        message = SetFloor(self._ctx.number(), partition, leadership.ballot, floor, forgotten)
        then = partial(self._answered, round_)
        self._ctx.durability.after_all(partial(self._calls.ask, worker, message, then))

    def _answered(self, round_: Round | None, worker: int, reply: Reply | None) -> None:
        if not isinstance(reply, FloorReply):
            return
        if reply.refused is not None:
            self._leaders.overtaken(reply.refused, worker)
        elif round_ is not None and reply.floor >= round_.floor:
            round_.floored.add(worker)
