"""Keeping followers equal to their leader: comparing by hash tree, and repairing what differs.

Every led partition is compared with each live follower: at once when it is not yet known to be
whole there, when changes have come to rest, and from time to time. A repair is an ordinary accept under the
leader's ballot. What is still on its way in a lane differs too, so a key counts as behind only when
it has differed twice in a row with the same record, and a follower as whole though some differ for
the first time: unless it has lost something since the last look, which may then be one of them.
Repairs are begun a few at a time, so that what clients ask for goes first.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from kvnode.core.calls import Calls
from kvnode.core.comparison import Comparison
from kvnode.core.context import Context
from kvnode.core.copies import Copies
from kvnode.core.forgetting import Forgetting
from kvnode.core.leaders import Leaders
from kvnode.core.leadership import Leadership
from kvnode.core.messages import AcceptItem
from kvnode.core.peers import Peers
from kvnode.core.throttle import Throttle
from kvnode.core.versions import Ballot, Version

AT_ONCE = 32
ROUTINE_AT_ONCE = 2
REPAIRS_AT_ONCE = 5
REPAIRS_PER_S = 500
LANE_ROOM = 1000
IDLE_ROUNDS = 4

Rank = tuple[Ballot, Version]


class Check:
    """What is known of one follower's copy of one partition, under one ballot."""

    __slots__ = (
        "ballot",
        "checked_ms",
        "looked_ms",
        "losses",
        "root",
        "seen",
        "suspects",
        "under_way",
    )

    def __init__(self, ballot: Ballot) -> None:
        self.ballot = ballot
        self.checked_ms: int | None = None
        self.looked_ms = 0
        self.losses = 0
        self.root: int | None = None
        self.seen: int | None = None
        self.suspects: dict[str, Rank | None] = {}
        self.under_way = False


class Repairs(NamedTuple):
    """Keys that a comparison found behind at a follower. It is under way until all are repaired."""

    check: Check
    leadership: Leadership
    worker: int
    keys: list[str]


class Progress(NamedTuple):
    """Of the partitions led here and one follower: see ``kvnode.core.status.PeerStatus``."""

    comparing: int
    behind_in: list[int]
    differing: int
    repaired: int


