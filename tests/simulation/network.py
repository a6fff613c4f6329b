"""A simulated network: links as the transport's contract has them, and cuts.

A link belongs to one process at each end and opens when both accept the other's greeting. What is
sent over it arrives in order, or not at all because the link broke; a request may also arrive after
its sender has seen the link break. A cut, like a firewall that
drops packets, stalls what travels one way; a link that has been stalled for a while breaks. A lost
message of a stream is a broken link; single calls may get lost alone. Copies of requests arrive
only where a schedule asks for more than a real link would do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from random import Random

from kvnode.core.messages import (
    AcceptBatch,
    AcceptReply,
    ConfirmBatch,
    ConfirmReply,
    ExecuteBatch,
    ExecuteReply,
    Message,
    Reply,
    Request,
)
from kvnode.errors import MismatchError
from tests.simulation.events import Events
from tests.simulation.holds import Chosen, Hold, Packet
from tests.simulation.worker import SimWorker

DELAY_MS = 3
REDIAL_MS = 40
KEEPALIVE_MS = 500
LATE_SHARE = 0.3

_STREAMS: dict[type, str] = {
    AcceptBatch: "accept",
    AcceptReply: "accept",
    ConfirmBatch: "confirm",
    ConfirmReply: "confirm",
    ExecuteBatch: "execute",
    ExecuteReply: "execute",
}


class Pipe:
    """One direction of a link: what is stalled, and when the last message of each stream arrives."""

    def __init__(self) -> None:
        self.stalled: list[Callable[[], None]] = []
        self.arrives_ms: dict[str, int] = {}
        self.newest_ms = 0


class Link:
    """A worker's outgoing link to one process of a peer."""

    def __init__(self, owner: SimWorker, peer: SimWorker) -> None:
        self.owner = owner
        self.peer = peer
        self.lives = (owner.life, peer.life)
        self.greeting = owner.hello()
        self.open = True
        self.there = Pipe()
        self.back = Pipe()


