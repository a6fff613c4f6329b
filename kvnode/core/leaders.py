"""Which partitions this worker leads, and which it should: elections, takeover, hand-over.

A worker offers to lead a partition when, in its own view, nobody leads it and it is the first live
worker of the preference list, or those before it have not led for a while (their view may differ).
A leader that is not the first hands over to a better-placed replica once that one is caught up and
has been stable for a while. Being wrong about who is alive costs a round of ballots, never a write.
"""

from __future__ import annotations

from functools import partial

from kvnode.core.calls import Calls
from kvnode.core.comparison import Settling
from kvnode.core.confirmations import Confirmations
from kvnode.core.context import Context
from kvnode.core.copies import Copies
from kvnode.core.leadership import Leadership, Parts
from kvnode.core.messages import (
    AcceptItem,
    HandOver,
    Prepare,
    PrepareReply,
    Promise,
    Refusal,
    Reply,
)
from kvnode.core.peers import Peers
from kvnode.core.pending import Pending
from kvnode.core.versions import NO_VERSION, Ballot

HAND_OVERS_AT_ONCE = 16
PARKED_MAX = 1024
REFUSALS_COUNTED = 10


class Election:
    """One try to lead one partition, and the operations that wait for its end."""

    __slots__ = ("asked_ms", "ballot", "parked", "promises")

    def __init__(self, ballot: Ballot, now_ms: int) -> None:
        self.ballot = ballot
        self.asked_ms = now_ms
        self.promises: dict[int, Promise] = {}
        self.parked: list[Pending] = []


