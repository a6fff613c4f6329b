"""When batches to leaders depart: together under load, at once without.

Every message costs far more than an operation in it. So from ``ALIGNED_FROM`` operations under way
those for all leaders wait for each other: until what is in flight has been answered, or for as long
as that usually takes. Fewer operations wait for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

ALIGNED_FROM = 8
GATHER_MS = 2
LONGEST_GATHER_MS = 20


class Departures:
    """Learns how long batches usually take, and tells when the next may leave."""

    def __init__(self, workers: Iterable[int]) -> None:
        self._departed_ms = dict.fromkeys(workers, 0)
        self._usual_ms = 0.0

    def departed(self, worker: int, now_ms: int) -> None:
        """Note that a batch has left."""
        self._departed_ms[worker] = now_ms

    def answered(self, worker: int, now_ms: int) -> None:
        """Note that it has been answered."""
        self._usual_ms += (now_ms - self._departed_ms[worker] - self._usual_ms) / 16

    def due(self, under_way: int, waiting_since_ms: int | None, now_ms: int) -> bool:
        """Whether batches may leave beside others that are in flight.

        ``under_way`` counts all operations, ``waiting_since_ms`` is when the oldest that has not
        left came (None: none waits).
        """
        if under_way < ALIGNED_FROM or waiting_since_ms is None:
            return True
        return now_ms - waiting_since_ms >= min(max(GATHER_MS, self._usual_ms), LONGEST_GATHER_MS)
