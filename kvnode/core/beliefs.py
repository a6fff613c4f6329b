"""Who leads each partition, as far as this worker knows.

A leader shows itself by what it sends under its ballot. What others have promised, and what a
candidate asks for, is hearsay: that worker may have lost the election, or have started anew and
lead nothing, and everybody could wait for it for ever. So hearsay is believed for a while only.
"""

from __future__ import annotations

from kvnode.core.context import Context
from kvnode.core.versions import Ballot

SUSPICIONS = 4
A_PARTITION_MS = 10
"""A new leader of many partitions takes so long to show itself in each."""


class Beliefs:
    """The ballots that are held for the leaders'."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._ballots: dict[int, Ballot] = {}
        self._heard_ms: dict[int, int] = {}
        self._patience_ms = SUSPICIONS * ctx.timing.suspect_ms + A_PARTITION_MS * len(ctx.held)

    def ballot(self, partition: int) -> Ballot | None:
        """Return the leader's ballot, as far as is known."""
        return self._ballots.get(partition)

    def seen(self, partition: int, ballot: Ballot) -> None:
        """Note that the worker of ``ballot`` leads: it has shown so itself."""
        self._ballots[partition] = ballot
        self._heard_ms.pop(partition, None)

    def heard(self, partition: int, ballot: Ballot) -> None:
        """Note that it may lead, for it was promised to."""
        if self._ballots.get(partition) != ballot:
            self._ballots[partition] = ballot
            self._heard_ms[partition] = self._ctx.now_ms

    def forget(self, partition: int) -> None:
        """Know of no leader any more."""
        self._ballots.pop(partition, None)
        self._heard_ms.pop(partition, None)

    def expire(self) -> None:
        """Forget what was heard long ago and has not been seen."""
        horizon_ms = self._ctx.now_ms - self._patience_ms
        for partition in [number for number, heard_ms in self._heard_ms.items() if heard_ms <= horizon_ms]:
            self.forget(partition)
