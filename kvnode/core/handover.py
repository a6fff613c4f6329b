"""Handing leadership over in good order: to a better-placed replica, or to any from a worker that drains.

Best placed is who comes first in the preference list. Where operations enter the cluster by one worker, it is
that worker, and then whoever comes next after it by number.

A worker whose disk is full hands over, too, as long as others can be elected.

New operations are declined, those under way finish, and only then does the successor hear of it; so
a hand-over fails nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kvnode.core.calls import Calls
from kvnode.core.candidacy import Candidacy
from kvnode.core.context import Context
from kvnode.core.entrance import Entrance
from kvnode.core.leadership import Leadership
from kvnode.core.messages import HandOver
from kvnode.core.peers import Peers

AT_ONCE = 16


class HandOvers:
    """The hand-overs under way. ``released(partition, successor)`` is called when one is done."""

    def __init__(
        self,
        ctx: Context,
        peers: Peers,
        calls: Calls,
        candidacy: Candidacy,
        entrance: Entrance,
        led: Mapping[int, Leadership],
        released: Callable[[int, int], None],
    ) -> None:
        self._ctx = ctx
        self._peers = peers
        self._calls = calls
        self._candidacy = candidacy
        self._entrance = entrance
        self._led = led
        self._released = released
        self._under_way: dict[int, tuple[int, int]] = {}
        self._looked_ms = 0

    def tick(self) -> None:
        """Begin where there is a successor; finish where nothing is under way any more.

        Successors are looked for as often as hearts beat; oftener while anything is handed over.
        """
        now = self._ctx.now_ms
        pressing = self._under_way or self._candidacy.draining
        if not pressing and now - self._looked_ms < self._ctx.timing.heartbeat_ms:
            return
        self._looked_ms = now
        for partition, leadership in list(self._led.items()):
            if partition in self._under_way:
                self._go_on(partition, leadership)
            elif len(self._under_way) < AT_ONCE or self._candidacy.draining:
                successor = self._successor(partition, leadership)
                if successor:
                    leadership.closing = True
                    self._under_way[partition] = (successor, now)
                    self._go_on(partition, leadership)

    def drop(self, partition: int) -> None:
        """Forget a hand-over: this worker does not lead any more."""
        self._under_way.pop(partition, None)

    def give(self, partition: int, successor: int) -> None:
        """Ask a worker to lead a partition that this one has stopped to lead."""
        message = HandOver(self._ctx.number(), [partition])
        self._calls.ask(successor, message, lambda _worker, _reply: None)

    @property
    def done(self) -> bool:
        """Whether nothing is led that anybody else could lead."""
        return not any(
            partition in self._under_way or self._successor(partition, leadership)
            for partition, leadership in self._led.items()
        )

    def _successor(self, partition: int, leadership: Leadership) -> int:
        leaves = self._candidacy.must_leave(partition)
        for worker in self._by_place(partition):
            if worker == self._ctx.worker:
                if not leaves:
                    return 0
            elif self._candidacy.may_lead(worker) and (leaves or self._is_better(worker, leadership)):
                return worker
        return 0

    def _by_place(self, partition: int) -> Sequence[int]:
        replicas, entrance = self._ctx.ring.preference_list(partition), self._entrance.worker
        return sorted(replicas, key=self._entrance.distance) if entrance else replicas

    def _is_better(self, worker: int, leadership: Leadership) -> bool:
        """Whether a better-placed worker is caught up and has been stable for a while.

        Who has only just begun to lead has not seen yet by whom operations come.
        """
        timing = self._ctx.timing
        age_ms = self._ctx.now_ms - leadership.began_ms
        return (
            leadership.settled
            and age_ms >= (timing.follow_ms if self._entrance.worker else timing.stable_ms)
            and self._peers[worker].ready
            and self._peers.stable_ms(worker) >= timing.stable_ms
            and leadership.followers.whole(worker)
        )

    def _go_on(self, partition: int, leadership: Leadership) -> None:
        successor, since_ms = self._under_way[partition]
        if leadership.idle:
            del self._under_way[partition]
            self._released(partition, successor)
            self.give(partition, successor)
        elif not self._candidacy.draining and self._ctx.now_ms - since_ms > self._ctx.timing.suspect_ms:
            del self._under_way[partition]
            leadership.closing = False
