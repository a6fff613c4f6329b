"""Finding out what could have been committed for one key before a ballot.

Among the states of a majority that has promised the ballot, the record of the highest (accepted,
version) is the only one that may have been committed. Where it stands alike and durable on that
whole majority it is committed; else it has to be accepted again before anybody sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from kvnode.core.calls import Calls
from kvnode.core.context import Context
from kvnode.core.messages import ReadStates, Refusal, Reply, StatesReply
from kvnode.core.peers import Peers
from kvnode.core.records import Record
from kvnode.core.replica import load
from kvnode.core.versions import NO_VERSION, Ballot, Version
from kvnode.errors import DamageError

State = tuple[Record | None, Version]


class Deleted:
    """The key was deleted, and that forgotten: what is left of it must not come back."""


DELETED = Deleted()
Again = Record | Deleted | None


class Asking(NamedTuple):
    """What inquiries under one ballot share. ``overtaken`` is told of a higher one."""

    ctx: Context
    calls: Calls
    peers: Peers
    partition: int
    ballot: Ballot
    others: tuple[int, ...]
    overtaken: Callable[[Refusal, int], None]


class Inquiry:
    """The states of a key as told by its replicas. A reply counts for the worker that gave it, once.

    ``found(inquiry, again)`` is called once: with the record that must be accepted again, with DELETED
    when a new tombstone must be, or with None when what stands here is committed.
    """

    __slots__ = ("_asked", "_asked_ms", "_asking", "_done", "_found", "_key", "_states")

    def __init__(self, asking: Asking, key: str, found: Callable[[Inquiry, Again], None]) -> None:
        self._asking = asking
        self._key = key
        self._found = found
        self._states: dict[int, State] = {}
        self._asked: set[int] = set()
        self._asked_ms = 0
        self._done = False

    def start(self) -> None:
        """Look at what is held here, once that is durable, and ask the others."""
        self._asking.ctx.durability.after_all(self._tell_own)
        if not self._done:
            self._ask()

    def go_on(self) -> None:
        """Ask again who could not answer; a question under way is not repeated."""
        ctx = self._asking.ctx
        if ctx.now_ms - self._asked_ms >= ctx.timing.ask_again_ms:
            self._ask()

    def forget(self, worker: int) -> None:
        """Discount what an earlier disk of a worker has told."""
        self._states.pop(worker, None)

    def _ask(self) -> None:
        asking = self._asking
        self._asked_ms = asking.ctx.now_ms
        for worker in asking.others:
            if worker not in self._states and worker not in self._asked and asking.peers.live(worker):
                self._asked.add(worker)
                number = asking.ctx.number()
                message = ReadStates(number, asking.partition, asking.ballot, [self._key])
                asking.calls.ask(worker, message, self._answered)

    def _tell_own(self) -> None:
        ctx, partition = self._asking.ctx, self._asking.partition
        try:
            record = load(ctx, partition, self._key)
        except DamageError:
            ctx.damaged.add(partition)
        else:
            self._gather(ctx.worker, (record, ctx.journal.floor(partition)))

    def _answered(self, worker: int, reply: Reply | None) -> None:
        self._asked.discard(worker)
        if not isinstance(reply, StatesReply) or self._done:
            return
        if reply.refused is None:
            self._gather(worker, (reply.records[0], reply.floor))
        elif reply.refused.promised > self._asking.ballot:
            self._asking.overtaken(reply.refused, worker)

    def _gather(self, worker: int, state: State) -> None:
        if self._done:
            return
        self._states[worker] = state
        ctx = self._asking.ctx
        if ctx.worker in self._states and len(self._states) >= ctx.quorum:
            self._done = True
            self._found(self, newest_to_accept_again(self._states.values(), self._asking.ballot))


def newest_to_accept_again(states: Iterable[State], ballot: Ballot) -> Again:
    """Return a majority's newest record, to be accepted under ``ballot``; None if it stands on all of it.

    A tombstone stands, too, where the key is absent under a floor at or above its version. A value is
    DELETED by such an absence: a floor is raised when all replicas hold everything up to it, so that
    nothing but a forgotten tombstone can have been held there last (only damage uncovers such a value).
    """
    states = tuple(states)
    found = [record for record, _ in states if record is not None]
    if not found:
        return None
    best = max(found, key=lambda record: (record.accepted, record.version))
    absent_up_to = max((floor for record, floor in states if record is None), default=NO_VERSION)
    if best.value is not None and best.version <= absent_up_to:
        return DELETED
    if all(_stands(best, record, floor) for record, floor in states):
        return None
    return msgspec.structs.replace(best, accepted=ballot, copied=False)


def _stands(best: Record, record: Record | None, floor: Version) -> bool:
    if record is None:
        return best.value is None and floor >= best.version
    return not record.copied and (record.accepted, record.version) == (best.accepted, best.version)
