"""Leading one partition under one ballot: each key a register, one operation on it at a time.

A ``Leadership`` exists from the moment a majority has promised its ballot until a higher one is
heard of or it is handed over; nothing of it outlives that. Before the first use of a key under the
ballot the key is settled: the newest record that could have been committed before is found on a
majority and, unless it stands on all of that majority, accepted again (Paxos registers with a
leader: riak_ensemble; CASPaxos, Rystsov 2018).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import msgspec

from kvnode.core.calls import Calls
from kvnode.core.confirmations import Confirmations
from kvnode.core.context import Context
from kvnode.core.copies import Copies
from kvnode.core.followers import Followers
from kvnode.core.inquiry import Again, Asking, Inquiry
from kvnode.core.messages import AcceptItem, Refusal
from kvnode.core.operations import Kind, Outcome, Status
from kvnode.core.peers import Peers
from kvnode.core.pending import Pending
from kvnode.core.readings import read_entry
from kvnode.core.records import Entry, Record
from kvnode.core.replica import load
from kvnode.core.slots import Flight, Repair, Settle, Slot, Task
from kvnode.core.versions import Ballot, Version
from kvnode.errors import DamageError


class Parts(NamedTuple):
    """The machines that a leadership works with."""

    calls: Calls
    confirmations: Confirmations
    copies: Copies
    peers: Peers


class Leadership:
    """One partition under one ballot. ``overtaken`` is called when a higher ballot is heard of."""

    def __init__(
        self,
        ctx: Context,
        partition: int,
        ballot: Ballot,
        parts: Parts,
        overtaken: Callable[[Refusal, int], None],
    ) -> None:
        self.partition = partition
        self.ballot = ballot
        self.began_ms = ctx.now_ms
        self.settled = False
        self.closing = False
        self.ended = False
        self.others = ctx.others(partition)
        self.followers = Followers(self.others)
        self._ctx = ctx
        self._parts = parts
        self._asking = Asking(ctx, parts.calls, parts.peers, partition, ballot, self.others, overtaken)
        self._seq = 0
        self._slots: dict[str, Slot] = {}
        self._known: set[str] = set()
        self._doubtful: set[str] = set()

    @property
    def busy(self) -> bool:
        """Whether any key is in use."""
        return bool(self._slots)

    @property
    def idle(self) -> bool:
        """Whether no client's operation is under way or waits (reads that only want confirming aside)."""
        return not any(slot.has_clients for slot in self._slots.values())

    def submit(self, pending: Pending) -> None:
        """Execute an operation after those that came before it on the same key."""
        if self.closing:
            pending.decline(0)
        else:
            self._enqueue(pending.operation.key, pending)

    def repair(self, key: str, follower: int) -> None:
        """Make a follower's copy of a key equal to the committed record."""
        self._enqueue(key, Repair(follower))

    def settle(self, key: str, done: Callable[[], None]) -> None:
        """Settle a key and then call ``done``."""
        self._enqueue(key, Settle(done))

    def settled_whole(self) -> None:
        """Take note that every key not in doubt is settled."""
        self.settled = True
        self._known.clear()

    def _enqueue(self, key: str, task: Task) -> None:
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = Slot()
        slot.queue.append(task)
        self._advance(key, slot)

    def _is_settled(self, key: str) -> bool:
        if self.settled:
            return key not in self._doubtful
        return key in self._known

    def _note_settled(self, key: str) -> None:
        self._doubtful.discard(key)
        if not self.settled:
            self._known.add(key)

    def _note_doubt(self, key: str) -> None:
        self._known.discard(key)
        self._doubtful.add(key)

    def _advance(self, key: str, slot: Slot) -> None:
        while slot.queue and slot.flight is None and slot.inquiry is None and not self.ended:
            if not self._is_settled(key):
                self._inquire(key, slot)
                return
            task = slot.queue.pop(0)
            if isinstance(task, Pending):
                self._execute(key, slot, task)
            elif isinstance(task, Repair):
                self._repair(key, slot, task)
            else:
                task.done()
        if not slot.queue and slot.free and self._slots.get(key) is slot:
            del self._slots[key]

    @property
    def _votes(self) -> bool:
        """Whether what was read from the journal just before is all that it should hold.

        Who loses a record loses its vote first, and hears of it a moment later.
        """
        return self._ctx.journal.voting(self.partition)

    # --- operations -----------------------------------------------------------------------------

    def _execute(self, key: str, slot: Slot, pending: Pending) -> None:
        operation = pending.operation
        entry = self._ctx.journal.entry(self.partition, key)
        condition = operation.condition
        if not self._votes:
            pending.decline(0)
        elif operation.kind is Kind.GET:
            self._confirm(pending, self._read(key, entry))
        elif condition is not None and not condition.holds(entry):
            version = entry.version if entry is not None and not entry.tombstone else None
            me = self._ctx.worker
            failed = Outcome(Status.CONDITION_FAILED, version=version, node=me, leader=me)
            self._confirm(pending, failed)
        elif operation.kind is Kind.DELETE and (entry is None or entry.tombstone):
            self._confirm(pending, self._read(key, entry))
        elif self._may_write(pending):
            previous = None if entry is None else entry.version
            record = self._next_record(key, previous, operation.value)
            if self._ctx.journal.supersedes(record) is not False:
                self._ctx.append(record)
            self._spread(slot, Flight(record, pending, self._ctx.now_ms), operation.request_id)

    def next_version(self) -> Version:
        """Return a version above all that was given under this ballot and those before."""
        self._seq += 1
        return Version(*self.ballot, self._seq)

    def _next_record(self, key: str, previous: Version | None, value: bytes | None) -> Record:
        return Record(self.partition, key, self.ballot, self.next_version(), previous, value)

    def _may_write(self, pending: Pending) -> bool:
        """Whether a majority can take a write; else refuse it, or leave it to a leader with disk space."""
        peers, quorum, full = self._parts.peers, self._ctx.quorum, self._ctx.journal.full
        spacious = peers.spacious(self.others)
        if spacious >= quorum - 1 and not full:
            return True
        if 1 + sum(peers.live(worker) for worker in self.others) < quorum:
            pending.fail(self._ctx.worker, "too few replicas can be reached")
        elif full and spacious >= quorum:
            pending.decline(0)
        else:
            pending.refuse(self._ctx.worker)
        return False

    def _read(self, key: str, entry: Entry | None) -> Outcome | None:
        return read_entry(self._ctx, self.partition, key, entry, leader=self._ctx.worker)

    def _confirm(self, pending: Pending, outcome: Outcome | None) -> None:
        if outcome is None:
            pending.decline(0)
        elif pending.vouched:
            pending.answer(msgspec.structs.replace(outcome, ballot=self.ballot))
        else:
            lead = (self.partition, self.ballot)
            self._parts.confirmations.join(pending, outcome, lead, self.others)

    # --- accepting a record on a majority ---------------------------------------------------------

    def _accept_anew(self, slot: Slot, record: Record) -> None:
        """Have a record stand that may have been committed, or that a majority may lack."""
        entry = self._ctx.journal.entry(self.partition, record.key)
        if entry is None or entry.copied or (record.accepted, record.version) > entry.rank:
            self._ctx.append(record)
        self._spread(slot, Flight(record, None, self._ctx.now_ms))

    def _spread(self, slot: Slot, flight: Flight, request_id: str | None = None) -> None:
        slot.flight = flight
        ctx, record = self._ctx, flight.record
        self._parts.copies.spread(self.others, AcceptItem(record, request_id), ctx.quorum - 1)
        ctx.durability.after_all(partial(self.copied, ctx.worker, record))

    def copied(self, worker: int, record: Record) -> None:
        """Count a durable copy of a record accepted under this ballot."""
        key = record.key
        slot = self._slots.get(key)
        if slot is None or self.ended:
            return
        flight = slot.flight
        if flight is None or flight.record.version != record.version:
            return
        flight.acks.add(worker)
        if len(flight.acks) >= self._ctx.quorum:
            slot.flight = None
            self._commit(key, flight)
            self._advance(key, slot)

    def _commit(self, key: str, flight: Flight) -> None:
        self._note_settled(key)
        if flight.pending is not None:
            copies, replicas, me = len(flight.acks), len(self.others) + 1, self._ctx.worker
            version, pending = flight.record.version, replicas - copies
            stored = Outcome(Status.OK, version, replicas=copies, pending=pending, node=me, leader=me)
            flight.pending.answer(stored)

    def _repair(self, key: str, slot: Slot, task: Repair) -> None:
        try:
            record = load(self._ctx, self.partition, key)
        except DamageError:
            self._ctx.damaged.add(self.partition)
            return
        if not self._votes:
            return
        if record is None:
            self._accept_anew(slot, self._next_record(key, None, None))
        elif record.accepted != self.ballot:
            again = msgspec.structs.replace(record, accepted=self.ballot, copied=False)
            self._accept_anew(slot, again)
        else:
            self._parts.copies.offer(task.follower, AcceptItem(record))

    # --- settling one key -------------------------------------------------------------------------

    def _inquire(self, key: str, slot: Slot) -> None:
        slot.inquiry = Inquiry(self._asking, key, partial(self._found, key))
        slot.inquiry.start()

    def _found(self, key: str, inquiry: Inquiry, again: Again) -> None:
        slot = self._slots.get(key)
        if slot is None or slot.inquiry is not inquiry or self.ended:
            return
        slot.inquiry = None
        if not self._votes:
            return
        if again is None:
            self._note_settled(key)
            self._advance(key, slot)
        else:
            record = again if isinstance(again, Record) else self._next_record(key, None, None)
            self._accept_anew(slot, record)

    # --- time and the end -------------------------------------------------------------------------

    def tick(self) -> None:
        """Give up what is past its deadline; ask again where answers are missing."""
        now, patience_ms = self._ctx.now_ms, 2 * self._ctx.timing.suspect_ms
        for key, slot in list(self._slots.items()):
            for pending in slot.take_late(now):
                pending.fail(self._ctx.worker, "it did not get its turn in time")
            if slot.flight is not None and slot.flight.late(now, patience_ms):
                self._doubt(key, slot, slot.flight)
            elif slot.inquiry is not None and not slot.queue:
                slot.inquiry = None
            elif slot.inquiry is not None:
                slot.inquiry.go_on()
            self._advance(key, slot)

    def _doubt(self, key: str, slot: Slot, flight: Flight) -> None:
        slot.flight = None
        self._note_doubt(key)
        if flight.pending is not None:
            reason = "no majority has made it durable in time; it may be stored now or later"
            flight.pending.doubt(self._ctx.worker, reason)

    def forget_votes(self, worker: int) -> None:
        """Discount what an earlier disk of a worker has acknowledged or told."""
        for slot in self._slots.values():
            slot.forget_votes(worker)

    def end(self, leader: int) -> None:
        """Lead no more: what may have been done is unknown, the rest is declined in favour of ``leader``."""
        self.ended = True
        slots, self._slots = self._slots, {}
        for slot in slots.values():
            if slot.flight is not None and slot.flight.pending is not None:
                reason = "another leader took over before a majority was known to hold it"
                slot.flight.pending.doubt(leader, reason)
            for task in slot.queue:
                if isinstance(task, Pending):
                    task.decline(leader)
        lead = (self.partition, self.ballot)
        declined = Outcome(Status.NOT_LEADER, leader=leader)
        self._parts.confirmations.abandon(lead, declined)
