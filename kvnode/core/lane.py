"""One message in flight: what a worker has yet to tell one peer, for one purpose.

The next message leaves when the last is answered and carries all that gathered meanwhile, up to a
bound. So batches grow with load, and nothing waits at low load.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class Lane(Generic[ItemT]):
    """A queue with one batch in flight. Items carry their size in bytes and the time they were offered."""

    __slots__ = ("_batch", "_number", "_queue", "max_batch_bytes", "max_batch_items", "queued_bytes")

    def __init__(self, max_batch_items: int, max_batch_bytes: int) -> None:
        self.max_batch_items = max_batch_items
        self.max_batch_bytes = max_batch_bytes
        self.queued_bytes = 0
        self._queue: deque[tuple[ItemT, int, int]] = deque()
        self._batch: list[tuple[ItemT, int, int]] = []
        self._number = 0

    def offer(self, item: ItemT, size: int, now_ms: int) -> None:
        """Put an item at the end of the queue."""
        self._queue.append((item, size, now_ms))
        self.queued_bytes += size

    def __len__(self) -> int:
        """Count the items queued or in flight."""
        return len(self._queue) + len(self._batch)

    @property
    def oldest_ms(self) -> int | None:
        """When the oldest unanswered item was offered."""
        if self._batch:
            return self._batch[0][2]
        return self._queue[0][2] if self._queue else None

    @property
    def flying(self) -> bool:
        """Whether a batch is in flight."""
        return bool(self._batch)

    @property
    def idle(self) -> bool:
        """Whether nothing is in flight and something waits."""
        return not self._batch and bool(self._queue)

    def depart(self, number: int) -> list[ItemT]:
        """Put the next batch in flight under ``number`` and return its items (call only when ``idle``)."""
        queue, batch = self._queue, self._batch
        size = 0
        while queue and len(batch) < self.max_batch_items:
            if batch and size + queue[0][1] > self.max_batch_bytes:
                break
            entry = queue.popleft()
            size += entry[1]
            batch.append(entry)
        self._number = number
        return [entry[0] for entry in batch]

    def answered(self, number: int) -> list[ItemT]:
        """Return the items of the batch in flight and make room for the next; empty for another number."""
        if number != self._number or not self._batch:
            return []
        batch, self._batch = self._batch, []
        for entry in batch:
            self.queued_bytes -= entry[1]
        return [entry[0] for entry in batch]

    def broken_resend(self) -> None:
        """Put what was in flight back at the head: for items that may be sent twice."""
        self._queue.extendleft(reversed(self._batch))
        self._batch = []

    def broken_drop(self) -> tuple[list[ItemT], list[ItemT]]:
        """Empty the lane and return (what was in flight, what had not been sent)."""
        sent = [entry[0] for entry in self._batch]
        unsent = [entry[0] for entry in self._queue]
        self._batch = []
        self._queue.clear()
        self.queued_bytes = 0
        return sent, unsent

    def withdraw(self) -> list[ItemT]:
        """Take back and return what has not been sent; what is in flight stays so."""
        unsent = [entry[0] for entry in self._queue]
        self.queued_bytes -= sum(entry[1] for entry in self._queue)
        self._queue.clear()
        return unsent

    def queued(self) -> list[ItemT]:
        """Return the items that have not been sent."""
        return [entry[0] for entry in self._queue]
