"""Which partitions this worker leads, and who leads the others as far as it knows.

A worker offers to lead a partition when, in its own view, nobody leads it and it is its turn; it
leads once a majority has promised its ballot, and no longer than until it hears of a higher one.
"""

from __future__ import annotations

from kvnode.core.beliefs import Beliefs
from kvnode.core.calls import Calls
from kvnode.core.candidacy import Candidacy
from kvnode.core.comparison import Settling, Turns
from kvnode.core.confirmations import Confirmations
from kvnode.core.context import Context
from kvnode.core.copies import Copies
from kvnode.core.elections import Election, Elections
from kvnode.core.entrance import Entrance
from kvnode.core.handover import HandOvers
from kvnode.core.leadership import Leadership, Parts
from kvnode.core.messages import AcceptItem, Refusal
from kvnode.core.peers import Peers
from kvnode.core.pending import Pending
from kvnode.core.versions import Ballot


class Leaders:
    """The leaderships of all partitions that this worker holds."""

    def __init__(
        self, ctx: Context, peers: Peers, calls: Calls, copies: Copies, confirmations: Confirmations
    ) -> None:
        self._ctx = ctx
        self._peers = peers
        self._calls = calls
        self._parts = Parts(calls, confirmations, copies, peers)
        self.held = ctx.ring.held_by(ctx.worker)
        self.led: dict[int, Leadership] = {}
        self.whole: set[int] = set()
        self.changes = 0
        self._candidacy = Candidacy(ctx, peers)
        self._elections = Elections(ctx, calls, self)
        self.entrance = Entrance(ctx)
        self._hand_overs = HandOvers(
            ctx, peers, calls, self._candidacy, self.entrance, self.led, self._release
        )
        self._settlings: dict[int, Settling] = {}
        self._turns = Turns()
        self._beliefs = Beliefs(ctx)
        self._highest: dict[int, int] = {}
        self._doubted: set[int] = set()
        self._started_ms: int | None = None
        self._calm = False
        self._considered_ms = 0

    # --- what others ask --------------------------------------------------------------------------

    def leader_of(self, partition: int) -> int:
        """Return who leads a partition as far as is known here (0: unknown)."""
        ballot = self._beliefs.ballot(partition)
        return 0 if ballot is None else ballot.worker

    def submit(self, partition: int, pending: Pending) -> None:
        """Execute an operation if this worker leads the partition or should; else decline it."""
        leadership = self.led.get(partition)
        if leadership is not None:
            leadership.submit(pending)
            return
        if self._knows_its_way:
            self._consider(partition)
        if not self._elections.park(partition, pending):
            live = self._leader_is_live(partition)
            pending.decline(self.leader_of(partition) if live else self._candidacy.first(partition))

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
                self._candidacy.whole_again(partition)

    # --- coming to lead ---------------------------------------------------------------------------

    @property
    def _knows_its_way(self) -> bool:
        """Whether this process has been at work for long enough to have heard of those who lead."""
        started_ms = self._started_ms
        return started_ms is not None and self._ctx.now_ms - started_ms >= self._ctx.timing.suspect_ms

    def led_before(self, worker: int) -> list[tuple[int, Ballot]]:
        """Return what this worker leads and a better-placed one might stand for, with the ballots."""
        leads = []
        for partition, leadership in self.led.items():
            replicas = self._ctx.ring.preference_list(partition)
            if worker in replicas[: replicas.index(self._ctx.worker)]:
                leads.append((partition, leadership.ballot))
        return leads[: self._ctx.bounds.batch_items]

    def _leader_is_live(self, partition: int) -> bool:
        """Whether a leader is known and live, or if only not here, then to a majority by what peers say.

        Whoever stood against a leader that only it cannot hear would be stood against in turn, for ever.
        """
        leader = self.leader_of(partition)
        if not leader or self._peers.live(leader):
            return bool(leader)
        replicas = self._ctx.ring.preference_list(partition)
        others = [worker for worker in replicas if worker not in (self._ctx.worker, leader)]
        return 1 + self._peers.vouching(others, leader) >= self._ctx.quorum

    def _is_taken(self, partition: int) -> bool:
        return partition in self.led or partition in self._elections or self._leader_is_live(partition)

    def _consider(self, partition: int) -> None:
        """Offer to lead a partition that nobody leads, if it is ours to do so."""
        if not self._is_taken(partition) and self._candidacy.may_stand(partition):
            self._stand(partition)

    def _stand(self, partition: int) -> None:
        self._beliefs.forget(partition)
        self._elections.stand(partition, self._highest.get(partition, 0))

    def asked_to_lead(self, partitions: list[int]) -> None:
        """Stand for partitions that their leader has just handed over."""
        for partition in partitions:
            if (
                partition not in self.led
                and partition not in self._elections
                and self._ctx.journal.voting(partition)
                and self._candidacy.may_lead(self._ctx.worker)
            ):
                self._stand(partition)

    def flush(self) -> None:
        """Send what elections have gathered."""
        self._elections.flush()

    def won(self, partition: int, election: Election) -> None:
        """Lead a partition from now on."""
        leadership = Leadership(self._ctx, partition, election.ballot, self._parts, self.overtaken)
        self.led[partition] = leadership
        self._beliefs.seen(partition, election.ballot)
        self._candidacy.leader_seen(partition)
        self.changes += 1
        settling = Settling(self._ctx, self._calls, self._peers, leadership, self.overtaken, self._turns)
        self._settlings[partition] = settling
        settling.start(election.promises)
        for pending in election.parked:
            leadership.submit(pending)

    def lost(self, partition: int, election: Election, promised: Ballot) -> None:
        """Stand back for whoever was promised a higher ballot."""
        self._note_higher(partition, promised)
        self._candidacy.stand_back(partition)
        for pending in election.parked:
            pending.decline(promised.worker)

    # --- news -------------------------------------------------------------------------------------

    def _note_higher(self, partition: int, ballot: Ballot) -> None:
        if ballot.worker != self._ctx.worker:
            self._beliefs.heard(partition, ballot)
        self._highest[partition] = max(self._highest.get(partition, 0), ballot.term)

    def promised(self, partition: int, ballot: Ballot, *, leads: bool) -> None:
        """Note another worker's ballot: whoever led or stood before is overtaken."""
        news = self._beliefs.ballot(partition) != ballot
        if leads:
            self._beliefs.seen(partition, ballot)
        else:
            self._beliefs.heard(partition, ballot)
        if news:
            self._elections.overtaken(partition, ballot)
            self._end(partition, ballot)

    def overtaken(self, refusal: Refusal, _worker: int) -> None:
        """Note a higher ballot that another replica has promised."""
        leadership = self.led.get(refusal.partition)
        if leadership is not None and refusal.promised > leadership.ballot:
            self._note_higher(refusal.partition, refusal.promised)
            self._end(refusal.partition, refusal.promised)

    def _end(self, partition: int, ballot: Ballot) -> None:
        leadership = self._dismiss(partition)
        if leadership is not None:
            self._hand_overs.drop(partition)
            self._candidacy.led_for(partition, self._ctx.now_ms - leadership.began_ms)
            self._candidacy.stand_back(partition)
            self._ctx.outbox.note("leadership_lost", partition=partition, to=ballot.worker)
            leadership.end(ballot.worker)

    def _release(self, partition: int, successor: int) -> None:
        """Lead no more, because a successor is going to."""
        leadership = self._dismiss(partition)
        if leadership is not None:
            self._beliefs.forget(partition)
            self._candidacy.handed_over(partition)
            leadership.end(successor)

    def _dismiss(self, partition: int) -> Leadership | None:
        leadership = self.led.pop(partition, None)
        settling = self._settlings.pop(partition, None)
        if settling is not None:
            settling.end()
        if leadership is not None and leadership.settled:
            self.whole.add(partition)
        return leadership

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
        """Take over, at once, what a lost peer led and is ours to lead, unless it is lost here alone."""
        self._doubted.update(partition for partition in self.held if self.leader_of(partition) == worker)
        self._replace_lost()

    def _replace_lost(self) -> None:
        """Consider the partitions whose leader was lost and is live to no majority either."""
        for partition in [partition for partition in self._doubted if not self._leader_is_live(partition)]:
            self._calm = False
            self._doubted.remove(partition)
            self._beliefs.forget(partition)
            self._candidacy.leader_lost(partition)
            self._consider(partition)

    def rebuilt(self, partition: int) -> None:
        """Vote in a partition again: what was copied does not stand yet, so others had better lead it."""
        self._candidacy.copied(partition)

    def forget_votes(self, worker: int, partition: int | None = None) -> None:
        """Discount what a worker that has lost data knew, in one partition or in all."""
        for number, leadership in self.led.items():
            if partition in (None, number):
                leadership.forget_votes(worker)
                leadership.followers.lost(worker)
        self._elections.forget_votes(worker, partition)

    def damaged(self, partition: int) -> None:
        """Lead a partition no more, because records of it were lost here; somebody else should."""
        self._elections.drop(partition)
        self._hand_overs.drop(partition)
        if partition in self.led:
            successor = self._candidacy.first_other(partition)
            self._release(partition, successor)
            if successor:
                self._hand_overs.give(partition, successor)
        self.whole.discard(partition)

    # --- time and the end -------------------------------------------------------------------------

    def tick(self) -> None:
        """Expire, ask again, take over, hand over."""
        if self._started_ms is None:
            self._started_ms = self._ctx.now_ms
        for leadership in [lead for lead in self.led.values() if lead.busy]:
            leadership.tick()
        for partition, settling in list(self._settlings.items()):
            if settling.done:
                del self._settlings[partition]
            else:
                settling.go_on()
        self._elections.tick(self._candidacy.has_quorum)
        self._beliefs.expire()
        if self._knows_its_way:
            self._replace_lost()
            if not self._calm or self._ctx.now_ms - self._considered_ms >= self._ctx.timing.heartbeat_ms:
                self._consider_all()
        self.entrance.tick()
        self._hand_overs.tick()

    def _consider_all(self) -> None:
        """Look after the partitions that nobody leads: often if there are any, else as hearts beat."""
        self._calm, self._considered_ms = True, self._ctx.now_ms
        for partition in self.held:
            if partition in self.led:
                continue
            if self._is_taken(partition):
                self._candidacy.leader_seen(partition)
            else:
                self._calm = False
                self._candidacy.leader_missed(partition)
                self._consider(partition)

    @property
    def draining(self) -> bool:
        """Whether this worker leads nothing new."""
        return self._candidacy.draining

    def drain(self) -> None:
        """Lead nothing new, and hand over what is led."""
        self._candidacy.draining = True
        self._elections.drop_all()
        self._hand_overs.tick()

    @property
    def drained(self) -> bool:
        """Whether nothing is led that anybody else could lead."""
        return self._hand_overs.done