class Network:
    """All links, open or being dialled."""

    def __init__(self, events: Events, random: Random, workers: Mapping[int, SimWorker]) -> None:
        self.delay_ms = DELAY_MS
        self.late_share = LATE_SHARE
        self.drop_share = 0.0
        self.copy_share = 0.0
        self.copy_within_ms = 300
        self.straggler_share = 0.0
        self.straggler_ms = 150
        self.slow_ms: dict[tuple[int, int], int] = {}
        self.counts: Counter[str] = Counter()
        self.refusals: dict[tuple[int, int], str] = {}
        self.sent: list[tuple[int, int, Request]] | None = None
        self._events = events
        self._random = random
        self._workers = workers
        self._links: dict[tuple[int, int], Link] = {}
        self._cut: set[tuple[int, int]] = set()
        self._holds: list[Hold] = []

    def watch(self) -> list[tuple[int, int, Request]]:
        """Return a list to which every request that is sent from now on is added, with both ends."""
        self.sent = []
        return self.sent

    # --- faults -----------------------------------------------------------------------------------

    def cut(self, source: int, target: int) -> None:
        """Let nothing pass from one worker to another; the other way stays open."""
        self._cut.add((source, target))

    def cut_both(self, one: int, other: int) -> None:
        """Let nothing pass between two workers."""
        self.cut(one, other)
        self.cut(other, one)

    def hold(self, chosen: Chosen, *, copying: bool = False) -> Hold:
        """Keep messages that are sent from now on and chosen, until they are released or dropped."""
        hold = Hold(chosen, copying=copying)
        self._holds.append(hold)
        return hold

    def release_all(self) -> None:
        """Deliver everything that is held."""
        holds, self._holds = self._holds, []
        for hold in holds:
            hold.release()

    def mend(self, source: int, target: int) -> None:
        """End the cut from one worker to another."""
        self._cut.discard((source, target))
        self._deliver_stalled()

    def heal(self) -> None:
        """End all cuts: what was stalled and whose link still stands arrives now."""
        self._cut.clear()
        self._deliver_stalled()

    def _deliver_stalled(self) -> None:
        for link in list(self._links.values()):
            for pipe in (link.there, link.back):
                if self._is_stalled(link, pipe):
                    continue
                stalled, pipe.stalled = pipe.stalled, []
                for arrive in stalled:
                    arrive()

    def close(self, owner: int, peer: int) -> None:
        """Break a worker's outgoing link, if it is open."""
        link = self._links.get((owner, peer))
        if link is not None:
            self._break(link)

    def died(self, number: int, *, silent: bool) -> None:
        """Break the links of a dead worker; its peers hear of it at once, or when it is missed."""
        for (owner, peer), link in list(self._links.items()):
            if owner == number:
                link.open = False
                del self._links[owner, peer]
            elif peer == number:
                after_ms = KEEPALIVE_MS if silent else 1 + self._delay()
                self._events.after(after_ms, partial(self._break, link))

    # --- dialling ---------------------------------------------------------------------------------

    def dial_all(self, number: int) -> None:
        """Let a new process dial all its peers, for as long as it lives."""
        for peer in self._workers:
            if peer != number:
                self._dial_later(number, peer)

    def _dial_later(self, owner: int, peer: int) -> None:
        dial = partial(self._dial, owner, peer, self._workers[owner].life)
        self._events.after(1 + self._random.randrange(REDIAL_MS), dial)

    def _dial(self, owner: int, peer: int, life: int) -> None:
        ours, theirs = self._workers[owner], self._workers[peer]
        if not ours.up or ours.life != life or (owner, peer) in self._links:
            return
        if self._reachable(ours, theirs) and self._greet(ours, theirs):
            self._links[owner, peer] = Link(ours, theirs)
            ours.take(ours.machine.link_up, theirs.hello())
        else:
            self._dial_later(owner, peer)

    def _reachable(self, ours: SimWorker, theirs: SimWorker) -> bool:
        numbers = (ours.number, theirs.number)
        cut = numbers in self._cut or numbers[::-1] in self._cut
        return theirs.up and not cut and not ours.paused and not theirs.paused

    def _greet(self, ours: SimWorker, theirs: SimWorker) -> bool:
        try:
            ours.machine.formation.check(theirs.hello())
            theirs.machine.formation.check(ours.hello())
        except MismatchError as error:
            self.refusals[ours.number, theirs.number] = str(error)
            return False
        self.refusals.pop((ours.number, theirs.number), None)
        return True

    # --- messages ---------------------------------------------------------------------------------

    def send(self, owner: int, to: int, request: Request) -> None:
        """Send a request over the link that is open now; drop it if none is."""
        link = self._links.get((owner, to))
        if link is None:
            return
        if self.sent is not None:
            self.sent.append((owner, to, request))
        self._travel(link, link.there, request, partial(self._request_arrived, link, request))

    def _copy_arrived(self, link: Link, request: Request) -> None:
        """Deliver a request once more, if its link is broken too; no reply returns."""
        if link.peer.up and link.peer.life == link.lives[1]:
            self.counts["duplicate"] += 1
            link.peer.receive(link.greeting, request, lambda _reply: None)

    def _request_arrived(self, link: Link, request: Request) -> None:
        if link.peer.up and link.peer.life == link.lives[1]:
            link.peer.receive(link.greeting, request, partial(self._respond, link))
            if self.copy_share and self._random.random() < self.copy_share:
                again = partial(self._copy_arrived, link, request)
                self._events.after(self._random.randrange(self.copy_within_ms), again)

    def _respond(self, link: Link, reply: Reply) -> None:
        if link.open:
            self._travel(link, link.back, reply, partial(self._reply_arrived, link, reply))

    def _reply_arrived(self, link: Link, reply: Reply) -> None:
        link.owner.take(partial(self._hand_over, link, reply))

    def _hand_over(self, link: Link, reply: Reply) -> None:
        """Give a reply to the machine unless its link broke while the worker was paused."""
        if link.open:
            link.owner.machine.reply(link.peer.number, reply)

    def _travel(self, link: Link, pipe: Pipe, message: Message, arrived: Callable[[], None]) -> None:
        packet = Packet(*self._ends(link, pipe), message)
        if any(hold.takes(packet, arrived) for hold in self._holds):
            return
        stream = _STREAMS.get(type(message), "")
        if self.drop_share and self._random.random() < self.drop_share:
            self._lose(link, stream)
            return
        arrives_ms = self._events.now_ms + self._delay() + self._extra_delay(link, pipe)
        if arrives_ms < pipe.newest_ms:
            self.counts["reorder"] += 1
        if stream:
            arrives_ms = max(arrives_ms, pipe.arrives_ms.get(stream, 0))
            pipe.arrives_ms[stream] = arrives_ms
        pipe.newest_ms = max(pipe.newest_ms, arrives_ms)
        arrive = partial(self._arrive, link, pipe, arrived)
        self._events.after(arrives_ms - self._events.now_ms, arrive)

    def _arrive(self, link: Link, pipe: Pipe, arrived: Callable[[], None]) -> None:
        if not link.open:
            if pipe is link.there and self._random.random() < self.late_share:
                self.counts["late"] += 1
                arrived()
        elif pipe.stalled or self._is_stalled(link, pipe):
            if not pipe.stalled:
                self._events.after(KEEPALIVE_MS, partial(self._break_if_stalled, link, pipe))
            pipe.stalled.append(arrived)
        else:
            arrived()

    def _lose(self, link: Link, stream: str) -> None:
        """Lose a message; of a stream that is only possible by losing the link."""
        self.counts["drop"] += 1
        if stream:
            self._events.after(self._delay(), partial(self._break, link))

    def _is_stalled(self, link: Link, pipe: Pipe) -> bool:
        gone = not link.peer.up or link.peer.life != link.lives[1]
        return gone or self._ends(link, pipe) in self._cut

    @staticmethod
    def _ends(link: Link, pipe: Pipe) -> tuple[int, int]:
        ends = (link.owner.number, link.peer.number)
        return ends if pipe is link.there else ends[::-1]

    def _break_if_stalled(self, link: Link, pipe: Pipe) -> None:
        if pipe.stalled:
            self._break(link)

    def _break(self, link: Link) -> None:
        if not link.open:
            return
        link.open = False
        owner, peer = link.owner.number, link.peer.number
        del self._links[owner, peer]
        link.owner.take(link.owner.machine.link_down, peer)
        self._dial_later(owner, peer)

    def _extra_delay(self, link: Link, pipe: Pipe) -> int:
        delay_ms = 0
        if self.slow_ms:
            delay_ms = self.slow_ms.get(self._ends(link, pipe), 0)
        if self.straggler_share and self._random.random() < self.straggler_share:
            delay_ms += self._random.randrange(self.straggler_ms)
        if delay_ms:
            self.counts["delay"] += 1
        return delay_ms

    def _delay(self) -> int:
        return self._random.randrange(self.delay_ms + 1)
