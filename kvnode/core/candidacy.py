"""Whose turn it is to lead a partition, in this worker's own view.

Being wrong about who is alive costs a round of ballots, never a write. So there are only rules of
courtesy here: the first live replica stands at once, those behind it when it has not led for a while
(its view may differ), and whoever was overtaken stands back for longer each time.
"""

from __future__ import annotations

from kvnode.core.context import Context
from kvnode.core.peers import Peers

REFUSALS_COUNTED = 10


class Candidacy:
    """When this worker may stand, and who else might. ``draining``: it stands for nothing any more."""

    def __init__(self, ctx: Context, peers: Peers) -> None:
        self.draining = False
        self._ctx = ctx
        self._peers = peers
        self._leaderless_ms: dict[int, int] = {}
        self._not_before_ms: dict[int, int] = {}
        self._refused: dict[int, int] = {}
        self._copied: set[int] = set()

    def may_lead(self, worker: int) -> bool:
        """Whether a worker is live, votes, has disk space and does not drain."""
        if worker == self._ctx.worker:
            return not (self.draining or self._ctx.journal.full)
        peer = self._peers[worker]
        return peer.live and not (peer.rebuilding or peer.draining or peer.full)

    def first(self, partition: int) -> int:
        """Return the first worker of the preference list that may lead (0: none)."""
        replicas = self._ctx.ring.preference_list(partition)
        return next((worker for worker in replicas if self.may_lead(worker)), 0)

    def first_other(self, partition: int) -> int:
        """Return the first worker but this one that may lead (0: none)."""
        replicas = self._ctx.ring.preference_list(partition)
        return next((w for w in replicas if w != self._ctx.worker and self.may_lead(w)), 0)

    def has_quorum(self, partition: int) -> bool:
        """Whether a majority of the replicas is live."""
        replicas = self._ctx.ring.preference_list(partition)
        return sum(self._peers.live(worker) for worker in replicas) >= self._ctx.quorum

    def must_leave(self, partition: int) -> bool:
        """Whether this worker should not lead a partition any more, whoever else does.

        For want of space only if a majority of others has some: nobody else could be elected.
        """
        if self.draining or not self._ctx.journal.full:
            return self.draining
        replicas = self._ctx.ring.preference_list(partition)
        others = [worker for worker in replicas if worker != self._ctx.worker]
        return self._peers.spacious(others) >= self._ctx.quorum

    def may_stand(self, partition: int) -> bool:
        """Whether this worker should stand for a partition that nobody leads."""
        return (
            self._is_our_turn(partition)
            and self._ctx.journal.voting(partition)
            and not self._ctx.journal.full
            and self._ctx.now_ms >= self._not_before_ms.get(partition, 0)
            and self.has_quorum(partition)
        )

    def _is_our_turn(self, partition: int) -> bool:
        """Whether no live worker is placed before us, or each such one has had its time to lead.

        Who has only just copied a partition stands behind all others: it would have to settle every key.
        """
        now, patience_ms = self._ctx.now_ms, 0
        for worker in self._ctx.ring.preference_list(partition):
            if worker == self._ctx.worker:
                if partition in self._copied:
                    continue
                break
            if self.may_lead(worker):
                patience_ms += 2 * self._ctx.timing.suspect_ms
        waited_ms = now - self._leaderless_ms.get(partition, now)
        return not self.draining and waited_ms >= patience_ms

    # --- what has happened ------------------------------------------------------------------------

    def copied(self, partition: int) -> None:
        """Note that what is held of a partition has been copied, and does not stand yet."""
        self._copied.add(partition)

    def whole_again(self, partition: int) -> None:
        """Note that a partition's leader has found everything to stand here."""
        self._copied.discard(partition)

    def leader_seen(self, partition: int) -> None:
        """Note that somebody leads or stands."""
        self._leaderless_ms.pop(partition, None)

    def leader_missed(self, partition: int) -> None:
        """Note that nobody leads, as far as is known here."""
        self._leaderless_ms.setdefault(partition, self._ctx.now_ms)

    def leader_lost(self, partition: int) -> None:
        """Forget all patience: a leader that was live is not any more."""
        self._not_before_ms.pop(partition, None)

    def stand_back(self, partition: int) -> None:
        """Do not stand again for a while, and the longer the more often others were preferred."""
        refused = self._refused[partition] = min(self._refused.get(partition, 0) + 1, REFUSALS_COUNTED)
        self._wait(partition, self._ctx.timing.backoff_ms * 2**refused * (0.5 + self._ctx.random()))

    def led_for(self, partition: int, lasted_ms: int) -> None:
        """Forget earlier refusals after a leadership that lasted."""
        if lasted_ms >= self._ctx.timing.stable_ms:
            self._refused.pop(partition, None)

    def handed_over(self, partition: int) -> None:
        """Leave a successor the time to be elected."""
        self._wait(partition, self._ctx.timing.suspect_ms)

    def _wait(self, partition: int, delay_ms: float) -> None:
        self._not_before_ms[partition] = self._ctx.now_ms + int(delay_ms)
