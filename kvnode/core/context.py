"""What the state machines of one worker share: who they are, the clock they are told, and the journal."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from kvnode.core.effects import Outbox
from kvnode.core.journal import Journal
from kvnode.core.records import Record
from kvnode.core.ring import Ring
from kvnode.core.settings import Bounds, Timing
from kvnode.core.versions import Version


class DurabilityQueue:
    """Calls that wait for the log to be durable up to a point; run in order."""

    __slots__ = ("_journal", "_waiting")

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()

    def after_all(self, call: Callable[[], None]) -> None:
        """Run ``call`` once everything appended so far is durable: at once, if it is."""
        lsn = self._journal.appended_lsn
        if lsn <= self._journal.durable_lsn and not self._waiting:
            call()
        else:
            self._waiting.append((lsn, call))

    def advanced(self) -> None:
        """Run the calls whose point the log has passed."""
        waiting = self._waiting
        durable = self._journal.durable_lsn
        while waiting and waiting[0][0] <= durable:
            waiting.popleft()[1]()


class Context:
    """The shared part. ``now_ms`` is monotonic and set by whoever drives; ``random`` yields 0 ≤ x < 1.

    Whoever cannot read what the index says is there adds the partition to ``damaged`` and declines.
    """

    __slots__ = (
        "_number",
        "_others",
        "bounds",
        "damaged",
        "durability",
        "forgotten",
        "held",
        "journal",
        "now_ms",
        "on_append",
        "outbox",
        "quorum",
        "random",
        "ring",
        "timing",
        "worker",
    )

    def __init__(
        self,
        worker: int,
        ring: Ring,
        journal: Journal,
        *,
        random: Callable[[], float],
        timing: Timing,
        bounds: Bounds,
    ) -> None:
        self.worker = worker
        self.ring = ring
        self.journal = journal
        self.random = random
        self.timing = timing
        self.bounds = bounds
        self.outbox = Outbox()
        self.durability = DurabilityQueue(journal)
        self.held = frozenset(ring.held_by(worker))
        self.now_ms = 0
        self.on_append: Callable[[Record], None] | None = None
        self.damaged: set[int] = set()
        self.forgotten = 0
        self.quorum = len(ring.preference_list(0)) // 2 + 1
        self._number = 0
        self._others: dict[int, tuple[int, ...]] = {}

    def others(self, partition: int) -> tuple[int, ...]:
        """Return a partition's replicas but this worker: first the next by number, counted round.

        Who needs one of them asks the first that will do: what many need goes to few, in few messages.
        """
        others = self._others.get(partition)
        if others is None:
            replicas = self.ring.preference_list(partition)
            onward = sorted(replicas, key=lambda worker: (worker < self.worker, worker))
            others = self._others[partition] = tuple(worker for worker in onward if worker != self.worker)
        return others

    def append(self, record: Record) -> None:
        """Append a record to the journal, and tell whoever watches."""
        self.journal.append(record)
        if self.on_append is not None:
            self.on_append(record)

    def raise_floor(self, partition: int, floor: Version, forgotten: Version) -> None:
        """Raise a partition's floor and forget under it; say how many tombstones went."""
        held = self.journal.tombstones(partition)
        self.journal.raise_floor(partition, floor, forgotten)
        if gone := held - self.journal.tombstones(partition):
            self.forgotten += gone
            self.outbox.note("tombstones_forgotten", partition=partition, count=gone)

    def number(self) -> int:
        """Return a request number that this process has not used."""
        self._number += 1
        return self._number
