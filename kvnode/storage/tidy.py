"""Work in the background: damage, hint files, merges, the scrub, letting go of what merges replaced.

One thing at a time, in small steps, slowly: the steps share the interpreter with the event loop. The more
sealed segments wait for it the faster it goes, for what is never merged fills the disk in the end.
``step`` does one; a thread calls it again and again, a simulation may do so instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event, Thread
from time import thread_time
from typing import NamedTuple

import structlog

from kvnode.errors import DamageError, StorageError
from kvnode.storage.hinting import write_hint
from kvnode.storage.keydir import Keydir
from kvnode.storage.log import Log
from kvnode.storage.merge import Merge, choose
from kvnode.storage.salvage import Mender
from kvnode.storage.scrub import Scrub
from kvnode.storage.segment import Segment
from kvnode.storage.space import is_no_space
from kvnode.storage.upkeep import Upkeep
from kvnode.storage.warming import read_ahead, spare_bytes

RATE_BYTES_S = 8 << 20
"""How fast merges and hint files read the log as long as they keep up."""

GRACE_S = 60.0
"""How long an entry from before a merge can be read, and how long a full disk is left alone."""

_IDLE_S = 5.0
_WAIT_S = 0.02

_log = structlog.get_logger(__name__)


class Pace(NamedTuple):
    """At most so many bytes a second, and such a part of one core."""

    bytes_s: int
    share: float

    def pause_s(self, size: int, busy_s: float) -> float:
        """Return how long to rest after ``size`` bytes that took ``busy_s`` of processor time."""
        return max(size / self.bytes_s, busy_s * (1 / self.share - 1))


PACES = (
    Pace(RATE_BYTES_S, 0.04),
    Pace(RATE_BYTES_S, 0.04),
    Pace(RATE_BYTES_S, 0.08),
    Pace(2 * RATE_BYTES_S, 0.16),
    Pace(8 * RATE_BYTES_S, 0.4),
)
"""By how many sealed segments have no hint file yet; the last one for more, too."""


class Tidier:
    """The background work of one store."""

    def __init__(self, log: Log, keydirs: list[Keydir], mender: Mender, upkeep: Upkeep) -> None:
        self._log = log
        self._keydirs = keydirs
        self._mender = mender
        self._clock = upkeep.clock
        self._scrub_bytes_per_s = upkeep.scrub_bytes_per_s
        self._scrub = Scrub(log, upkeep.clock)
        self._work: Iterator[int] | None = None
        self._expiring: list[tuple[float, list[int]]] = []
        self._not_before = 0.0
        self._wake = Event()
        self._closing = False
        self._running: Thread | None = None
        log.on_sealed = self._wake.set

    def step(self) -> int | None:
        """Do a little; return how many bytes that was (0: waiting for others), None if all is tidy."""
        self._let_go()
        if self._work is None:
            self._work = self._next()
        if self._work is None:
            return self._scrub_a_little()
        try:
            return next(self._work)
        except StopIteration:
            self._work = None
        except DamageError as error:
            self._work = None
            _log.warning("damage_suspected", file=error.file, offset=error.offset, reason=error.reason)
        except OSError as error:
            self._work = None
            if not is_no_space(error):
                raise
            self._not_before = self._clock() + GRACE_S
            _log.warning("tidying_postponed", reason=str(error))
        return 0

    @property
    def pace(self) -> Pace:
        """How fast to go now."""
        with self._log.lock:
            waiting = sum(segment.wants_hint for segment in self._log.segments.values())
        return PACES[min(waiting, len(PACES) - 1)]

    def start(self) -> None:
        """Start the background thread."""
        self._running = Thread(target=self._run, name="log-tidier", daemon=True)
        self._running.start()

    def close(self) -> None:
        """End the background thread; what it was doing is left for the next start to sweep."""
        self._closing = True
        self._wake.set()
        if self._running is not None:
            self._running.join()
            self._running = None
        self._work = None

    def _next(self) -> Iterator[int] | None:
        """Choose what to do."""
        if self._clock() < self._not_before or self._log.committer.failed:
            return None
        with self._log.lock:
            at_rest = sorted(
                (segment for segment in self._log.segments.values() if segment.at_rest),
                key=lambda segment: segment.place,
            )
            begun = self._log.begun
            damaged = [s for s in at_rest if s.damaged and not s.kept]
            inputs = choose(at_rest, self._log.segment_bytes) if begun else []
        unhinted = [segment for segment in at_rest if segment.wants_hint]
        if damaged:
            return self._mend(damaged[0])
        if inputs:
            return self._merge(Merge(self._log, self._keydirs, inputs), [s.number for s in inputs])
        if unhinted:
            return write_hint(self._log, unhinted[0], self._keydirs)
        return None

    def _scrub_a_little(self) -> int | None:
        """Look for damage while there is nothing else to do; a byte costs more here, to go slowly."""
        if not self._scrub_bytes_per_s or self._log.committer.failed:
            return None
        cost = self._scrub.step()
        return None if cost is None else cost * RATE_BYTES_S // self._scrub_bytes_per_s

    def _mend(self, segment: Segment) -> Iterator[int]:
        """Deal with a damaged segment."""
        self._log.begin()
        yield from self._mender.mend(segment)
        if segment.number in self._log.retired:
            self._expiring.append((self._clock() + GRACE_S, [segment.number]))

    def _merge(self, merge: Merge, numbers: list[int]) -> Iterator[int]:
        """Merge; clean up if the data is damaged or the disk is full."""
        try:
            yield from merge.steps()
        except (DamageError, OSError):
            merge.abandon()
            raise
        self._expiring.append((self._clock() + GRACE_S, numbers))

    def _let_go(self) -> None:
        """Close replaced segments whose time has come."""
        while self._expiring and self._expiring[0][0] <= self._clock():
            self._log.close_retired(self._expiring.pop(0)[1])

    def _run(self) -> None:
        """Step until closed; whatever goes wrong ends the process, as for the writer."""
        try:
            read_ahead(self._log, spare_bytes(), lambda: self._closing)
            while not self._closing:
                began_s = thread_time()
                cost = self.step()
                busy_s = thread_time() - began_s
                rest_s = _IDLE_S if cost is None else self.pace.pause_s(cost, busy_s) if cost else _WAIT_S
                self._wake.wait(rest_s)
                self._wake.clear()
        except (OSError, StorageError) as error:
            self._log.committer.fail(error)
