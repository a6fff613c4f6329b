"""Coordinating a client's operation: find the leader, hand it over, say honestly what came of it.

An operation is tried again only after a definite refusal, or when it was certainly never sent, or
when it is a read. A write that was sent and not answered is unknown, and is never sent twice.
"""

from __future__ import annotations

import heapq

from kvnode.core.context import Context
from kvnode.core.departures import Departures
from kvnode.core.effects import Sink
from kvnode.core.lane import Lane
from kvnode.core.leaders import Leaders
from kvnode.core.messages import Attempt, ExecuteBatch, ExecuteReply
from kvnode.core.operations import Kind, Operation, Outcome, Status
from kvnode.core.peers import Peers
from kvnode.core.pending import Pending
from kvnode.core.readings import read_here
from kvnode.core.versions import Ballot

ATTEMPT_OVERHEAD_BYTES = 100
LEADER_MARGIN_MS = 100
FIRST_RETRY_MS = 5
LAST_RETRY_MS = 200


class Request:
    """One operation being coordinated, and the try that is under way."""

    __slots__ = (
        "deadline_ms",
        "done",
        "hint",
        "operation",
        "partition",
        "relayed",
        "sent",
        "sink",
        "target",
        "token",
        "tries",
    )

    def __init__(
        self, operation: Operation, partition: int, deadline_ms: int, sink: Sink, token: int
    ) -> None:
        self.operation = operation
        self.partition = partition
        self.deadline_ms = deadline_ms
        self.sink = sink
        self.token = token
        self.tries = 0
        self.target = 0
        self.hint = 0
        self.relayed = False
        self.sent = False
        self.done = False

    def answer(self, outcome: Outcome) -> None:
        """Tell the outcome, once."""
        if not self.done:
            self.done = True
            self.sink.settled(self.token, outcome)

    def fail(self, reason: str) -> None:
        """Say that nothing was done and nothing will be."""
        read = self.operation.kind is Kind.GET
        self.answer(Outcome(Status.UNAVAILABLE if read else Status.NOT_STORED, reason=reason))

    def lose(self, reason: str) -> None:
        """Say that what was sent got no answer."""
        read = self.operation.kind is Kind.GET
        self.answer(Outcome(Status.UNAVAILABLE if read else Status.UNKNOWN, reason=reason))


