"""The failure detector: which peers can be counted on now, by what this worker itself hears of them.

A peer is live while the link to it is up and it has answered something lately. Suspicion decides
only where requests are sent and who offers to lead; nothing that it gets wrong can lose a write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from kvnode.core.context import Context
from kvnode.core.messages import ConfirmBatch, ConfirmReply, Hello


class PeerWatcher(Protocol):
    """Who wants to know of peers that come and go."""

    def peer_live(self, worker: int) -> None:
        """A peer has become live."""

    def peer_lost(self, worker: int) -> None:
        """A peer is live no more: suspected, or its link is down."""


class Peer:
    """What is known of one other worker. Times are the context's clock."""

    __slots__ = (
        "draining",
        "full",
        "gone_ms",
        "heard_ms",
        "hello",
        "live",
        "live_since_ms",
        "quiet",
        "ready",
        "rebuilding",
        "sees",
        "told_ms",
        "worker",
    )

    def __init__(self, worker: int) -> None:
        self.worker = worker
        self.hello: Hello | None = None
        self.heard_ms = 0
        self.gone_ms = 0
        self.told_ms = 0
        self.live_since_ms = 0
        self.live = False
        self.draining = False
        self.ready = False
        self.quiet = False
        self.rebuilding = False
        self.full = False
        self.sees: frozenset[int] = frozenset()

    def told(self, message: ConfirmBatch | ConfirmReply, now_ms: int) -> None:
        """Take what a heartbeat says of its sender."""
        self.told_ms = now_ms
        self.draining, self.ready = message.draining, message.ready
        self.rebuilding, self.full = message.rebuilding, message.full
        self.sees = frozenset(message.sees)


class Peers:
    """All other workers of the cluster."""

    def __init__(self, ctx: Context, workers: list[int]) -> None:
        self._ctx = ctx
        self._peers = {worker: Peer(worker) for worker in workers if worker != ctx.worker}
        self._watchers: list[PeerWatcher] = []
        self._last_tick_ms = 0

    def watch(self, watcher: PeerWatcher) -> None:
        """Tell ``watcher`` of changes, after those that asked before it."""
        self._watchers.append(watcher)

    def __iter__(self) -> Iterator[Peer]:
        """Yield every peer, live or not."""
        return iter(self._peers.values())

    def __getitem__(self, worker: int) -> Peer:
        """Return what is known of a worker."""
        return self._peers[worker]

    def live(self, worker: int) -> bool:
        """Whether a worker can be counted on: this one always can."""
        peer = self._peers.get(worker)
        return peer is None or peer.live

    def spacious(self, workers: Iterable[int]) -> int:
        """Count those of some peers that are live and have disk space."""
        count, peers = 0, self._peers
        for worker in workers:
            peer = peers[worker]
            if peer.live and not peer.full:
                count += 1
        return count

    def vouching(self, workers: Iterable[int], worker: int) -> int:
        """Count those of some peers that are live and say that a lost one is live to them.

        They must have said so after it was heard here last, or after its link broke.
        """
        gone_ms = self._peers[worker].gone_ms
        peers = [self._peers[other] for other in workers]
        return sum(peer.live and worker in peer.sees and peer.told_ms > gone_ms for peer in peers)

    @property
    def seen(self) -> tuple[int, ...]:
        """The peers that are live."""
        return tuple(peer.worker for peer in self._peers.values() if peer.live)

    def stable_ms(self, worker: int) -> int:
        """Return for how long a peer has been live."""
        peer = self._peers[worker]
        return self._ctx.now_ms - peer.live_since_ms if peer.live else 0

    def link_up(self, hello: Hello) -> None:
        """Greet a peer's process: it is live, and its flags are not known yet."""
        peer = self._peers[hello.worker]
        peer.hello = hello
        peer.draining = peer.ready = peer.quiet = peer.full = False
        peer.rebuilding = not hello.voting
        peer.sees = frozenset()
        self._heard(peer)

    def link_down(self, worker: int) -> None:
        """Note that a link broke: that counts at once."""
        peer = self._peers[worker]
        peer.hello = None
        self._lose(peer)

    def answered(self, worker: int, reply: ConfirmReply) -> None:
        """Take a peer's heartbeat answer."""
        peer = self._peers[worker]
        peer.told(reply, self._ctx.now_ms)
        peer.quiet = reply.quiet
        self._heard(peer)

    def told(self, worker: int, batch: ConfirmBatch) -> None:
        """Take what a peer's own heartbeat says of it; that it reaches us does not make it live."""
        self._peers[worker].told(batch, self._ctx.now_ms)

    def heard(self, worker: int) -> None:
        """Note any reply of a peer."""
        self._heard(self._peers[worker])

    def tick(self) -> None:
        """Suspect who has been silent. A pause of this process itself is nobody's silence."""
        now, suspect_ms = self._ctx.now_ms, self._ctx.timing.suspect_ms
        paused = now - self._last_tick_ms > suspect_ms // 2
        self._last_tick_ms = now
        for peer in self._peers.values():
            if paused and peer.live:
                peer.heard_ms = now
            if peer.live and now - peer.heard_ms > suspect_ms:
                self._lose(peer)

    def _heard(self, peer: Peer) -> None:
        if peer.hello is None:
            return
        peer.heard_ms = self._ctx.now_ms
        if not peer.live:
            peer.live = True
            peer.live_since_ms = self._ctx.now_ms
            self._ctx.outbox.note("peer_live", peer=peer.worker)
            for watcher in self._watchers:
                watcher.peer_live(peer.worker)

    def _lose(self, peer: Peer) -> None:
        if not peer.live:
            return
        peer.live = False
        peer.gone_ms = self._ctx.now_ms if peer.hello is None else peer.heard_ms
        self._ctx.outbox.note("peer_lost" if peer.hello is None else "peer_suspected", peer=peer.worker)
        for watcher in self._watchers:
            watcher.peer_lost(peer.worker)
