"""A cluster in memory for tests: real machines and real stores, simulated disks, network and time.

Nothing here is concurrent: events run one by one in an order that the seed alone decides, so one
seed is one exact history. Time is in milliseconds and passes only in ``run`` and ``until``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

import msgspec

from kvnode.core.operations import Condition, Kind, Operation, Outcome, Status
from kvnode.core.records import Record
from kvnode.core.replica import load
from kvnode.core.ring import Member, Ring
from kvnode.core.settings import Bounds, Timing
from kvnode.replication.host import PROTOCOL
from tests.simulation.events import Events
from tests.simulation.invariants import Invariants
from tests.simulation.network import Network
from tests.simulation.worker import SimWorker

FAST = Timing(
    heartbeat_ms=50,
    suspect_ms=250,
    stable_ms=600,
    prepare_retry_ms=100,
    backoff_ms=20,
    hedge_ms=50,
    ask_again_ms=100,
    compare_ms=400,
    tombstone_ms=500,
    follow_ms=400,
    follow_operations=3,
)
EAGER = msgspec.structs.replace(FAST, stable_ms=100, follow_ms=0, follow_operations=1)
"""Leadership follows every operation to the worker by which it has come."""

TIMEOUT_MS = 1000
OLDER = (2, 2)
"""The protocol of workers that are asked for no promise by coordinators."""


@dataclass(frozen=True, slots=True)
class Disks:
    """How workers use their disks. ``tidies``: hints are written, segments merged and scrubbed meanwhile."""

    segment_bytes: int = 16 * 1024
    reserve_bytes: int = 0
    tidies: bool = False

    @property
    def scrub_bytes_per_s(self) -> int:
        """How fast the scrub reads; what a step costs does not matter here."""
        return 1 << 20 if self.tidies else 0


class Call:
    """A client's operation: when it began, and how and when it ended (None: not yet, or never)."""

    def __init__(self, worker: int, operation: Operation, began_us: int) -> None:
        self.worker = worker
        self.client = 0
        self.operation = operation
        self.began_us = began_us
        self.ended_us: int | None = None
        self.outcome: Outcome | None = None
        self.on_end: Callable[[], None] | None = None

    def end(self, now_us: int, outcome: Outcome | None) -> None:
        """Take the answer, or None: none will ever come."""
        self.ended_us, self.outcome = now_us, outcome
        if self.on_end is not None:
            self.on_end()

    @property
    def began_ms(self) -> int:
        """When it began, to the millisecond."""
        return self.began_us // 1000

    @property
    def ended_ms(self) -> int | None:
        """When it ended, to the millisecond."""
        return None if self.ended_us is None else self.ended_us // 1000

    @property
    def status(self) -> Status | None:
        """How it ended."""
        return None if self.outcome is None else self.outcome.status


