"""One worker as a pure state machine: all parts wired, messages and clock in, effects out.

Whoever drives it sets the clock, hands in one input after another, calls ``flush`` when no more
input waits, and then carries out ``effects()`` in order. It never blocks, sleeps or fails for a
peer's fault; it raises only what the journal raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from kvnode.core.anti_entropy import AntiEntropy
from kvnode.core.calls import Calls
from kvnode.core.confirmations import Confirmations
from kvnode.core.context import Context
from kvnode.core.coordinator import Coordinator
from kvnode.core.copies import Copies
from kvnode.core.effects import Effect
from kvnode.core.executor import Executor
from kvnode.core.forgetting import Forgetting
from kvnode.core.formation import Formation
from kvnode.core.heartbeats import Heartbeats
from kvnode.core.identity import IdentityStore
from kvnode.core.journal import Journal
from kvnode.core.leaders import Leaders
from kvnode.core.messages import (
    AcceptBatch,
    AcceptItem,
    AcceptReply,
    ConfirmBatch,
    ConfirmReply,
    ExecuteBatch,
    ExecuteReply,
    Form,
    HandOver,
    HandOverReply,
    Hello,
    Prepare,
    ReadStates,
    Refusal,
    Reply,
    Request,
    SetFloor,
    Sync,
)
from kvnode.core.operations import Operation, Outcome
from kvnode.core.peers import Peers
from kvnode.core.readiness import Readiness
from kvnode.core.rebuild import Rebuild
from kvnode.core.replica import Replica
from kvnode.core.ring import Ring
from kvnode.core.settings import Bounds, Timing
from kvnode.errors import NoSpaceError

HOUSEKEEPING_MS = 50


class Storage(Journal, IdentityStore, Protocol):
    """The journal and identity of one disk."""


class WorkerMachine:
    """The protocol of one worker."""

    def __init__(
        self,
        worker: int,
        workers: list[int],
        ring: Ring,
        storage: Storage,
        *,
        random: Callable[[], float],
        new_cluster_id: Callable[[], str],
        timing: Timing | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        ctx = Context(
            worker,
            ring,
            storage,
            random=random,
            timing=timing or Timing(),
            bounds=bounds or Bounds(),
        )
        self.ctx = ctx
        self.peers = Peers(ctx, workers)
        self.calls = Calls(ctx)
        self.copies = Copies(ctx, [peer.worker for peer in self.peers])
        self.confirmations = Confirmations(ctx, self.peers)
        self.leaders = Leaders(ctx, self.peers, self.calls, self.copies, self.confirmations)
        self.replica = Replica(ctx, self.leaders)
        self.coordinator = Coordinator(ctx, self.peers, self.leaders)
        self.executor = Executor(ctx, self.peers, self.leaders, self.coordinator)
        self.forgetting = Forgetting(ctx, self.calls, self.leaders)
        self.anti_entropy = AntiEntropy(
            ctx, self.peers, self.calls, self.copies, self.leaders, self.forgetting
        )
        self.formation = Formation(ctx, self.peers, self.calls, storage, new_cluster_id)
        self.rebuild = Rebuild(ctx, self.peers, self.calls, self.formation, self.leaders.rebuilt)
        self.heartbeats = Heartbeats(
            ctx, self.peers, self.coordinator, self.leaders, self.anti_entropy, self.rebuild
        )
        self.readiness = Readiness(ctx, self.peers, self.formation, self.rebuild, self.leaders)
        self.confirmations.watcher = self.leaders
        self.confirmations.heartbeat = self.heartbeats.batch
        self.confirmations.due = self.heartbeats.due
        self.copies.watcher = self
        self.peers.watch(self.calls)
        self.peers.watch(self.coordinator)
        self.peers.watch(self.leaders)
        self._housekept_ms = 0
        self._looked_ms = 0

    # --- links ------------------------------------------------------------------------------------

    def link_up(self, hello: Hello) -> None:
        """The link to a peer's process is open."""
        self.copies.link_up(hello.worker)
        self.anti_entropy.link_up(hello.worker)
        self.peers.link_up(hello)
        self.confirmations.introduce(hello.worker, self.leaders.led_before(hello.worker))

    def link_down(self, worker: int) -> None:
        """The link to a peer is gone: nothing sent over it will be answered."""
        self.copies.link_down(worker)
        self.peers.link_down(worker)
        self.calls.peer_lost(worker)
        self.confirmations.link_down(worker)
        self.coordinator.link_down(worker)

    # --- requests of peers ------------------------------------------------------------------------

    def receive(self, sender: Hello, request: Request, token: int) -> None:
        """Take a peer's request; ``Respond`` effects with this token answer it.

        What comes from a disk that was replaced since is dropped: it may speak in the name of votes
        that count no more.
        """
        worker = sender.worker
        if self.formation.replaced(sender):
            return
        if isinstance(request, AcceptBatch):
            self.replica.accept(token, request)
        elif isinstance(request, ConfirmBatch):
            self._confirm(worker, request, token)
        elif isinstance(request, ExecuteBatch):
            self.executor.execute(worker, sender.process, token, request)
        else:
            self._asked(sender, request, token)

    def _asked(self, sender: Hello, request: Request, token: int) -> None:
        if isinstance(request, Prepare):
            self.replica.prepare(token, request)
        elif isinstance(request, ReadStates):
            self.replica.read_states(token, request)
        elif isinstance(request, Sync):
            self._sync(sender, request, token)
        elif isinstance(request, SetFloor):
            self.replica.set_floor(token, request)
        elif isinstance(request, HandOver):
            self.leaders.asked_to_lead(request.partitions)
            self.ctx.outbox.respond(token, HandOverReply(request.number))
        elif isinstance(request, Form):
            self.formation.formed(token, request)

    def _confirm(self, worker: int, batch: ConfirmBatch, token: int) -> None:
        self.peers.told(worker, batch)
        refused = self.replica.confirm(batch)
        self.leaders.agreed(worker, batch.agreed)
        reply = self.heartbeats.reply(worker, batch, refused)
        self.ctx.outbox.respond(token, reply)

    def _sync(self, sender: Hello, request: Sync, token: int) -> None:
        if not request.incarnation:
            self.replica.sync(token, request)
            return
        if request.incarnation != sender.incarnation or self.ctx.journal.full:
            self.replica.refuse_copy(token, request)
            return
        try:
            news = self.formation.note_incarnation(sender.worker, request.incarnation)
        except NoSpaceError:
            self.replica.refuse_copy(token, request)
            return
        self.copies.tell(sender.worker)
        if news:
            self.leaders.forget_votes(sender.worker)
        elif not request.after:
            self.leaders.forget_votes(sender.worker, request.partition)
        self.replica.copy(token, request)

    # --- replies of peers -------------------------------------------------------------------------

    def reply(self, worker: int, reply: Reply) -> None:
        """Take a peer's reply over the link that is up."""
        hello = self.peers[worker].hello
        if hello is None or self.formation.replaced(hello):
            return
        if isinstance(reply, ConfirmReply):
            self.peers.answered(worker, reply)
            self.confirmations.answered(worker, reply)
            return
        self.peers.heard(worker)
        if isinstance(reply, AcceptReply):
            self.copies.answered(worker, reply)
        elif isinstance(reply, ExecuteReply):
            self.coordinator.answered(worker, reply)
        else:
            self.calls.answered(worker, reply)

    def copied(self, worker: int, item: AcceptItem) -> None:
        """Count a copy that became durable on a peer."""
        self.leaders.copied(worker, item)

    def copy_refused(self, worker: int, item: AcceptItem, refusal: Refusal) -> None:
        """Hear why a peer refused a copy; unless another leads, compare with it later."""
        self.leaders.copy_refused(worker, item, refusal)
        self.anti_entropy.copy_dropped(worker, item)

    def copy_dropped(self, worker: int, item: AcceptItem) -> None:
        """Leave a copy that did not fit its queue to anti-entropy."""
        self.anti_entropy.copy_dropped(worker, item)

    # --- clients, storage, time -------------------------------------------------------------------

    def execute(self, operation: Operation, timeout_ms: int, token: int) -> None:
        """Carry out a client's operation; one ``Answer`` effect with this token follows."""
        self.coordinator.execute(operation, self.ctx.now_ms + timeout_ms, self, token)

    def settled(self, token: int, outcome: Outcome) -> None:
        """Answer a client."""
        self.ctx.outbox.answer(token, outcome)

    def durable(self) -> None:
        """The journal's ``durable_lsn`` has grown."""
        self.ctx.durability.advanced()

    def damaged(self, partitions: Iterable[int]) -> None:
        """Take note that records of these partitions are lost: no vote here until they are copied anew."""
        lost = sorted(self.ctx.held.intersection(partitions))
        if not lost:
            return
        self.ctx.outbox.note("partitions_damaged", partitions=lost)
        for partition in lost:
            self.ctx.journal.clear_voting(partition)
            self.leaders.damaged(partition)
            self.rebuild.restart(partition)

    @property
    def at_rest(self) -> bool:
        """Whether nothing is under way that a tick could move on: one every ``HOUSEKEEPING_MS`` will do."""
        return self.coordinator.at_rest and self.executor.idle

    def tick(self) -> None:
        """Let time pass: call every few milliseconds, with the clock set."""
        self.coordinator.go_on()
        self.executor.go_on()
        if self.ctx.now_ms - self._housekept_ms < HOUSEKEEPING_MS:
            return
        self._housekept_ms = self.ctx.now_ms
        self.peers.tick()
        self.calls.tick()
        self.confirmations.tick()
        self.coordinator.tick()
        self.formation.tick()
        self.rebuild.tick()
        self.leaders.tick()
        self.anti_entropy.tick()
        self.forgetting.tick()
        if self.ctx.now_ms - self._looked_ms >= self.ctx.timing.heartbeat_ms:
            self._looked_ms = self.ctx.now_ms
            self.heartbeats.ready = not self.not_ready()

    def flush(self) -> None:
        """Send what has gathered: call when no more input waits."""
        if self.ctx.damaged:
            damaged, self.ctx.damaged = self.ctx.damaged, set()
            self.damaged(damaged)
        self.coordinator.go_on()
        self.coordinator.flush()
        self.leaders.flush()
        self.confirmations.flush()
        self.copies.flush()

    def effects(self) -> list[Effect]:
        """Take the effects of the inputs so far, in order."""
        return self.ctx.outbox.take()

    # --- what operators ask -----------------------------------------------------------------------

    def not_ready(self) -> list[str]:
        """Return why this worker is not ready to be relied on: empty when it votes and is caught up."""
        return self.readiness.reasons()

    @property
    def state(self) -> str:
        """Return the one word for what this worker is doing."""
        return self.readiness.state

    def drain(self) -> None:
        """Begin to stop in good order."""
        self.leaders.drain()

    @property
    def drained(self) -> bool:
        """Whether nothing is left that others wait for: no leadership, no attempt, no caller."""
        others = [peer for peer in self.peers if peer.live]
        return self.leaders.drained and self.executor.idle and all(peer.quiet for peer in others)
