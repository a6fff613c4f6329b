"""Clients that work on a few hot keys, each through a worker that it sticks to."""

from __future__ import annotations

from collections import Counter
from functools import partial
from random import Random

from kvnode.core.operations import Condition, Kind, Operation, Status
from kvnode.core.versions import Version
from tests.simulation.cluster import Call, SimCluster
from tests.simulation.plan import Plan

DOUBTS = 12
"""After so many unknown outcomes a key gives way to a fresh one, or its history could not be judged."""

SWITCHES = 0.1
DELETES = 0.12
GETS = 0.4


class Keys:
    """The few hot keys of all clients; ``all`` are those that ever were hot."""

    def __init__(self, count: int) -> None:
        self.hot = list("abcdefgh"[:count])
        self.all = list(self.hot)
        self._doubts: Counter[str] = Counter()

    def doubt(self, key: str) -> None:
        """Note that the outcome of a write is unknown."""
        self._doubts[key] += 1
        if self._doubts[key] == DOUBTS:
            fresh = f"{key}{key[0]}"
            self.hot[self.hot.index(key)] = fresh
            self.all.append(fresh)


class Client:
    """One client: at most one operation at a time on a key, and as many keys at once as its plan says."""

    def __init__(self, number: int, plan: Plan, cluster: SimCluster, keys: Keys, calls: list[Call]) -> None:
        self.number = number
        self._keys = keys
        self._plan = plan
        self._cluster = cluster
        self._random: Random = cluster.random
        self._calls = calls
        self._worker = self._random.choice(cluster.numbers)
        self._busy: set[str] = set()
        self._seen: dict[str, Version | None] = {}
        self._stopped = False

    def start(self) -> None:
        """Begin to work."""
        for _ in range(self._plan.in_flight):
            self._think()

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True

    def _think(self) -> None:
        self._cluster.events.after(1 + self._random.randrange(self._plan.think_ms), self._act)

    def _act(self) -> None:
        if self._stopped:
            return
        free = [key for key in self._keys.hot if key not in self._busy]
        worker = self._choose_worker()
        if not free or not worker:
            self._think()
            return
        key = self._random.choice(free)
        self._busy.add(key)
        call = self._cluster.submit(worker, self._operation(key), self._plan.timeout_ms)
        call.client = self.number
        self._calls.append(call)
        if call.ended_us is None:
            call.on_end = partial(self._ended, call)
        else:
            self._ended(call)

    def _choose_worker(self) -> int:
        if self._random.random() < SWITCHES or not self._cluster.workers[self._worker].up:
            self._worker = self._random.choice(self._cluster.numbers)
        return self._worker if self._cluster.workers[self._worker].up else 0

    def _ended(self, call: Call) -> None:
        key, outcome = call.operation.key, call.outcome
        self._busy.discard(key)
        if call.operation.kind is not Kind.GET and (outcome is None or outcome.status is Status.UNKNOWN):
            self._keys.doubt(key)
        if outcome is not None and outcome.status in (Status.OK, Status.CONDITION_FAILED):
            self._seen[key] = outcome.version
        elif outcome is not None and outcome.status is Status.ABSENT:
            self._seen[key] = None
        self._think()

    def _operation(self, key: str) -> Operation:
        draw = self._random.random()
        if draw < GETS:
            return Operation(Kind.GET, key)
        deletes = draw < GETS + DELETES
        condition = self._condition(key) if self._random.random() < self._plan.comparing else None
        if deletes:
            return Operation(Kind.DELETE, key, None, condition)
        return Operation(Kind.PUT, key, b'"%d"' % len(self._calls), condition)

    def _condition(self, key: str) -> Condition | None:
        """Return a condition on what was last seen of a key."""
        if key not in self._seen:
            return self._random.choice((Condition(present=True), Condition(absent=True), None))
        version = self._seen[key]
        return Condition(absent=True) if version is None else Condition(any_of=(version,))
