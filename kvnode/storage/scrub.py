"""The scrub: reads what nobody reads, so that damage is found while the peers still hold the data.

It checks the checksums of all sealed segments, one after the other, as slowly as it is told, and
rests for a day after each pass. It goes on where it was as long as the process lives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import structlog

from kvnode import metrics
from kvnode.errors import DamageError
from kvnode.storage.lines import LineError, check
from kvnode.storage.living import STEP_BYTES
from kvnode.storage.log import Log
from kvnode.storage.segment import Segment, split_lines

REST_S = 86_400.0
"""At most one pass begins in so many seconds."""

_log = structlog.get_logger(__name__)


class Scrub:
    """Passes over one log. ``clock`` tells seconds."""

    def __init__(self, log: Log, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._began_s: float | None = None
        self._pass: Iterator[int] | None = None
        self._found = 0
        self._read = 0

    def step(self) -> int | None:
        """Check a little; return how many bytes that was, None while it rests. Raises OSError."""
        if self._pass is None:
            now = self._clock()
            if self._began_s is not None and now < self._began_s + REST_S:
                return None
            self._began_s = now
            self._found = self._read = 0
            self._pass = self._segments()
        for cost in self._pass:
            self._read += cost
            metrics.SCRUBBED_BYTES.inc(cost)
            return cost
        self._pass = None
        _log.info(
            "scrub_finished",
            bytes=self._read,
            damaged_segments=self._found,
            took_s=round(self._clock() - (self._began_s or 0.0), 1),
        )
        return None

    def _segments(self) -> Iterator[int]:
        """Check each segment that is at rest, in order of number; new ones are met on the way."""
        done = 0
        while (segment := self._after(done)) is not None:
            done = segment.number
            try:
                yield from self._check(segment)
            except (LineError, DamageError):
                self._found += 1
                segment.damaged = True
                yield STEP_BYTES

    def _after(self, number: int) -> Segment | None:
        """Return the next segment to check."""
        with self._log.lock:
            at_rest = [s for s in self._log.segments.values() if s.at_rest and not s.damaged]
        return min((s for s in at_rest if s.number > number), key=lambda s: s.number, default=None)

    def _check(self, segment: Segment) -> Iterator[int]:
        """Check the lines of a segment until it is replaced. Raises LineError, DamageError."""
        cost = 0
        for _, line in split_lines(segment.opened(), segment.size):
            check(line)
            cost += len(line)
            if cost >= STEP_BYTES:
                yield cost
                cost = 0
                if self._log.segments.get(segment.number) is not segment:
                    return
        yield cost
