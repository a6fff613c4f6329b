"""Coordinating a client's operation: find the leader, hand it over, say honestly what came of it.

An operation is tried again only after a definite refusal, or when it was certainly never sent, or
when it is a read. A write that was sent and not answered is unknown, and is never sent twice.
"""

from __future__ import annotations

import heapq

import msgspec

from kvnode.core.context import Context
from kvnode.core.effects import Sink
from kvnode.core.lane import Lane
from kvnode.core.leaders import Leaders
from kvnode.core.messages import Attempt, ExecuteBatch, ExecuteReply
from kvnode.core.operations import Kind, Operation, Outcome, Status
from kvnode.core.peers import Peers
from kvnode.core.pending import Pending
from kvnode.core.readings import read_here
from kvnode.core.requests import Request
from kvnode.core.versions import Ballot
from kvnode.core.witnesses import REFUSED, Ask, Witnesses

ATTEMPT_OVERHEAD_BYTES = 100
LEADER_MARGIN_MS = 100
FIRST_RETRY_MS = 5
LAST_RETRY_MS = 200


class Coordinator:
    """All operations that clients have brought to this worker, or that peers asked it to relay."""

    def __init__(self, ctx: Context, peers: Peers, leaders: Leaders) -> None:
        self._ctx = ctx
        self._peers = peers
        self._leaders = leaders
        bounds = ctx.bounds
        self._lanes = {
            peer.worker: Lane[Request | Ask](bounds.batch_items, bounds.batch_bytes) for peer in peers
        }
        self._witnesses = Witnesses(ctx, peers, self._lanes)
        self._requests: dict[int, Request] = {}
        self._hints: dict[int, int] = {}
        self._again: list[tuple[int, int, Request]] = []

    @property
    def at_rest(self) -> bool:
        """Whether no operation is under way, waits, or is to be tried again."""
        return not (self._requests or self._again or any(map(len, self._lanes.values())))

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
        request.target = leader
        self._witnesses.want(request)
        self._send(request, leader)

    def _route(self, request: Request) -> None:
        request.target = target = self._choose(request)
        if request.tries:
            request.begin_try()
        if target == self._ctx.worker:
            self._witnesses.want(request)
            self._execute_here(request)
        elif target:
            self._witnesses.want(request)
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
        request.number = number = self._ctx.number()
        self._requests[number] = request
        return number

    def _send(self, request: Request, worker: int) -> None:
        request.sent = False
        size = len(request.operation.value or b"") + len(request.operation.key)
        self._lanes[worker].offer(request, size + ATTEMPT_OVERHEAD_BYTES, self._ctx.now_ms)

    def flush(self) -> None:
        """Let the next batch to every other leader depart that has answered the last one."""
        for worker, lane in self._lanes.items():
            while lane.idle and self._peers[worker].hello is not None:
                number = self._ctx.number()
                batch = self._batch(worker, number, lane.depart(number))
                if batch.attempts or batch.asks:
                    self._ctx.outbox.send(worker, batch)
                    break
                lane.answered(number)

    def _batch(self, worker: int, number: int, departing: list[Request | Ask]) -> ExecuteBatch:
        batch = ExecuteBatch(number, [], [])
        for item in departing:
            if isinstance(item, Ask):
                self._witnesses.left(worker, item)
                batch.asks.append(item.partition)
            elif not item.done:
                batch.attempts.append(self._attempt(item, worker))
        return batch

    def _execute_here(self, request: Request) -> None:
        number = self._register(request)
        margin = min(LEADER_MARGIN_MS, max(0, request.deadline_ms - self._ctx.now_ms) // 4)
        vouched = bool(request.witness)
        self._leaders.entrance.came(self._ctx.worker, 1)
        pending = Pending(request.operation, self, number, request.deadline_ms - margin, vouched=vouched)
        self._leaders.submit(request.partition, pending)

    def _attempt(self, request: Request, worker: int) -> Attempt:
        request.sent = True
        left_ms = max(1, request.deadline_ms - self._ctx.now_ms)
        leader = self._leaders.leader_of(request.partition) or request.hint
        relay = not request.relayed and leader not in (0, worker, self._ctx.worker)
        vouched = bool(request.witness)
        return Attempt(self._register(request), request.operation, left_ms, relay=relay, vouched=vouched)

    # --- outcomes ---------------------------------------------------------------------------------

    def answered(self, worker: int, reply: ExecuteReply) -> None:
        """Take in a leader's outcomes."""
        batch = self._lanes[worker].answered(reply.number)
        if batch:
            self._take_promises(batch, dict(reply.promises))
        for number, outcome in reply.outcomes:
            self.settled(number, outcome)

    def _take_promises(self, batch: list[Request | Ask], promises: dict[int, Ballot]) -> None:
        """Take a replica's answers to what a batch has asked; those that it gave none to are refusals."""
        for item in batch:
            if isinstance(item, Ask):
                for request in item.answered(promises.get(item.partition, REFUSED)):
                    self._judge(request)

    def _judge(self, request: Request) -> None:
        """Answer once leader and witness have both spoken; if they contradict, ask the leader again."""
        found, promise = request.found, self._witnesses.word(request)
        if found is None or found.ballot is None or promise is None:
            return
        self._requests.pop(request.number, None)
        if promise <= found.ballot and request.witness != found.leader:
            request.answer(msgspec.structs.replace(found, ballot=None))
        else:
            self._ask_leader(request)

    def _ask_leader(self, request: Request) -> None:
        """Try anew, and let the leader itself have its answer confirmed."""
        request.alone = True
        request.hint = 0
        self._retry(request, "no majority confirmed the leader in time")

    def settled(self, token: int, outcome: Outcome) -> None:
        """Take the outcome of one try."""
        request = self._requests.pop(token, None)
        if request is None or request.done:
            return
        if outcome.status is not Status.NOT_LEADER:
            if outcome.leader:
                self._hints[request.partition] = outcome.leader
            if outcome.ballot is None:
                request.answer(outcome)
                return
            request.found, request.found_ms = outcome, self._ctx.now_ms
            self._requests[token] = request
            self._judge(request)
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
        sent, unsent = self._lanes[worker].broken_drop()
        self._unasked(worker, [*sent, *unsent])
        self._unsent(unsent, "the leader could not be reached")
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
        unsent = self._lanes[worker].withdraw()
        self._unasked(worker, unsent)
        self._unsent(unsent, "the leader does not answer")
        for number in self._sent_to(worker):
            if self._requests[number].operation.kind is Kind.GET:
                self._retry(self._requests.pop(number), "the leader does not answer")

    def _unasked(self, worker: int, items: list[Request | Ask]) -> None:
        """Do without the answers to questions that a peer was never put, or will not answer."""
        for item in items:
            if isinstance(item, Ask):
                self._witnesses.left(worker, item)
        self._take_promises(items, {})

    def _unsent(self, items: list[Request | Ask], reason: str) -> None:
        for item in items:
            if isinstance(item, Request) and not item.done:
                self._retry(item, reason)

    def _sent_to(self, worker: int) -> list[int]:
        return [
            number
            for number, request in self._requests.items()
            if request.target == worker and request.sent and request.found is None
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
        """Give up what is past its deadline; do without witnesses that keep silent."""
        now = self._ctx.now_ms
        for number, request in list(self._requests.items()):
            if request.deadline_ms <= now:
                del self._requests[number]
                if request.found is None:
                    request.lose("the leader has not answered in time")
                else:
                    request.fail("no majority confirmed the leader in time")
            elif request.found is not None and now - request.found_ms >= self._ctx.timing.hedge_ms:
                del self._requests[number]
                self._ask_leader(request)
        for lane in self._lanes.values():
            for item in lane.queued():
                if isinstance(item, Request) and item.deadline_ms <= now:
                    item.fail("the leader could not be reached in time")
