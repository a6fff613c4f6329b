"""What is going to happen in a simulated cluster, in order of time."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Events:
    """A queue of calls by time; calls of one time run in the order in which they were asked for."""

    def __init__(self) -> None:
        self.now_ms = 0
        self._within = 0
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._number = 0

    @property
    def now_us(self) -> int:
        """The present in microseconds: what happens within one millisecond is a microsecond apart."""
        return self.now_ms * 1000 + min(self._within, 999)

    def after(self, delay_ms: int, call: Callable[[], None]) -> None:
        """Run ``call`` later."""
        self._number += 1
        heapq.heappush(self._queue, (self.now_ms + delay_ms, self._number, call))

    def run(self, until_ms: int) -> None:
        """Run everything due up to a moment, which then is the present."""
        queue, pop = self._queue, heapq.heappop
        while queue and queue[0][0] <= until_ms:
            due_ms, _, call = pop(queue)
            self._within = self._within + 1 if due_ms == self.now_ms else 0
            self.now_ms = due_ms
            call()
        self.now_ms = until_ms
