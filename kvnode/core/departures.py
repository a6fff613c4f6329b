"""When batches to leaders depart: together under load, at once without.

Every message costs far more than an operation in it. So from ``ALIGNED_FROM`` operations under way
those for all leaders leave as one wave: when nothing is in flight and most of the usual company waits,
or when waiting any longer would cost more than it saves. Fewer operations wait for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

ALIGNED_FROM = 8
COMPANY_SHARE = 0.8
GATHER_MS = 2
LONGEST_GATHER_MS = 20


class Departures:
    """Learns how long batches usually take and how many operations are under way, and says when to leave."""

    def __init__(self, workers: Iterable[int]) -> None:
        self._departed_ms = dict.fromkeys(workers, 0)
        self._usual_ms = 0.0
        self._company = 0.0

    def departed(self, worker: int, now_ms: int) -> None:
        """Note that a batch has left."""
        self._departed_ms[worker] = now_ms

    def answered(self, worker: int, now_ms: int) -> None:
        """Note that it has been answered."""
        self._usual_ms += (now_ms - self._departed_ms[worker] - self._usual_ms) / 16

    def due(self, waiting: int, since_ms: int, in_flight: int, now_ms: int, *, flying: bool) -> bool:
        """Whether what waits may leave now, and if so, note in whose company.

        ``waiting`` counts the operations that have not left, the oldest of them since ``since_ms``,
        ``in_flight`` those that are not answered; ``flying``: a message is not.
        """
        under_way = waiting + in_flight
        due = self._is_due(waiting, under_way, now_ms - since_ms, flying=flying)
        if due:
            self._company += (under_way - self._company) / 4
        return due

    def _is_due(self, waiting: int, under_way: int, waited_ms: int, *, flying: bool) -> bool:
        if max(under_way, self._company) < ALIGNED_FROM:
            return True
        if flying:
            return waited_ms >= min(max(GATHER_MS, self._usual_ms), LONGEST_GATHER_MS)
        return waiting >= COMPANY_SHARE * self._company or waited_ms >= GATHER_MS