class SimCluster:
    """``workers`` workers on hosts of their own, started and linked by the passing of time."""

    def __init__(
        self,
        seed: int = 1,
        *,
        workers: int = 4,
        partitions: int = 4,
        replicas: int = 3,
        bounds: Bounds | None = None,
        timing: Timing = FAST,
        disks: Disks | None = None,
        protocol: tuple[int, int] = PROTOCOL,
    ) -> None:
        self.random = Random(seed)
        self.events = Events()
        self.numbers = list(range(1, workers + 1))
        members = [Member(number, f"host-{number}") for number in self.numbers]
        self.ring = Ring.build(members, partitions=partitions, vnodes=16, replicas=replicas)
        self.timing = timing
        self.protocol = protocol
        self.bounds = bounds or Bounds()
        self.disks = disks or Disks()
        self.survives: Callable[[int], int] = lambda _unsynced: 0
        self.invariants = Invariants()
        self.notes: list[tuple[int, int, str, dict[str, object]]] = []
        self._calls: dict[tuple[int, int], Call] = {}
        self._token = 0
        self.workers = {number: SimWorker(number, self) for number in self.numbers}
        self.network = Network(self.events, self.random, self.workers)
        for number in self.numbers:
            self.start(number)

    # --- time -------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        """The present."""
        return self.events.now_ms

    def run(self, duration_ms: int) -> None:
        """Let time pass."""
        self.events.run(self.now_ms + duration_ms)

    def until(self, condition: Callable[[], object], within_ms: int = 10_000, step_ms: int = 1) -> None:
        """Let time pass until ``condition`` is true; fail when it is not ``within_ms``."""
        end_ms = self.now_ms + within_ms
        while not condition():
            if self.now_ms >= end_ms:
                raise AssertionError(f"not true within {within_ms} ms: {self.describe()}")
            self.events.run(min(end_ms, self.now_ms + step_ms))

    # --- faults -----------------------------------------------------------------------------------

    def start(self, number: int) -> None:
        """Start a worker that is down; it stays down if its power goes again meanwhile."""
        if self.workers[number].start():
            self.network.dial_all(number)

    def crash(self, number: int, *, silent: bool = False) -> None:
        """Kill a worker: what was not synced is lost. ``silent``: no peer is told, as when a host dies."""
        worker = self.workers[number]
        if not worker.up:
            return
        worker.crash()
        self.network.died(number, silent=silent)
        for key in [key for key in self._calls if key[0] == number]:
            self._calls.pop(key).end(self.events.now_us, None)

    def restart(self, number: int) -> None:
        """Crash a worker and start it again."""
        self.crash(number)
        self.start(number)

    def wipe(self, number: int) -> None:
        """Put an empty disk into a worker that is down."""
        self.workers[number].wipe()

    def isolate(self, number: int) -> None:
        """Cut a worker off from all others, both ways."""
        for other in self.numbers:
            self.network.cut(number, other)
            self.network.cut(other, number)

    def heal(self) -> None:
        """End all cuts and pauses."""
        self.network.heal()
        for worker in self.workers.values():
            worker.resume()

    # --- clients ----------------------------------------------------------------------------------

    def submit(self, worker: int, operation: Operation, timeout_ms: int = TIMEOUT_MS) -> Call:
        """Bring an operation to a worker; the call tells later what came of it."""
        call = Call(worker, operation, self.events.now_us)
        self._token += 1
        self._calls[worker, self._token] = call
        machine = self.workers[worker].machine
        self.workers[worker].take(machine.execute, operation, timeout_ms, self._token)
        return call

    def answered(self, worker: int, token: int, outcome: Outcome) -> None:
        """Take the answer to a call: exactly one."""
        self._calls.pop((worker, token)).end(self.events.now_us, outcome)

    def finish(self, call: Call) -> Outcome:
        """Let time pass until a call is answered."""
        self.until(lambda: call.outcome is not None)
        assert call.outcome is not None
        return call.outcome

    def execute(self, worker: int, operation: Operation, timeout_ms: int = TIMEOUT_MS) -> Outcome:
        """Bring an operation to a worker and wait for its outcome."""
        return self.finish(self.submit(worker, operation, timeout_ms))

    def put(self, worker: int, key: str, value: bytes, condition: Condition | None = None) -> Outcome:
        """Put a value through a worker."""
        return self.execute(worker, Operation(Kind.PUT, key, value, condition))

    def get(self, worker: int, key: str) -> Outcome:
        """Read a key through a worker."""
        return self.execute(worker, Operation(Kind.GET, key))

    def delete(self, worker: int, key: str, condition: Condition | None = None) -> Outcome:
        """Delete a key through a worker."""
        return self.execute(worker, Operation(Kind.DELETE, key, None, condition))

    def key(self, primary: int) -> str:
        """Return a key whose partition has that primary."""
        names = (f"key-{number}" for number in range(1000))
        return next(name for name in names if self.replicas(name)[0] == primary)

    def replicas(self, key: str) -> tuple[int, ...]:
        """Return the replicas of a key, primary first."""
        return self.ring.preference_list(self.ring.partition(key))

    def outsider(self, key: str) -> int:
        """Return a worker that holds no copy of a key."""
        return next(number for number in self.numbers if number not in self.replicas(key))

    # --- looking in -------------------------------------------------------------------------------

    def up(self) -> list[SimWorker]:
        """Return the workers that are running."""
        return [worker for worker in self.workers.values() if worker.up]

    def ready(self, numbers: Iterable[int] | None = None) -> bool:
        """Whether workers (all) are up and call themselves ready."""
        chosen = [self.workers[number] for number in numbers or self.numbers]
        return all(worker.up and not worker.machine.not_ready() for worker in chosen)

    def leader(self, key: str) -> int:
        """Return the worker with the highest ballot among those that lead a key's partition (0: none)."""
        partition = self.ring.partition(key)
        leads = [
            (worker.machine.leaders.led[partition].ballot, worker.number)
            for worker in self.up()
            if partition in worker.machine.leaders.led
        ]
        return max(leads)[1] if leads else 0

    def at_home(self) -> bool:
        """Whether every partition is led by its primary, and settled."""
        return all(
            self.workers[primary].up
            and (lead := self.workers[primary].machine.leaders.led.get(partition)) is not None
            and lead.settled
            for partition in range(self.ring.partitions)
            for primary in self.ring.preference_list(partition)[:1]
        )

    def held(self, number: int, key: str) -> Record | None:
        """Return the record of a key on one worker's disk."""
        return load(self.workers[number].machine.ctx, self.ring.partition(key), key)

    def copies(self, key: str) -> list[Record | None]:
        """Return the record of a key on each of its replicas, primary first."""
        return [self.held(number, key) for number in self.replicas(key)]

    def healthy(self) -> bool:
        """Whether all workers are ready and every partition is led by its primary."""
        return self.ready() and self.at_home()

    def converged(self) -> bool:
        """Whether all replicas of every partition hold the same."""
        return all(
            len({self.workers[number].store.tree(partition).root for number in replicas}) == 1
            for partition in range(self.ring.partitions)
            for replicas in [self.ring.preference_list(partition)]
        )

    def noted(self, event: str) -> list[dict[str, object]]:
        """Return the fields of all events of a name, oldest first."""
        return [fields for _, _, name, fields in self.notes if name == event]

    def describe(self) -> str:
        """Say in a few words how things stand, for a failure's message."""
        lines = [f"at {self.now_ms} ms"]
        for worker in self.workers.values():
            if worker.up:
                led = {p: tuple(lead.ballot) for p, lead in worker.machine.leaders.led.items()}
                live = [peer.worker for peer in worker.machine.peers if peer.live]
                reasons = worker.machine.not_ready()
                lines.append(f"worker {worker.number}: leads {led}, sees {live}, {reasons}")
            else:
                lines.append(f"worker {worker.number}: down")
        return "\n".join(lines)


def formed(
    seed: int = 1,
    *,
    bounds: Bounds | None = None,
    timing: Timing = FAST,
    protocol: tuple[int, int] = PROTOCOL,
) -> SimCluster:
    """Return a cluster that has formed, with every partition led by its primary."""
    cluster = SimCluster(seed, bounds=bounds, timing=timing, protocol=protocol)
    cluster.until(cluster.healthy)
    return cluster
