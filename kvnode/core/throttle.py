"""Bounding the rate of background work: what was done is paid for by waiting afterwards."""

from __future__ import annotations


class Throttle:
    """Lets ``per_s`` units a second through. Time is told, never read."""

    __slots__ = ("_open_at_ms", "_per_s")

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._open_at_ms = 0.0

    def is_open(self, now_ms: int) -> bool:
        """Whether more may be begun."""
        return now_ms >= self._open_at_ms

    def spend(self, units: float, now_ms: int) -> None:
        """Take note of work that was done: for that long nothing more may be begun."""
        self._open_at_ms = max(self._open_at_ms, now_ms) + units * 1000 / self._per_s
