"""Confirming that a leader still leads, for all reads that wait at the same time.

A read may be answered when a majority (this worker included) has said, at some moment after the
read arrived, that it promised no higher ballot. Where the coordinator sees to that (``witnesses``) no
round is begun. Rounds are shared: one message per peer is in flight and the next asks for everything
that has gathered. The same messages are the heartbeat.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from kvnode.core.context import Context
from kvnode.core.messages import ConfirmBatch, ConfirmReply, Refusal
from kvnode.core.operations import Outcome
from kvnode.core.peers import Peers
from kvnode.core.pending import Pending
from kvnode.core.versions import Ballot

Lead = tuple[int, Ballot]


class Waiting:
    """A read (or a refused condition) whose answer is known and wants confirming."""

    __slots__ = ("asked", "began_ms", "confirmed", "done", "lead", "outcome", "pending")

    def __init__(self, pending: Pending, outcome: Outcome, lead: Lead, began_ms: int) -> None:
        self.pending = pending
        self.outcome = outcome
        self.lead = lead
        self.began_ms = began_ms
        self.asked: set[int] = set()
        self.confirmed: set[int] = set()
        self.done = False

    def finish(self, outcome: Outcome) -> None:
        """Answer, once."""
        if not self.done:
            self.done = True
            self.pending.answer(outcome)


class Round:
    """What one peer is being asked, and what it will be asked next."""

    __slots__ = ("flying", "gathering", "number", "sent_ms")

    def __init__(self) -> None:
        self.gathering: dict[Lead, list[Waiting]] = {}
        self.flying: dict[Lead, list[Waiting]] | None = None
        self.number = 0
        self.sent_ms = 0


class LeadershipWatcher(Protocol):
    """Who must know that a ballot was overtaken."""

    def overtaken(self, refusal: Refusal, worker: int) -> None:
        """``worker`` has promised a higher ballot for a partition that is led here."""


class Confirmations:
    """The rounds with all peers, and the reads that wait for them."""

    def __init__(self, ctx: Context, peers: Peers) -> None:
        self._ctx = ctx
        self._peers = peers
        self._rounds = {peer.worker: Round() for peer in peers}
        self._called: set[int] = set()
        self._waiting: dict[Lead, dict[Waiting, None]] = {}
        self.watcher: LeadershipWatcher | None = None
        self.heartbeat: Callable[[int, int, list[Lead]], ConfirmBatch] = lambda number, _peer, leads: (
            ConfirmBatch(number, leads)
        )
        self.due: Callable[[int, int], bool] = lambda _peer, elapsed_ms: elapsed_ms >= ctx.timing.heartbeat_ms

    def join(self, pending: Pending, outcome: Outcome, lead: Lead, others: tuple[int, ...]) -> None:
        """Answer ``pending`` with ``outcome`` once the lead is confirmed by a majority."""
        waiting = Waiting(pending, outcome, lead, self._ctx.now_ms)
        if self._ctx.quorum == 1:
            pending.answer(outcome)
            return
        self._waiting.setdefault(lead, {})[waiting] = None
        self._ask(waiting, others)

    def _ask(self, waiting: Waiting, others: tuple[int, ...]) -> None:
        wanted = self._ctx.quorum - 1 - len(waiting.confirmed)
        for worker in sorted(others, key=self._idleness):
            if wanted and worker not in waiting.asked and self._peers.live(worker):
                waiting.asked.add(worker)
                self._rounds[worker].gathering.setdefault(waiting.lead, []).append(waiting)
                self._called.add(worker)
                wanted -= 1

    def _idleness(self, worker: int) -> int:
        """Rank the peers to ask: whose next round gathers already, then who can be asked at once."""
        round_ = self._rounds[worker]
        return 0 if round_.gathering else 1 if round_.flying is None else 2

    def introduce(self, worker: int, leads: list[Lead]) -> None:
        """Name what is led here to a peer that may be new: whoever knows of a leader stands against none."""
        for lead in leads:
            self._rounds[worker].gathering.setdefault(lead, [])
        self._called.add(worker)

    def flush(self) -> None:
        """Start the next round, where there is cause, with every peer that has answered the last one."""
        for worker in tuple(self._called):
            round_ = self._rounds[worker]
            if round_.flying is None and self._peers[worker].hello is not None:
                self._called.remove(worker)
                round_.number = self._ctx.number()
                round_.sent_ms = self._ctx.now_ms
                round_.flying, round_.gathering = round_.gathering, {}
                batch = self.heartbeat(round_.number, worker, list(round_.flying))
                self._ctx.outbox.send(worker, batch)

    def answered(self, worker: int, reply: ConfirmReply) -> None:
        """Count a peer's confirmations, and let go of leads that it refused."""
        round_ = self._rounds[worker]
        if reply.number != round_.number or round_.flying is None:
            return
        flying, round_.flying = round_.flying, None
        refused = {refusal.partition: refusal for refusal in reply.refused}
        for lead, waiting in flying.items():
            refusal = refused.get(lead[0])
            if refusal is None:
                for read in waiting:
                    self._confirm(read, worker)
            elif refusal.promised > lead[1] and self.watcher is not None:
                self.watcher.overtaken(refusal, worker)
            else:
                for read in waiting:
                    self._ask(read, self._ctx.others(lead[0]))

    def _confirm(self, waiting: Waiting, worker: int) -> None:
        waiting.confirmed.add(worker)
        if len(waiting.confirmed) + 1 >= self._ctx.quorum and not waiting.done:
            self._forget(waiting)
            waiting.finish(waiting.outcome)

    def abandon(self, lead: Lead, outcome: Outcome) -> None:
        """Answer all that wait for a lead that is no more."""
        for waiting in self._waiting.pop(lead, ()):
            waiting.finish(outcome)

    def link_down(self, worker: int) -> None:
        """Drop the round with a peer; its reads ask another one."""
        round_ = self._rounds[worker]
        round_.flying = None
        round_.gathering = {}
        self._called.discard(worker)
        for reads in self._waiting.values():
            for waiting in reads:
                waiting.asked.discard(worker)
                self._ask(waiting, self._ctx.others(waiting.lead[0]))

    def tick(self) -> None:
        """Ask further peers for reads that wait long; give up past their deadlines; have hearts beat."""
        now = self._ctx.now_ms
        for worker, round_ in self._rounds.items():
            if round_.flying is None and self.due(worker, now - round_.sent_ms):
                self._called.add(worker)
        late: list[Waiting] = []
        for reads in self._waiting.values():
            for waiting in reads:
                if now >= waiting.pending.deadline_ms:
                    late.append(waiting)
                elif now - waiting.began_ms >= self._ctx.timing.hedge_ms:
                    waiting.began_ms = now
                    self._ask(waiting, self._ctx.others(waiting.lead[0]))
        for waiting in late:
            self._forget(waiting)
            if not waiting.done:
                waiting.done = True
                reason = "no majority confirmed the leader in time"
                waiting.pending.fail(self._ctx.worker, reason)

    def _forget(self, waiting: Waiting) -> None:
        reads = self._waiting.get(waiting.lead)
        if reads is not None:
            reads.pop(waiting, None)
            if not reads:
                del self._waiting[waiting.lead]
