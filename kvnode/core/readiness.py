"""Whether a worker can be relied on, in words for operators: never a part of a decision of the protocol."""

from __future__ import annotations

from kvnode.core.context import Context
from kvnode.core.formation import Formation
from kvnode.core.leaders import Leaders
from kvnode.core.peers import Peers
from kvnode.core.rebuild import Rebuild


class Readiness:
    """Looks at the other machines of one worker."""

    def __init__(
        self, ctx: Context, peers: Peers, formation: Formation, rebuild: Rebuild, leaders: Leaders
    ) -> None:
        self._ctx = ctx
        self._peers = peers
        self._formation = formation
        self._rebuild = rebuild
        self._leaders = leaders

    def reasons(self) -> list[str]:
        """Return why the worker is not ready: empty when it votes, has space and is caught up."""
        if not self._formation.identity.cluster_id:
            blank = [peer.worker for peer in self._peers if not peer.live]
            missing = f", waiting for workers {blank}" if blank else ""
            return [f"the cluster has not formed yet{missing}"]
        reasons = []
        if self._leaders.draining:
            reasons.append("draining")
        if self._ctx.journal.full:
            reasons.append("the disk is full")
        if remaining := self._rebuild.remaining:
            reasons.append(f"{remaining} partitions are being rebuilt and have no vote yet")
        if behind := self._leaders.behind:
            reasons.append(f"{behind} partitions are not yet known to be caught up")
        return reasons

    @property
    def state(self) -> str:
        """Return the one word for what the worker is doing."""
        if not self._formation.identity.cluster_id:
            return "forming"
        if self._leaders.draining:
            return "draining"
        if self._ctx.journal.full:
            return "full"
        if self._rebuild.remaining:
            return "rebuilding"
        return "catching_up" if self._leaders.behind else "ready"
