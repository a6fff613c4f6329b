"""A key in use at the leader of its partition: what waits for it, and the one thing under way."""

from __future__ import annotations

from collections.abc import Callable

from kvnode.core.inquiry import Inquiry
from kvnode.core.pending import Pending
from kvnode.core.records import Record


class Repair:
    """Bring one follower's copy of a key up to the committed record."""

    __slots__ = ("follower",)

    def __init__(self, follower: int) -> None:
        self.follower = follower


class Settle:
    """Only settle the key; ``done`` is told when it is."""

    __slots__ = ("done",)

    def __init__(self, done: Callable[[], None]) -> None:
        self.done = done


Task = Pending | Repair | Settle


class Flight:
    """A record being accepted: written locally and sent to the others; committed at a majority."""

    __slots__ = ("acks", "began_ms", "pending", "record")

    def __init__(self, record: Record, pending: Pending | None, began_ms: int) -> None:
        self.record = record
        self.pending = pending
        self.began_ms = began_ms
        self.acks: set[int] = set()

    def late(self, now_ms: int, patience_ms: int) -> bool:
        """Whether its client, or without one ``patience_ms``, waits no more."""
        if self.pending is not None:
            return self.pending.deadline_ms <= now_ms
        return now_ms - self.began_ms >= patience_ms


class Slot:
    """One key: its queue, and the flight or the inquiry that holds it up."""

    __slots__ = ("flight", "inquiry", "queue")

    def __init__(self) -> None:
        self.queue: list[Task] = []
        self.flight: Flight | None = None
        self.inquiry: Inquiry | None = None

    @property
    def free(self) -> bool:
        """Whether nothing is under way."""
        return self.flight is None and self.inquiry is None

    @property
    def has_clients(self) -> bool:
        """Whether a client's operation is under way or waits."""
        flying = self.flight is not None and self.flight.pending is not None
        return flying or any(isinstance(task, Pending) for task in self.queue)

    def take_late(self, now_ms: int) -> list[Pending]:
        """Take the operations out of the queue that are past their deadlines."""
        late = [task for task in self.queue if isinstance(task, Pending) and task.deadline_ms <= now_ms]
        if late:
            self.queue = [
                task for task in self.queue if not isinstance(task, Pending) or task.deadline_ms > now_ms
            ]
        return late

    def forget_votes(self, worker: int) -> None:
        """Discount what an earlier disk of a worker has acknowledged or told."""
        if self.flight is not None:
            self.flight.acks.discard(worker)
        if self.inquiry is not None:
            self.inquiry.forget(worker)