class Coordinator:
    """All operations that clients have brought to this worker, or that peers asked it to relay.

    ``gathering``: some wait for others to depart with; ``flush`` again in a moment.
    """

    def __init__(self, ctx: Context, peers: Peers, leaders: Leaders) -> None:
        self._ctx = ctx
        self._peers = peers
        self._leaders = leaders
        bounds = ctx.bounds
        self._lanes = {peer.worker: Lane[Request](bounds.batch_items, bounds.batch_bytes) for peer in peers}
        self._here: list[Request] = []
        self._here_since_ms = 0
        self._departures = Departures(self._lanes)
        self.gathering = False
        self._requests: dict[int, Request] = {}
        self._hints: dict[int, int] = {}
        self._again: list[tuple[int, int, Request]] = []

    # --- beginning --------------------------------------------------------------------------------

    def execute(self, operation: Operation, deadline_ms: int, sink: Sink, token: int) -> None:
        """Carry out an operation by ``deadline_ms`` and tell ``sink`` its outcome."""
        partition = self._ctx.ring.partition(operation.key)
        if operation.local and partition in self._ctx.held:
            sink.settled(token, read_here(self._ctx, partition, operation.key))
        else:
            self._route(Request(operation, partition, deadline_ms, sink, token))

    def relay(self, pending: Pending, leader: int) -> None:
        """Pass a peer's operation on to the leader that it could not reach: one hop, one try.

        What was definitely not done is declined, so that the peer itself tries again.
        """
        operation = pending.operation
        partition = self._ctx.ring.partition(operation.key)
        request = Request(operation, partition, pending.deadline_ms, pending.sink, pending.token)
        request.relayed = True
        self._send(request, leader)

    def _route(self, request: Request) -> None:
        target = self._choose(request)
        if target == self._ctx.worker:
            request.target = target
            if not self._here:
                self._here_since_ms = self._ctx.now_ms
            self._here.append(request)
        elif target:
            self._send(request, target)
        else:
            self._retry(request, "no replica of the key can be reached")

    def _choose(self, request: Request) -> int:
        """Return the worker to ask: the leader if it is known and live, else the first live replica."""
        partition = request.partition
        if partition in self._leaders.led:
            return self._ctx.worker
        leader = request.hint or self._leaders.leader_of(partition) or self._hints.get(partition, 0)
        if leader and leader != self._ctx.worker and self._usable(leader):
            return leader
        for worker in self._ctx.ring.preference_list(partition):
            if self._usable(worker) and not (worker == request.target and request.tries % 2):
                return worker
        return 0

    def _usable(self, worker: int) -> bool:
        if worker == self._ctx.worker:
            return not self._leaders.draining
        return self._peers[worker].live and not self._peers[worker].draining

    def _register(self, request: Request) -> int:
        number = self._ctx.number()
        self._requests[number] = request
        return number

    def _send(self, request: Request, worker: int) -> None:
        request.target = worker
        request.sent = False
        size = len(request.operation.value or b"") + len(request.operation.key)
        self._lanes[worker].offer(request, size + ATTEMPT_OVERHEAD_BYTES, self._ctx.now_ms)

    def _may_depart(self) -> bool:
        lanes = self._lanes.values()
        if not any(lane.flying for lane in lanes):
            return True
        times = [lane.oldest_ms or 0 for lane in lanes if lane.idle]
        if self._here:
            times.append(self._here_since_ms)
        under_way = len(self._here) + sum(map(len, lanes)) + len(self._requests)
        return self._departures.due(under_way, min(times, default=None), self._ctx.now_ms)

    def flush(self) -> None:
        """Let the next batch to every leader, this worker included, depart if it is time to."""
        self.gathering = not self._may_depart()
        if self.gathering:
            return
        here, self._here = self._here, []
        for request in here:
            self._execute_here(request)
        for worker, lane in self._lanes.items():
            while lane.idle and self._peers[worker].hello is not None:
                number = self._ctx.number()
                departing = [request for request in lane.depart(number) if not request.done]
                attempts = [self._attempt(request, worker) for request in departing]
                if attempts:
                    self._departures.departed(worker, self._ctx.now_ms)
                    self._ctx.outbox.send(worker, ExecuteBatch(number, attempts))
                    break
                lane.answered(number)

    def _execute_here(self, request: Request) -> None:
        number = self._register(request)
        margin = min(LEADER_MARGIN_MS, max(0, request.deadline_ms - self._ctx.now_ms) // 4)
        pending = Pending(request.operation, self, number, request.deadline_ms - margin)
        self._leaders.submit(request.partition, pending)

    def _attempt(self, request: Request, worker: int) -> Attempt:
        request.sent = True
        left_ms = max(1, request.deadline_ms - self._ctx.now_ms)
        leader = self._leaders.leader_of(request.partition) or request.hint
        relay = not request.relayed and leader not in (0, worker, self._ctx.worker)
        number, promised = self._register(request), self._promised(request)
        return Attempt(number, request.operation, left_ms, relay=relay, promised=promised)

    def _promised(self, request: Request) -> Ballot | None:
        """Return what is promised here now, after the client asked, where an answer may want confirming."""
        operation, partition, journal = request.operation, request.partition, self._ctx.journal
        plain = operation.kind is Kind.PUT and operation.condition is None
        if plain or partition not in self._ctx.held or not journal.voting(partition):
            return None
        return journal.promised(partition)

    # --- outcomes ---------------------------------------------------------------------------------

    def answered(self, worker: int, reply: ExecuteReply) -> None:
        """Take in a leader's outcomes."""
        if self._lanes[worker].answered(reply.number):
            self._departures.answered(worker, self._ctx.now_ms)
        for number, outcome in reply.outcomes:
            self.settled(number, outcome)

    def settled(self, token: int, outcome: Outcome) -> None:
        """Take the outcome of one try."""
        request = self._requests.pop(token, None)
        if request is None or request.done:
            return
        if outcome.status is not Status.NOT_LEADER:
            if outcome.leader:
                self._hints[request.partition] = outcome.leader
            request.answer(outcome)
            return
        request.hint = outcome.leader if outcome.leader != request.target else 0
        self._hints.pop(request.partition, None)
        self._retry(request, "no worker led the key's partition in time")

    def _retry(self, request: Request, reason: str) -> None:
        if request.relayed:
            request.answer(Outcome(Status.NOT_LEADER, leader=request.hint))
            return
        now = self._ctx.now_ms
        request.tries += 1
        delay = 0
        if request.tries > 1 or not request.hint:
            delay = min(FIRST_RETRY_MS * 2 ** min(request.tries, 10), LAST_RETRY_MS)
            delay = int(delay * (0.5 + self._ctx.random()))
        if now + delay >= request.deadline_ms:
            request.fail(reason)
        else:
            heapq.heappush(self._again, (now + delay, self._ctx.number(), request))

    # --- peers that go ----------------------------------------------------------------------------

    def link_down(self, worker: int) -> None:
        """Route anew what was never sent to a peer, and reads; the writes that were sent are unknown."""
        _, unsent = self._lanes[worker].broken_drop()
        for request in unsent:
            if not request.done:
                self._retry(request, "the leader could not be reached")
        for number in self._sent_to(worker):
            request = self._requests.pop(number)
            if request.operation.kind is Kind.GET:
                self._retry(request, "the leader could not be reached")
            else:
                request.lose("the connection to the leader broke before it had answered")

    def peer_live(self, worker: int) -> None:
        """Nothing to do: new operations will find it."""

    def peer_lost(self, worker: int) -> None:
        """Ask others for what a silent peer was never sent, and for the reads that it has not answered."""
        for request in self._lanes[worker].withdraw():
            if not request.done:
                self._retry(request, "the leader does not answer")
        for number in self._sent_to(worker):
            if self._requests[number].operation.kind is Kind.GET:
                self._retry(self._requests.pop(number), "the leader does not answer")

    def _sent_to(self, worker: int) -> list[int]:
        return [
            number for number, request in self._requests.items() if request.target == worker and request.sent
        ]

    def quiet(self, worker: int) -> bool:
        """Whether nothing sent to a worker is unanswered."""
        return not len(self._lanes[worker]) and not self._sent_to(worker)

    # --- time -------------------------------------------------------------------------------------

    def go_on(self) -> None:
        """Make the tries that are due."""
        now = self._ctx.now_ms
        while self._again and self._again[0][0] <= now:
            request = heapq.heappop(self._again)[2]
            if not request.done:
                self._route(request)

    def tick(self) -> None:
        """Give up what is past its deadline."""
        now = self._ctx.now_ms
        for number, request in list(self._requests.items()):
            if request.deadline_ms <= now:
                del self._requests[number]
                request.lose("the leader has not answered in time")
        for lane in self._lanes.values():
            for request in lane.queued():
                if request.deadline_ms <= now:
                    request.fail("the leader could not be reached in time")
