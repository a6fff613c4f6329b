"""Executing what other workers coordinate: each attempt once, and its outcome told in the next reply.

A batch that was seen before is dropped: an attempt may have taken effect the first time. Outcomes
that come late do not hold up those that came early.
"""

from __future__ import annotations

from kvnode.core.context import Context
from kvnode.core.coordinator import Coordinator
from kvnode.core.leaders import Leaders
from kvnode.core.messages import Attempt, ExecuteBatch, ExecuteReply
from kvnode.core.operations import Outcome, Status
from kvnode.core.peers import Peers
from kvnode.core.pending import Pending
from kvnode.core.readings import read_here
from kvnode.core.versions import NO_BALLOT, Ballot

PATIENCE_MS = 5
LONGEST_PATIENCE_MS = 50
LEADER_MARGIN_MS = 50
PROCESSES_KEPT = 4


class Batch:
    """A batch under way: the outcomes not yet told, and how many are still to come."""

    __slots__ = ("began_ms", "number", "outcomes", "promises", "remaining", "token", "told")

    def __init__(
        self, token: int, number: int, remaining: int, promises: list[tuple[int, Ballot]], began_ms: int
    ) -> None:
        self.token = token
        self.number = number
        self.remaining = remaining
        self.promises = promises
        self.began_ms = began_ms
        self.told = False
        self.outcomes: list[tuple[int, Outcome]] = []


class Executor:
    """The attempts that peers have asked for."""

    def __init__(self, ctx: Context, peers: Peers, leaders: Leaders, coordinator: Coordinator) -> None:
        self._ctx = ctx
        self._peers = peers
        self._leaders = leaders
        self._coordinator = coordinator
        self._seen: dict[int, dict[str, int]] = {}
        self._open: dict[int, tuple[Batch, Attempt]] = {}
        self._batches: dict[Batch, None] = {}
        self._usual_ms = 0.0

    @property
    def idle(self) -> bool:
        """Whether every attempt has been answered."""
        return not self._batches

    def execute(self, sender: int, process: str, token: int, message: ExecuteBatch) -> None:
        """Execute or decline each attempt of a batch that was not seen before."""
        if not self._is_new(sender, process, message.number):
            return
        self._leaders.entrance.came(sender, len(message.attempts))
        promises = self._promises(message.asks)
        batch = Batch(token, message.number, len(message.attempts), promises, self._ctx.now_ms)
        self._batches[batch] = None
        for attempt in message.attempts:
            number = self._ctx.number()
            self._open[number] = (batch, attempt)
            self._begin(attempt, number)
        if not message.attempts:
            self._tell(batch)

    def _promises(self, asks: list[int]) -> list[tuple[int, Ballot]]:
        """Return what is promised here now, where this worker votes and has promised anything."""
        held, journal = self._ctx.held, self._ctx.journal
        promised = [(ask, journal.promised(ask)) for ask in asks if ask in held and journal.voting(ask)]
        return [(partition, ballot) for partition, ballot in promised if ballot != NO_BALLOT]

    def _is_new(self, sender: int, process: str, number: int) -> bool:
        seen = self._seen.setdefault(sender, {})
        if number <= seen.get(process, 0):
            return False
        if process not in seen and len(seen) >= PROCESSES_KEPT:
            del seen[next(iter(seen))]
        seen[process] = number
        return True

    def _begin(self, attempt: Attempt, number: int) -> None:
        operation = attempt.operation
        partition = self._ctx.ring.partition(operation.key)
        if len(self._open) > self._ctx.bounds.operations:
            self.settled(number, Outcome(Status.OVERLOADED, reason="too many operations wait"))
            return
        if operation.local:
            self.settled(number, read_here(self._ctx, partition, operation.key))
            return
        margin = min(LEADER_MARGIN_MS, attempt.deadline_ms // 4)
        deadline_ms = self._ctx.now_ms + attempt.deadline_ms - margin
        pending = Pending(operation, self, number, deadline_ms, vouched=attempt.vouched)
        leader = self._leaders.leader_of(partition)
        if attempt.relay and leader not in (0, self._ctx.worker) and self._takes(leader):
            self._coordinator.relay(pending, leader)
        else:
            self._leaders.submit(partition, pending)

    def _takes(self, leader: int) -> bool:
        """Whether a leader can be reached, and has not been told that nothing more will come from here."""
        return self._peers.live(leader) and not self._peers[leader].draining

    def settled(self, token: int, outcome: Outcome) -> None:
        """Take the outcome of an attempt."""
        opened = self._open.pop(token, None)
        if opened is None:
            return
        batch, attempt = opened
        batch.outcomes.append((attempt.number, outcome))
        batch.remaining -= 1
        if not batch.remaining:
            self._usual_ms += (self._ctx.now_ms - batch.began_ms - self._usual_ms) / 16
            self._tell(batch)

    def _tell(self, batch: Batch) -> None:
        outcomes, batch.outcomes = batch.outcomes, []
        promises, batch.promises = batch.promises, []
        batch.told = True
        if not batch.remaining:
            self._batches.pop(batch, None)
        reply = ExecuteReply(batch.number, outcomes, promises)
        self._ctx.outbox.respond(batch.token, reply, last=not batch.remaining)

    def go_on(self) -> None:
        """Tell what is known of batches that some attempt holds up: that lets the next batch come.

        What takes twice as long as usual is held up; under load all take long, and nothing is told in pieces.
        """
        patience_ms = min(max(PATIENCE_MS, 2 * self._usual_ms), LONGEST_PATIENCE_MS)
        for batch in list(self._batches):
            late = self._ctx.now_ms - batch.began_ms >= patience_ms
            if late and (batch.outcomes or not batch.told):
                self._tell(batch)
