"""What a worker tells its peers of itself with every round of confirmations: the heartbeat.

A peer that answers other messages need not be asked whether it is there. It is told what is new here as
soon as ever, and what is not half as often as it would be suspected.
"""

from __future__ import annotations

from kvnode.core.anti_entropy import AntiEntropy
from kvnode.core.confirmations import Lead
from kvnode.core.context import Context
from kvnode.core.coordinator import Coordinator
from kvnode.core.leaders import Leaders
from kvnode.core.messages import ConfirmBatch, ConfirmReply, Refusal
from kvnode.core.peers import Peers
from kvnode.core.rebuild import Rebuild

State = tuple[bool, bool, bool, bool, tuple[int, ...]]


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
        self._told: dict[int, State] = {}

    def due(self, worker: int, elapsed_ms: int) -> bool:
        """Whether a heartbeat to a peer is due, so long after the last one."""
        timing = self._ctx.timing
        if elapsed_ms < timing.heartbeat_ms:
            return False
        silent_ms = self._ctx.now_ms - self._peers[worker].heard_ms
        quick = silent_ms >= timing.heartbeat_ms or self._leaders.draining
        return quick or elapsed_ms >= timing.suspect_ms // 2 or self._has_news(worker)

    def _has_news(self, worker: int) -> bool:
        return self._told.get(worker) != self._state() or self._anti_entropy.has_to_tell(worker)

    def _state(self) -> State:
        rebuilding = self._rebuild.remaining > 0
        return self._leaders.draining, self.ready, rebuilding, self._ctx.journal.full, self._peers.seen

    def batch(self, number: int, worker: int, leads: list[Lead]) -> ConfirmBatch:
        """Return the next message of the round with a peer."""
        draining, ready, rebuilding, full, sees = self._told[worker] = self._state()
        return ConfirmBatch(
            number,
            leads,
            draining=draining,
            ready=ready,
            agreed=self._anti_entropy.tell(worker),
            rebuilding=rebuilding,
            full=full,
            sees=sees,
        )

    def reply(self, worker: int, batch: ConfirmBatch, refused: list[Refusal]) -> ConfirmReply:
        """Return the answer to a peer's message."""
        draining, ready, rebuilding, full, sees = self._state()
        return ConfirmReply(
            batch.number,
            refused,
            draining=draining,
            ready=ready,
            quiet=batch.draining and self._coordinator.quiet(worker),
            rebuilding=rebuilding,
            full=full,
            sees=sees,
        )