class AntiEntropy:
    """Compares and repairs, a few partitions at a time."""

    def __init__(
        self,
        ctx: Context,
        peers: Peers,
        calls: Calls,
        copies: Copies,
        leaders: Leaders,
        forgetting: Forgetting,
    ) -> None:
        self._ctx = ctx
        self._peers = peers
        self._calls = calls
        self._copies = copies
        self._leaders = leaders
        self._forgetting = forgetting
        self._checks: dict[tuple[int, int], Check] = {}
        self._untold: dict[int, set[int]] = {peer.worker: set() for peer in peers}
        self._under_way = 0
        self._repairs: deque[Repairs] = deque()
        self._throttle = Throttle(REPAIRS_PER_S)
        self._ticked_ms = 0
        self.repaired = {peer.worker: 0 for peer in peers}

    def progress(self, worker: int) -> Progress:
        """Return how far the partitions that are led here are compared with a peer's copies."""
        led = self._leaders.led
        checks = [
            check for (partition, peer), check in self._checks.items() if peer == worker and partition in led
        ]
        return Progress(
            comparing=sum(check.under_way for check in checks),
            behind_in=sorted(p for p, lead in led.items() if worker in lead.followers.lacking()),
            differing=sum(len(check.suspects) for check in checks),
            repaired=self.repaired[worker],
        )

    def has_to_tell(self, worker: int) -> bool:
        """Whether a peer has come to hold some partitions whole since it was last told."""
        return bool(self._untold[worker])

    def tell(self, worker: int) -> list[int]:
        """Return the partitions that a peer has come to hold whole since it was last told."""
        untold = self._untold[worker]
        if not untold:
            return []
        told = sorted(untold)
        untold.clear()
        return told

    def link_up(self, worker: int) -> None:
        """Compare everything with a peer whose process, and so whose copy, may be another one."""
        for (_, follower), check in self._checks.items():
            if follower == worker:
                check.root = None
                check.checked_ms = None
                check.suspects = {}
        for leadership in self._leaders.led.values():
            leadership.followers.lost(worker)
        self._untold[worker].clear()

    def copy_dropped(self, worker: int, item: AcceptItem) -> None:
        """Compare again: a copy did not fit the queue, or was refused."""
        leadership = self._leaders.led.get(item.record.partition)
        if leadership is not None:
            leadership.followers.lost(worker)

    def tick(self) -> None:
        """Repair a little; start the comparisons that are due, looked for as often as hearts beat."""
        if self._ctx.journal.full:
            return
        self._repair_some()
        if self._ctx.now_ms - self._ticked_ms < self._ctx.timing.heartbeat_ms:
            return
        self._ticked_ms = self._ctx.now_ms
        for partition, leadership in self._leaders.led.items():
            if not leadership.settled or leadership.closing:
                continue
            for worker in leadership.others:
                if self._under_way >= AT_ONCE:
                    return
                if self._peers.spacious([worker]) and self._due(partition, worker, leadership):
                    self._compare(partition, worker, leadership)

    def _due(self, partition: int, worker: int, leadership: Leadership) -> bool:
        check = self._checks.get((partition, worker))
        if check is None or check.ballot != leadership.ballot:
            check = self._checks[partition, worker] = Check(leadership.ballot)
        if check.under_way or self._copies.waiting(worker)[0] > LANE_ROOM:
            return False
        if check.checked_ms is None:
            return True
        now, timing = self._ctx.now_ms, self._ctx.timing
        age = now - check.checked_ms
        if not leadership.followers.whole(worker):
            return age >= timing.heartbeat_ms
        if now - check.looked_ms < timing.compare_ms or self._under_way >= ROUTINE_AT_ONCE:
            return False
        check.looked_ms = now
        root = self._ctx.journal.tree(partition).root
        at_rest, check.seen = root == check.seen, root
        open_question = root != check.root or bool(check.suspects)
        return age >= timing.compare_ms * (1 if at_rest and open_question else IDLE_ROUNDS)

    def _compare(self, partition: int, worker: int, leadership: Leadership) -> None:
        check = self._checks[partition, worker]
        check.under_way = True
        if check.root is None:
            check.losses = leadership.followers.losses(worker)
        self._under_way += 1
        root = self._ctx.journal.tree(partition).root
        round_ = self._forgetting.round_of(leadership)

        def done(worker: int, keys: list[str] | None) -> None:
            self._compared(check, leadership, root, worker, keys)
            if keys is not None and not leadership.ended:
                self._forgetting.compared(round_, worker, keys)
                if comparison.lags:
                    self._forgetting.set_floor(leadership, worker)

        comparison = Comparison(self._ctx, self._calls, leadership, self._leaders.overtaken, done)
        comparison.start(worker)

    def _compared(
        self, check: Check, leadership: Leadership, root: int, worker: int, keys: list[str] | None
    ) -> None:
        self._under_way -= 1
        check.checked_ms = check.looked_ms = self._ctx.now_ms
        if keys is None or leadership.ended:
            check.under_way = False
            return
        first_pass = check.root is None
        check.root = root
        losses = leadership.followers.losses(worker)
        lost, check.losses = losses != check.losses, losses
        if first_pass:
            behind = [] if self._copies.waiting(worker)[0] else keys
        else:
            suspects = check.suspects
            behind = [
                key
                for key in keys
                if key in suspects and suspects[key] == self._rank(leadership.partition, key)
            ]
        if behind:
            self._ctx.outbox.note(
                "partition_repaired", partition=leadership.partition, peer=worker, keys=len(behind)
            )
            self._repairs.append(Repairs(check, leadership, worker, behind))
        else:
            check.under_way = False
        check.suspects = {key: self._rank(leadership.partition, key) for key in keys}
        if not lost and (not keys or not (first_pass or behind)) and leadership.followers.agreed(worker):
            self._untold[worker].add(leadership.partition)

    def _repair_some(self) -> None:
        """Repair some of what was found, as long as the followers' lanes have room."""
        if not self._throttle.is_open(self._ctx.now_ms):
            return
        left = REPAIRS_AT_ONCE
        for _ in range(len(self._repairs)):
            check, leadership, worker, keys = self._repairs[0]
            if leadership.ended or not self._peers.live(worker):
                keys.clear()
            while keys and left and self._copies.waiting(worker)[0] <= LANE_ROOM:
                leadership.repair(keys.pop(), worker)
                self.repaired[worker] += 1
                left -= 1
            if keys:
                self._repairs.rotate(-1)
            else:
                self._repairs.popleft()
                check.under_way = False
                check.checked_ms = check.looked_ms = self._ctx.now_ms
        self._throttle.spend(REPAIRS_AT_ONCE - left, self._ctx.now_ms)

    def _rank(self, partition: int, key: str) -> Rank | None:
        entry = self._ctx.journal.entry(partition, key)
        return None if entry is None else entry.rank
