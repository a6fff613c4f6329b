"""Random schedules: clients that work on a few hot keys while workers and links fail."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kvnode.core.operations import Condition, Kind, Operation, Status
from kvnode.core.versions import Version
from tests.simulation.cluster import Call, SimCluster, formed

KEYS = ("a", "b", "c")
CLIENTS = 4
CHAOS_MS = 3000
FAULT_EVERY_MS = 150
TIMEOUT_MS = 400
THINK_MS = 60


class Chaos:
    """One schedule on one cluster. ``calls`` is what the clients did and saw."""

    def __init__(self, seed: int, *, wipes: bool = False) -> None:
        self.cluster: SimCluster = formed(seed)
        self.calls: list[Call] = []
        self._random = self.cluster.random
        self._wipes = wipes
        self._seen: dict[str, Version] = {}
        self._end_ms = self.cluster.now_ms + CHAOS_MS
        self._wiped = 0

    def run(self) -> None:
        """Run clients and faults, then heal everything and wait until all copies are equal."""
        for _ in range(CLIENTS):
            self._think()
        self._fault_later()
        cluster = self.cluster
        cluster.run(CHAOS_MS)
        cluster.heal()
        for worker in cluster.numbers:
            if not cluster.workers[worker].up:
                cluster.start(worker)
        cluster.run(2 * TIMEOUT_MS)
        cluster.until(lambda: cluster.healthy() and cluster.converged(), 20_000)
        for key in KEYS:
            for worker in cluster.numbers:
                call = cluster.submit(worker, Operation(Kind.GET, key))
                assert cluster.finish(call).status in (Status.OK, Status.ABSENT)
                self.calls.append(call)

    # --- clients ----------------------------------------------------------------------------------

    def _think(self) -> None:
        self.cluster.events.after(1 + self._random.randrange(THINK_MS), self._act)

    def _act(self) -> None:
        if self.cluster.now_ms >= self._end_ms:
            return
        running = [worker.number for worker in self.cluster.up()]
        if not running:
            self._think()
            return
        call = self.cluster.submit(self._random.choice(running), self._operation(), TIMEOUT_MS)
        self.calls.append(call)
        self._watch(call)

    def _watch(self, call: Call) -> None:
        if call.ended_ms is None:
            self.cluster.events.after(5, partial(self._watch, call))
            return
        if call.status is Status.OK and call.outcome is not None and call.outcome.version is not None:
            self._seen[call.operation.key] = call.outcome.version
        self._think()

    def _operation(self) -> Operation:
        random = self._random
        key = random.choice(KEYS)
        kind = random.choices([Kind.GET, Kind.PUT, Kind.DELETE], [4, 4, 1])[0]
        if kind is Kind.GET:
            return Operation(kind, key)
        condition = None
        draw = random.random()
        if draw < 0.15:
            condition = Condition(absent=True) if kind is Kind.PUT else Condition(present=True)
        elif draw < 0.5 and key in self._seen:
            condition = Condition(any_of=(self._seen[key],))
        value = b'"%d"' % len(self.calls) if kind is Kind.PUT else None
        return Operation(kind, key, value, condition)

    # --- faults -----------------------------------------------------------------------------------

    def _fault_later(self) -> None:
        self.cluster.events.after(self._random.randrange(2 * FAULT_EVERY_MS), self._fault)

    def _fault(self) -> None:
        if self.cluster.now_ms >= self._end_ms:
            return
        cluster, random = self.cluster, self._random
        victim = random.choice(cluster.numbers)
        other = random.choice([number for number in cluster.numbers if number != victim])
        faults: list[Callable[[], None]] = [
            partial(self._crash, victim),
            partial(self._crash, victim),
            partial(cluster.network.cut, victim, other),
            partial(cluster.network.cut_both, victim, other),
            partial(cluster.isolate, victim),
            partial(cluster.network.close, victim, other),
            cluster.heal,
            cluster.heal,
            cluster.workers[victim].pause,
        ]
        random.choice(faults)()
        self._fault_later()

    def _crash(self, victim: int) -> None:
        cluster, random = self.cluster, self._random
        cluster.crash(victim, silent=random.random() < 0.3)
        if self._wipes and not self._wiped and random.random() < 0.5:
            self._wiped = victim
            cluster.wipe(victim)
        down_ms = random.choice((1, 50, 400, 1500))
        cluster.events.after(down_ms, partial(self._start, victim))

    def _start(self, victim: int) -> None:
        if not self.cluster.workers[victim].up:
            self.cluster.start(victim)