class Leaders:
    """Elections and leaderships of all partitions that this worker holds."""

    def __init__(
        self, ctx: Context, peers: Peers, calls: Calls, copies: Copies, confirmations: Confirmations
    ) -> None:
        self._ctx = ctx
        self._peers = peers
        self._calls = calls
        self._parts = Parts(calls, confirmations, copies, peers)
        self.held = ctx.ring.held_by(ctx.worker)
        self.led: dict[int, Leadership] = {}
        self.draining = False
        self.whole: set[int] = set()
        self.changes = 0
        self._settlings: dict[int, Settling] = {}
        self._elections: dict[int, Election] = {}
        self._leader: dict[int, Ballot] = {}
        self._highest: dict[int, int] = {}
        self._leaderless_ms: dict[int, int] = {}
        self._not_before_ms: dict[int, int] = {}
        self._refused: dict[int, int] = {}
        self._to_prepare: list[tuple[int, Ballot]] = []
        self._handing: dict[int, tuple[int, int]] = {}
        self._started_ms: int | None = None

    # --- what others ask --------------------------------------------------------------------------

    def leader_of(self, partition: int) -> int:
        """Return who leads a partition as far as is known here (0: unknown)."""
        ballot = self._leader.get(partition)
        return 0 if ballot is None else ballot.worker

    def submit(self, partition: int, pending: Pending) -> None:
        """Execute an operation if this worker leads the partition or should; else decline it."""
        leadership = self.led.get(partition)
        if leadership is not None:
            if leadership.closing:
                pending.decline(0)
            else:
                leadership.submit(pending)
            return
        if partition not in self._elections and not self._leader_is_live(partition):
            self._consider(partition)
        election = self._elections.get(partition)
        if election is not None and len(election.parked) < PARKED_MAX:
            election.parked.append(pending)
        elif self._leader_is_live(partition):
            pending.decline(self.leader_of(partition))
        else:
            pending.decline(self._first_live(partition))

    @property
    def behind(self) -> int:
        """Count the partitions held here that are not known to be whole."""
        return sum(
            partition not in self.whole and not (partition in self.led and self.led[partition].settled)
            for partition in self.held
        )

    def agreed(self, worker: int, partitions: list[int]) -> None:
        """Take a leader's word that this worker holds some partitions whole."""
        for partition in partitions:
            if self.leader_of(partition) in (0, worker):
                self.whole.add(partition)

    # --- elections --------------------------------------------------------------------------------

    def _leader_is_live(self, partition: int) -> bool:
        ballot = self._leader.get(partition)
        return ballot is not None and self._peers.live(ballot.worker)

    def _candidate(self, worker: int) -> bool:
        if worker == self._ctx.worker:
            return not self.draining
        peer = self._peers[worker]
        votes = peer.ready or (peer.hello is not None and peer.hello.voting)
        return peer.live and votes and not peer.draining

    def _first_live(self, partition: int) -> int:
        for worker in self._ctx.ring.preference_list(partition):
            if self._candidate(worker):
                return worker
        return 0

    def _has_quorum(self, partition: int) -> bool:
        replicas = self._ctx.ring.preference_list(partition)
        return sum(self._peers.live(worker) for worker in replicas) >= self._ctx.quorum

    def _consider(self, partition: int) -> None:
        """Offer to lead a partition that nobody leads, if it is ours to do so."""
        if (
            self._is_our_turn(partition)
            and self._ctx.journal.voting(partition)
            and self._ctx.now_ms >= self._not_before_ms.get(partition, 0)
            and self._has_quorum(partition)
        ):
            self._stand(partition)

    def _is_our_turn(self, partition: int) -> bool:
        """Whether no live worker is placed before us, or each such one has had its time to lead."""
        now, patience_ms = self._ctx.now_ms, 0
        for worker in self._ctx.ring.preference_list(partition):
            if worker == self._ctx.worker:
                break
            if self._candidate(worker):
                patience_ms += 2 * self._ctx.timing.suspect_ms
        waited_ms = now - self._leaderless_ms.get(partition, now)
        return not self.draining and waited_ms >= patience_ms

    def _stand(self, partition: int) -> None:
        promised = self._ctx.journal.promised(partition)
        term = max(promised.term, self._highest.get(partition, 0)) + 1
        ballot = Ballot(term, self._ctx.worker)
        self._ctx.journal.promise(partition, ballot)
        self._leader.pop(partition, None)
        self._elections[partition] = Election(ballot, self._ctx.now_ms)
        self._to_prepare.append((partition, ballot))

    def flush(self) -> None:
        """Send what elections have gathered, once this worker's own promises are durable."""
        if self._to_prepare:
            ballots, self._to_prepare = self._to_prepare, []
            self._ctx.durability.after_all(partial(self._prepare, ballots))

    def _prepare(self, ballots: list[tuple[int, Ballot]]) -> None:
        by_peer: dict[int, list[tuple[int, Ballot]]] = {}
        for partition, ballot in ballots:
            election = self._elections.get(partition)
            if election is None or election.ballot != ballot:
                continue
            election.asked_ms = self._ctx.now_ms
            self._promised_by(self._ctx.worker, Promise(partition, 0, NO_VERSION), ballot)
            for worker in self._ctx.ring.preference_list(partition):
                if worker != self._ctx.worker and worker not in election.promises:
                    by_peer.setdefault(worker, []).append((partition, ballot))
        for worker, asked in by_peer.items():
            message = Prepare(self._ctx.number(), asked)
            self._calls.ask(worker, message, partial(self._prepared, dict(asked)))

    def _prepared(self, asked: dict[int, Ballot], worker: int, reply: Reply | None) -> None:
        if not isinstance(reply, PrepareReply):
            return
        for promise in reply.promises:
            self._promised_by(worker, promise, asked.get(promise.partition))
        for refusal in reply.refused:
            election = self._elections.get(refusal.partition)
            if election is not None and refusal.promised > election.ballot:
                self._lose(refusal.partition, refusal.promised)

    def _promised_by(self, worker: int, promise: Promise, ballot: Ballot | None) -> None:
        partition = promise.partition
        election = self._elections.get(partition)
        if election is None or election.ballot != ballot:
            return
        election.promises[worker] = promise
        if len(election.promises) >= self._ctx.quorum:
            del self._elections[partition]
            self._win(partition, election)

    def _win(self, partition: int, election: Election) -> None:
        ballot = election.ballot
        leadership = Leadership(self._ctx, partition, ballot, self._parts, self.overtaken)
        self.led[partition] = leadership
        self._leader[partition] = ballot
        self.changes += 1
        settling = Settling(self._ctx, self._calls, self._peers, leadership, self.overtaken)
        self._settlings[partition] = settling
        settling.start(election.promises)
        for pending in election.parked:
            leadership.submit(pending)

    def _lose(self, partition: int, promised: Ballot) -> None:
        election = self._elections.pop(partition)
        self._highest[partition] = max(self._highest.get(partition, 0), promised.term)
        self._stand_back(partition)
        if promised.worker != self._ctx.worker:
            self._leader[partition] = promised
        for pending in election.parked:
            pending.decline(self.leader_of(partition))

    def _stand_back(self, partition: int) -> None:
        """Do not stand again for a while, and the longer the more often others were preferred."""
        refused = self._refused[partition] = min(self._refused.get(partition, 0) + 1, REFUSALS_COUNTED)
        delay = self._ctx.timing.backoff_ms * 2**refused * (0.5 + self._ctx.random())
        self._not_before_ms[partition] = self._ctx.now_ms + int(delay)

    # --- news -------------------------------------------------------------------------------------

    def promised(self, partition: int, ballot: Ballot) -> None:
        """Note another worker's ballot: whoever led or stood before is overtaken."""
        if self._leader.get(partition) == ballot:
            return
        if partition in self._elections:
            self._lose(partition, ballot)
        self._leader[partition] = ballot
        self._end(partition, ballot)

    def overtaken(self, refusal: Refusal, _worker: int) -> None:
        """Note a higher ballot that another replica has promised."""
        leadership = self.led.get(refusal.partition)
        if leadership is not None and refusal.promised > leadership.ballot:
            highest = self._highest.get(refusal.partition, 0)
            self._highest[refusal.partition] = max(highest, refusal.promised.term)
            self._leader[refusal.partition] = refusal.promised
            self._end(refusal.partition, refusal.promised)

    def _end(self, partition: int, ballot: Ballot) -> None:
        leadership = self.led.pop(partition, None)
        if leadership is not None:
            self._settlings.pop(partition, None)
            self._handing.pop(partition, None)
            if leadership.settled:
                self.whole.add(partition)
            if self._ctx.now_ms - leadership.began_ms >= self._ctx.timing.stable_ms:
                self._refused.pop(partition, None)
            self._stand_back(partition)
            self._ctx.outbox.note("leadership_lost", partition=partition, to=ballot.worker)
            leadership.end(ballot.worker)

    def copied(self, worker: int, item: AcceptItem) -> None:
        """Count a copy for the leadership that it was sent under."""
        record = item.record
        leadership = self.led.get(record.partition)
        if leadership is not None and leadership.ballot == record.accepted:
            leadership.copied(worker, record)

    def copy_refused(self, worker: int, _item: AcceptItem, refusal: Refusal) -> None:
        """Stop leading if a copy was refused for a higher ballot."""
        self.overtaken(refusal, worker)

    def peer_live(self, worker: int) -> None:
        """Nothing to do: a peer that comes back is compared with, then trusted again."""

    def peer_lost(self, worker: int) -> None:
        """Take over, at once, what a lost peer led and is ours to lead."""
        for partition in self.held:
            if self.leader_of(partition) == worker:
                del self._leader[partition]
                self._not_before_ms.pop(partition, None)
                if partition not in self._elections:
                    self._consider(partition)

    def forget_votes(self, worker: int) -> None:
        """Discount an earlier disk of a worker everywhere."""
        for leadership in self.led.values():
            leadership.forget_votes(worker)
        for election in self._elections.values():
            election.promises.pop(worker, None)

    # --- time -------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Expire, ask again, take over, hand over."""
        now, timing = self._ctx.now_ms, self._ctx.timing
        if self._started_ms is None:
            self._started_ms = now
        for leadership in list(self.led.values()):
            leadership.tick()
        for settling in list(self._settlings.values()):
            settling.go_on()
        self._expire_parked(now)
        for partition, election in list(self._elections.items()):
            if not self._has_quorum(partition):
                self._abandon(partition)
            elif now - election.asked_ms >= timing.prepare_retry_ms:
                election.asked_ms = now
                self._to_prepare.append((partition, election.ballot))
        if now - self._started_ms >= timing.suspect_ms:
            self._consider_all(now)
        self._hand_over_some()

    def _consider_all(self, now: int) -> None:
        for partition in self.held:
            if partition in self.led or partition in self._elections or self._leader_is_live(partition):
                self._leaderless_ms.pop(partition, None)
            else:
                self._leaderless_ms.setdefault(partition, now)
                self._consider(partition)

    def _abandon(self, partition: int) -> None:
        for pending in self._elections.pop(partition).parked:
            pending.fail(0, "too few replicas can be reached")

    def _expire_parked(self, now: int) -> None:
        for election in self._elections.values():
            late = [pending for pending in election.parked if pending.deadline_ms <= now]
            if late:
                election.parked = [item for item in election.parked if item.deadline_ms > now]
                for pending in late:
                    pending.fail(0, "no leader was found in time")

    # --- handing over -----------------------------------------------------------------------------

    def _hand_over_some(self) -> None:
        for partition, leadership in list(self.led.items()):
            if partition in self._handing:
                self._finish_hand_over(partition)
            elif len(self._handing) < HAND_OVERS_AT_ONCE or self.draining:
                successor = self._successor(partition, leadership)
                if successor:
                    leadership.closing = True
                    self._handing[partition] = (successor, self._ctx.now_ms)
                    self._finish_hand_over(partition)

    def _successor(self, partition: int, leadership: Leadership) -> int:
        for worker in self._ctx.ring.preference_list(partition):
            if worker == self._ctx.worker:
                if not self.draining:
                    return 0
            elif self.draining:
                if self._candidate(worker):
                    return worker
            elif (
                leadership.settled
                and self._peers.may_lead(worker)
                and self._peers.stable_ms(worker) >= self._ctx.timing.stable_ms
                and self.knows_whole(partition, worker)
            ):
                return worker
        return 0

    def knows_whole(self, partition: int, worker: int) -> bool:
        """Whether a follower is known to hold a partition whole under the present ballot."""
        leadership = self.led.get(partition)
        return leadership is not None and worker in leadership.whole_followers

    def _finish_hand_over(self, partition: int) -> None:
        leadership = self.led[partition]
        successor, since_ms = self._handing[partition]
        if leadership.idle:
            del self._handing[partition]
            del self.led[partition]
            self._settlings.pop(partition, None)
            if leadership.settled:
                self.whole.add(partition)
            self._leader.pop(partition, None)
            self._not_before_ms[partition] = self._ctx.now_ms + self._ctx.timing.suspect_ms
            leadership.end(successor)
            message = HandOver(self._ctx.number(), [partition])
            self._calls.ask(successor, message, lambda _worker, _reply: None)
        elif not self.draining and self._ctx.now_ms - since_ms > self._ctx.timing.suspect_ms:
            del self._handing[partition]
            leadership.closing = False

    def asked_to_lead(self, partitions: list[int]) -> None:
        """Stand for partitions that their leader has just handed over."""
        for partition in partitions:
            if (
                partition not in self.led
                and partition not in self._elections
                and self._ctx.journal.voting(partition)
                and not self.draining
            ):
                self._stand(partition)

    def drain(self) -> None:
        """Lead nothing new, and hand over what is led."""
        self.draining = True
        for partition in list(self._elections):
            election = self._elections.pop(partition)
            for pending in election.parked:
                pending.decline(0)
        self._hand_over_some()

    @property
    def drained(self) -> bool:
        """Whether nothing is led that anybody else could lead."""
        return not any(
            partition in self._handing or self._successor(partition, leadership)
            for partition, leadership in self.led.items()
        )
