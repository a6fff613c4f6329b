"""A cluster of one, in memory: a correct KeyService whose answers tests can hold back or replace."""

from __future__ import annotations

from collections.abc import Callable

from kvnode.config import ClusterConfig
from kvnode.core.operations import Condition, Kind, Operation, Outcome, Status
from kvnode.core.ring import Place
from kvnode.core.status import WorkerStatus
from kvnode.core.versions import Version

TERM = 3


class MemoryService:
    """A dict with versions. ``operations`` is what was executed, in order.

    ``answer`` (if set) decides instead of the dict. Between ``hold`` and ``release`` nothing is
    answered; ``waiting`` counts who waits.
    """

    def __init__(self, cluster: ClusterConfig, worker: int) -> None:
        self.ring = cluster.ring()
        self.worker = worker
        self.records: dict[str, tuple[Version, bytes | None]] = {}
        self.operations: list[Operation] = []
        self.reasons: list[str] = []
        self.leader = worker
        self.pending = 1
        self.answer: Callable[[Operation], Outcome] | None = None
        self._held: list[tuple[Operation, Callable[[Outcome], None]]] | None = None
        self.timeout_s = 0.0

    @property
    def waiting(self) -> int:
        """How many operations are held back."""
        return len(self._held or ())

    def begin(self, operation: Operation, timeout_s: float, done: Callable[[Outcome], None]) -> None:
        """Do what a cluster would."""
        self.timeout_s = timeout_s
        if self._held is None:
            self._carry_out(operation, done)
        else:
            self._held.append((operation, done))

    def _carry_out(self, operation: Operation, done: Callable[[Outcome], None]) -> None:
        self.operations.append(operation)
        if self.answer is not None:
            done(self.answer(operation))
        else:
            done(self._get(operation.key) if operation.kind is Kind.GET else self._write(operation))

    def hold(self) -> None:
        """Let what is asked for from now on wait."""
        self._held = self._held or []

    def release(self) -> None:
        """Let it go on."""
        held, self._held = self._held, None
        for operation, done in held or ():
            self._carry_out(operation, done)

    def partition(self, key: str) -> int:
        """Ask the ring."""
        return self.ring.partition(key)

    def place(self, key: str) -> Place:
        """Ask the ring."""
        partition = self.ring.partition(key)
        return Place(partition, self.ring.preference_list(partition), self.leader)

    def readiness(self) -> list[str]:
        """Return what the test set."""
        return self.reasons

    def status(self) -> WorkerStatus:
        """Describe an idle worker."""
        return WorkerStatus(
            worker=self.worker,
            state="ready",
            reasons=self.reasons,
            release="0.1.0",
            cluster_id="c",
            incarnation="i",
            process="p",
            uptime_s=1.5,
            keys=len(self.records),
            tombstones=0,
            disk_bytes=0,
            held=0,
            led=[],
            behind=0,
            peers=[],
        )

    def _get(self, key: str) -> Outcome:
        version, value = self.records.get(key, (None, None))
        status = Status.ABSENT if value is None else Status.OK
        return Outcome(status, version, value, node=self.worker, leader=self.leader)

    def _write(self, operation: Operation) -> Outcome:
        version, value = self.records.get(operation.key, (None, None))
        if not _holds(operation.condition, version, value):
            return Outcome(Status.CONDITION_FAILED, version)
        if operation.kind is Kind.DELETE and value is None:
            return Outcome(Status.ABSENT, version, node=self.worker, leader=self.leader)
        written = Version(TERM, self.worker, version.seq + 1 if version else 1)
        self.records[operation.key] = (written, operation.value)
        replicas = 3 - self.pending
        return Outcome(
            Status.OK, written, replicas=replicas, pending=self.pending, node=self.worker, leader=self.leader
        )


def _holds(condition: Condition | None, version: Version | None, value: bytes | None) -> bool:
    """Evaluate a condition as its docstring says."""
    if condition is None:
        return True
    present = value is not None
    if condition.present and not present:
        return False
    if condition.absent and present:
        return False
    return condition.any_of is None or (present and version in condition.any_of)
