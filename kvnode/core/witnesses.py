"""Confirming what leaders find by what another replica has promised.

Where two of three are a majority, a leader's answer holds if one other replica had promised no higher
ballot at some moment after the client asked. The leader may ask one, which takes a round more. A
coordinator that is a replica looks for itself; one that is none, or that leads, asks a replica beside
the leader, in a message that leaves anyway.
"""

from __future__ import annotations

import sys
from typing import Final

from kvnode.core.context import Context
from kvnode.core.lane import Lane
from kvnode.core.peers import Peer, Peers
from kvnode.core.requests import Request
from kvnode.core.versions import Ballot

ASK_BYTES = 8
FIRST_PROTOCOL = 3
WITNESSED_QUORUM = 2
REFUSED: Final = Ballot(sys.maxsize, 0)
"""What counts as the promise of who gives no word of it."""


class Ask:
    """A question to one replica: what has it promised for a partition? With the tries that wait for it."""

    __slots__ = ("partition", "tries")

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.tries: list[tuple[Request, int]] = []

    def answered(self, promise: Ballot) -> list[Request]:
        """Note the answer with all that wait for it, and return them."""
        waiting = [request for request, tries in self.tries if request.tries == tries and not request.done]
        for request in waiting:
            request.promise = promise
        return waiting


class Witnesses:
    """Puts questions to replicas into the lanes that carry operations to them."""

    def __init__(self, ctx: Context, peers: Peers, lanes: dict[int, Lane[Request | Ask]]) -> None:
        self._ctx = ctx
        self._peers = peers
        self._lanes = lanes
        self._gathering: dict[tuple[int, int], Ask] = {}

    def want(self, request: Request) -> None:
        """Find a witness other than the leader that a request goes to, and ask it if it is another worker."""
        if request.alone or not request.wants_confirming or self._ctx.quorum != WITNESSED_QUORUM:
            return
        partition, worker = request.partition, self._choose(request)
        request.witness = worker
        if worker in (0, self._ctx.worker):
            return
        ask = self._gathering.get((worker, partition))
        if ask is None:
            ask = self._gathering[worker, partition] = Ask(partition)
            self._lanes[worker].offer(ask, ASK_BYTES, self._ctx.now_ms)
        ask.tries.append((request, request.tries))

    def word(self, request: Request) -> Ballot | None:
        """Return what a request's witness has promised, or REFUSED; None if that is not known yet."""
        if request.witness != self._ctx.worker:
            return request.promise
        journal, partition = self._ctx.journal, request.partition
        return journal.promised(partition) if journal.voting(partition) else REFUSED

    def left(self, worker: int, ask: Ask) -> None:
        """Note that a question is on its way, or dropped: who comes later needs another."""
        self._gathering.pop((worker, ask.partition), None)

    def _choose(self, request: Request) -> int:
        """Return the witness that costs least: this worker, or one that is about to be sent something."""
        me, partition = self._ctx.worker, request.partition
        if request.target != me and partition in self._ctx.held and self._ctx.journal.voting(partition):
            return me
        best, least = 0, 3
        for worker in self._ctx.others(partition):
            if worker != request.target and self._able(self._peers[worker]):
                lane = self._lanes[worker]
                cost = 2 if lane.flying else 0 if lane.idle else 1
                if cost < least:
                    best, least = worker, cost
        return best

    def _able(self, peer: Peer) -> bool:
        hello = peer.hello
        if hello is None or hello.protocol[1] < FIRST_PROTOCOL:
            return False
        return peer.live and not (peer.draining or peer.rebuilding)
