"""One worker for real: drives the pure state machine with a clock, a store and a network.

Everything runs on one event loop; only the log's writer has a thread of its own. Operations that arrive
in the same turn of the loop are gathered before anything is sent; what follows from a message, which
brings many at once, leaves without delay. Clients are answered after what goes to peers, who have work
to do with it. Whatever the machine or the store raises stops the worker: a
state that is not understood is not acted on.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable
from time import monotonic

from kvnode.config import WorkerConfig
from kvnode.core.effects import Answer, CloseLink, Effect, Note, Proceed, Respond, Send
from kvnode.core.messages import AcceptBatch, ExecuteBatch, Hello, Reply, Request
from kvnode.core.operations import Kind, Operation, Outcome, Status
from kvnode.core.ring import Place
from kvnode.core.settings import Bounds, Timing
from kvnode.core.status import KeyPage, Report, WorkerStatus
from kvnode.core.worker import HOUSEKEEPING_MS, WorkerMachine
from kvnode.errors import MismatchError, PeerError
from kvnode.logs import LogBuffer, get_logger
from kvnode.metrics import OPERATIONS
from kvnode.replication.gauges import Gauges
from kvnode.replication.processors import gather_operations
from kvnode.replication.reports import Reporter
from kvnode.replication.transport import Transport
from kvnode.storage.store import Store

TICK_S = 0.02
CALM_TICK_S = HOUSEKEEPING_MS / 1000
GAUGES_S = 1.0
EPOCH = 1
PROTOCOL = (2, 3)
WARNINGS = frozenset({"peer_suspected", "leadership_lost", "partitions_damaged"})

_COUNTED = {(kind, status): (kind.name.lower(), status.name.lower()) for kind in Kind for status in Status}

_log = get_logger()


class WorkerHost:
    """The worker's protocol as a service: for clients' operations, for peers and for the controller.

    To be used on one event loop. ``failed`` is called once, with what was raised, when the worker
    must stop; ``release`` is the software's version.
    """

    def __init__(
        self,
        config: WorkerConfig,
        store: Store,
        logs: LogBuffer,
        *,
        release: str,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._config = config
        self._store = store
        self._failed = failed
        self._release = release
        self._process = uuid.uuid4().hex
        self._layout = config.cluster.layout_digest()
        self._loop = asyncio.get_running_loop()
        self._transport: Transport | None = None
        self._stopped = False
        self._flush_due = False
        self._gauges_due_s = 0.0
        self._token = 0
        self._answers: dict[int, tuple[Kind, Callable[[Outcome], None]]] = {}
        self._responds: dict[int, Callable[[Reply], None]] = {}
        self._ring = config.cluster.ring()
        limits, detector = config.limits, config.detector
        self.machine = WorkerMachine(
            config.worker.id,
            [entry.id for entry in config.cluster.workers],
            self._ring,
            store,
            random=random.Random().random,
            new_cluster_id=lambda: uuid.uuid4().hex,
            timing=Timing(
                heartbeat_ms=detector.heartbeat_ms,
                suspect_ms=detector.suspect_ms,
                stable_ms=detector.stable_ms,
                gather_operations=gather_operations(config.cluster),
            ),
            bounds=Bounds(latent_records=limits.latent_records, latent_bytes=limits.latent_bytes),
        )
        self._gauges = Gauges(self.machine, store)
        self._reporter = Reporter(self.machine, store, logs, process=self._process, release=release)
        self.machine.ctx.on_append = self._reporter.appended

    # --- life -------------------------------------------------------------------------------------

    def start(self, transport: Transport) -> None:
        """Begin: from now on time passes and effects are carried out."""
        self._transport = transport
        self._set_clock()
        self._tick()

    def durable(self, _lsn: int) -> None:
        """Take the store's news of durability, from any thread."""
        self._loop.call_soon_threadsafe(self._input, self.machine.durable)

    def damaged(self, partitions: frozenset[int]) -> None:
        """Take the store's news of lost records, from any thread."""
        self._loop.call_soon_threadsafe(self._input, self.machine.damaged, partitions)

    async def drain(self, grace_s: float) -> bool:
        """Finish what is under way and hand over what is led; False if ``grace_s`` did not suffice."""
        self._input(self.machine.drain)
        deadline_s = monotonic() + grace_s
        while not self.machine.drained and not self._stopped:
            if monotonic() >= deadline_s:
                return False
            await asyncio.sleep(TICK_S)
        return not self._stopped

    def stop(self) -> None:
        """Do nothing more; what still waits is answered as unavailable or unknown."""
        self._stopped = True
        for token in list(self._answers):
            self._answer(token, Outcome(Status.UNKNOWN, reason="the worker is stopping"))

    # --- clients ----------------------------------------------------------------------------------

    def begin(self, operation: Operation, timeout_s: float, done: Callable[[Outcome], None]) -> None:
        """Carry out an operation; its outcome, which ``done`` is told, tells of every trouble."""
        if self._stopped:
            done(Outcome(Status.OVERLOADED, reason="the worker is stopping"))
            return
        token = self._next_token()
        self._answers[token] = operation.kind, done
        self._take(self.machine.execute, operation, int(timeout_s * 1000), token)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush_gathered)

    def _answer_all(self, answers: list[Answer]) -> None:
        for answer in answers:
            self._answer(answer.token, answer.outcome)

    def _answer(self, token: int, outcome: Outcome) -> None:
        if token not in self._answers:  # the worker has stopped since
            return
        kind, done = self._answers.pop(token)
        OPERATIONS.add(*_COUNTED[kind, outcome.status])
        try:
            done(outcome)
        except Exception as error:  # noqa: BLE001 - of whoever asked, and no concern of the machine
            _log.error("answer_crashed", exc_info=error)

    def partition(self, key: str) -> int:
        """Return the partition of a key."""
        return self._ring.partition(key)

    def place(self, key: str) -> Place:
        """Return where a key lives."""
        partition = self._ring.partition(key)
        replicas = self._ring.preference_list(partition)
        return Place(partition, replicas, self.machine.leaders.leader_of(partition))

    def readiness(self) -> list[str]:
        """Return why the worker is not ready; empty when it votes and is caught up."""
        return self.machine.not_ready()

    def status(self) -> WorkerStatus:
        """Return what the worker says of itself."""
        return self._reporter.status()

    def report(self, number: int) -> Report:
        """Return the next report for the controller."""
        return self._reporter.report(number)

    def stored_keys(self, prefix: str, after: str, limit: int) -> KeyPage:
        """Return a page of the keys on this worker's disk."""
        return self._reporter.stored_keys(prefix, after, limit)

    # --- the transport's Inbox --------------------------------------------------------------------

    def hello(self) -> Hello:
        """Return what this worker says of itself as of now."""
        identity = self._store.identity
        return Hello(
            worker=self._config.worker.id,
            process=self._process,
            incarnation=identity.incarnation,
            cluster_id=identity.cluster_id,
            layout=self._layout,
            epoch=EPOCH,
            voting=bool(identity.cluster_id) and not self.machine.rebuild.remaining,
            votes_in=self.machine.rebuild.votes_in,
            release=self._release,
            protocol=PROTOCOL,
        )

    def check(self, theirs: Hello) -> None:
        """Accept a peer's greeting or raise MismatchError."""
        if theirs.layout != self._layout:
            raise MismatchError(
                f"worker {theirs.worker} has another cluster layout ({theirs.layout}, ours is "
                f"{self._layout}): workers, hosts, zones, weights, partitions, vnodes and replicas "
                "must be the same on every node"
            )
        if theirs.epoch != EPOCH:
            raise MismatchError(f"worker {theirs.worker} is in epoch {theirs.epoch}, not {EPOCH}")
        if theirs.protocol[0] > PROTOCOL[1] or theirs.protocol[1] < PROTOCOL[0]:
            raise MismatchError(
                f"worker {theirs.worker} speaks protocol {theirs.protocol}, we speak {PROTOCOL}"
            )
        if theirs.worker not in {entry.id for entry in self._config.cluster.workers}:
            raise MismatchError(f"there is no worker {theirs.worker} in this cluster")
        self.machine.formation.check(theirs)

    def link_up(self, peer: Hello) -> None:
        """Take note of an open link."""
        self._input(self.machine.link_up, peer)

    def link_down(self, worker: int, reason: str) -> None:
        """Take note of a broken link."""
        _log.info("link_closed", peer=worker, reason=reason)
        self._input(self.machine.link_down, worker)

    def receive(self, sender: Hello, request: Request, respond: Callable[[Reply], None]) -> None:
        """Take in a peer's request."""
        if self._stopped:
            return
        if isinstance(request, AcceptBatch | ExecuteBatch):
            self._trace(sender.worker, request)
        token = self._next_token()
        self._responds[token] = respond
        self._input(self.machine.receive, sender, request, token)

    def reply(self, worker: int, reply: Reply) -> None:
        """Take in the answer to a request of ours."""
        self._input(self.machine.reply, worker, reply)

    def _trace(self, sender: int, request: AcceptBatch | ExecuteBatch) -> None:
        """Log what belongs to a request that is followed through the cluster."""
        if isinstance(request, AcceptBatch):
            for item in request.items:
                if item.request_id is not None:
                    record = item.record
                    _log.info(
                        "copy_received",
                        request_id=item.request_id,
                        peer=sender,
                        key=record.key,
                        version=str(record.version),
                    )
            return
        for attempt in request.attempts:
            operation = attempt.operation
            if operation.request_id is not None:
                _log.info(
                    "operation_received",
                    request_id=operation.request_id,
                    peer=sender,
                    kind=operation.kind.name,
                    key=operation.key,
                )

    # --- the machine ------------------------------------------------------------------------------

    def _next_token(self) -> int:
        self._token += 1
        return self._token

    def _set_clock(self) -> None:
        self.machine.ctx.now_ms = int(self._loop.time() * 1000)

    def _input(self, take: Callable[..., None], *args: object) -> None:
        self._take(take, *args)
        self._flush()

    def _take(self, take: Callable[..., None], *args: object) -> None:
        if self._stopped:
            return
        self._set_clock()
        try:
            take(*args)
        except Exception as error:  # noqa: BLE001 - whatever it is, the state can no longer be trusted
            self._fail(error)

    def _tick(self) -> None:
        if self._stopped:
            return
        self._input(self.machine.tick)
        if self._loop.time() >= self._gauges_due_s:
            self._gauges_due_s = self._loop.time() + GAUGES_S
            self._gauges.update()
        self._loop.call_later(CALM_TICK_S if self.machine.at_rest else TICK_S, self._tick)

    def _flush_gathered(self) -> None:
        if self._flush_due:
            self._flush()

    def _flush(self) -> None:
        self._flush_due = False
        if self._stopped:
            return
        try:
            self.machine.flush()
            effects = self.machine.effects()
            answers = [effect for effect in effects if isinstance(effect, Answer)]
            if len(answers) == len(effects):
                self._answer_all(answers)
            else:
                for effect in effects:
                    self._carry_out(effect)
                if answers:
                    self._loop.call_soon(self._answer_all, answers)
            self._store.committer.wake()
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, Send):
            self._network.send(effect.to, effect.request)
        elif isinstance(effect, Respond):
            take = self._responds.pop if effect.last else self._responds.get
            respond = take(effect.token, None)
            if respond is not None:
                respond(effect.reply)
        elif isinstance(effect, Proceed):
            self._loop.call_soon(self._input, effect.call)
        elif isinstance(effect, CloseLink):
            self._network.close_link(effect.worker, effect.reason)
        elif isinstance(effect, Note):
            log = _log.warning if effect.event in WARNINGS else _log.info
            log(effect.event, **effect.fields)

    @property
    def _network(self) -> Transport:
        if self._transport is None:
            raise PeerError("the worker has not been started")
        return self._transport

    def _fail(self, error: BaseException) -> None:
        if not self._stopped:
            self.stop()
            self._failed(error)
