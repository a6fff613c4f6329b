"""What a worker tells its peers of itself with every round of confirmations: the heartbeat."""

from __future__ import annotations

from kvnode.core.anti_entropy import AntiEntropy
from kvnode.core.confirmations import Lead
from kvnode.core.context import Context
from kvnode.core.coordinator import Coordinator
from kvnode.core.leaders import Leaders
from kvnode.core.messages import ConfirmBatch, ConfirmReply, Refusal
from kvnode.core.peers import Peers
from kvnode.core.rebuild import Rebuild


class Heartbeats:
    """Writes heartbeats and their answers. ``ready`` is set by whoever knows."""

    def __init__(
        self,
        ctx: Context,
        peers: Peers,
        coordinator: Coordinator,
        leaders: Leaders,
        anti_entropy: AntiEntropy,
        rebuild: Rebuild,
    ) -> None:
        self.ready = False
        self._ctx = ctx
        self._peers = peers
        self._coordinator = coordinator
        self._leaders = leaders
        self._anti_entropy = anti_entropy
        self._rebuild = rebuild

    def batch(self, number: int, worker: int, leads: list[Lead]) -> ConfirmBatch:
        """Return the next message of the round with a peer."""
        return ConfirmBatch(
            number,
            leads,
            draining=self._leaders.draining,
            ready=self.ready,
            agreed=self._anti_entropy.tell(worker),
            rebuilding=self._rebuild.remaining > 0,
            full=self._ctx.journal.full,
            sees=self._peers.seen,
        )

    def reply(self, worker: int, batch: ConfirmBatch, refused: list[Refusal]) -> ConfirmReply:
        """Return the answer to a peer's message."""
        return ConfirmReply(
            batch.number,
            refused,
            draining=self._leaders.draining,
            ready=self.ready,
            quiet=batch.draining and self._coordinator.quiet(worker),
            rebuilding=self._rebuild.remaining > 0,
            full=self._ctx.journal.full,
            sees=self._peers.seen,
        )
