"""A worker as replica: it promises, accepts, confirms and tells what it holds.

Everything reported to a peer is durable before it is reported. A partition that does not vote (its
disk is being rebuilt) refuses all of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Protocol

from kvnode.core.context import Context
from kvnode.core.hash_tree import bucket_of
from kvnode.core.messages import (
    AcceptBatch,
    AcceptReply,
    ConfirmBatch,
    FloorReply,
    Held,
    Prepare,
    PrepareReply,
    Promise,
    ReadStates,
    Refusal,
    Reply,
    SetFloor,
    StatesReply,
    Sync,
    SyncReply,
)
from kvnode.core.records import Record
from kvnode.core.versions import NO_BALLOT, Ballot
from kvnode.errors import DamageError

COMPARE_PAGE = 2000
COPY_PAGE_BYTES = 1024 * 1024
COPY_PAGE_RECORDS = 100


class PromiseWatcher(Protocol):
    """Who must know at once that another worker leads."""

    def promised(self, partition: int, ballot: Ballot, *, leads: bool) -> None:
        """Another worker has shown a ballot that is not below any promise made here.

        ``leads``: as a leader; else it asks to become one.
        """


def load(ctx: Context, partition: int, key: str) -> Record | None:
    """Read the whole record of a key from the journal. Raises DamageError."""
    entry = ctx.journal.entry(partition, key)
    if entry is None:
        return None
    value = None if entry.tombstone else ctx.journal.value(partition, key, entry)
    return Record(partition, key, entry.accepted, entry.version, entry.previous, value, copied=entry.copied)


class Replica:
    """The acceptor of every partition that this worker holds."""

    def __init__(self, ctx: Context, watcher: PromiseWatcher) -> None:
        self._ctx = ctx
        self._journal = ctx.journal
        self._watcher = watcher

    def accept(self, token: int, batch: AcceptBatch) -> None:
        """Append what is newer than what stands, and answer when all of it is durable."""
        refused: list[tuple[int, Refusal]] = []
        for index, item in enumerate(batch.items):
            refusal = self._accept(item.record)
            if refusal is not None:
                refused.append((index, refusal))
        self._respond(token, AcceptReply(batch.number, refused))

    def _accept(self, record: Record) -> Refusal | None:
        partition = record.partition
        refusal = self.admit(partition, record.accepted)
        if refusal is not None:
            return refusal
        journal = self._journal
        if journal.full:
            return self._no_space(partition)
        supersedes = journal.supersedes(record)
        if supersedes is None and record.version <= journal.floor(partition):
            return None if record.value is None else self._refusal(partition)
        if supersedes is not False:
            self._ctx.append(record)
        return None

    def admit(self, partition: int, ballot: Ballot, *, leads: bool = True) -> Refusal | None:
        """Promise a ballot that is higher; refuse a lower one, and any for want of a vote or of space.

        Whose ballot it is, is noted in either case: who has its vote or its space back does not stand
        against whoever leads meanwhile, but waits to be handed what is its own.
        """
        if partition not in self._ctx.held:
            return Refusal(partition, NO_BALLOT, voting=False)
        promised = self._journal.promised(partition)
        if not self._journal.voting(partition):
            if ballot >= promised:
                self._watcher.promised(partition, ballot, leads=leads)
            return Refusal(partition, NO_BALLOT, voting=False)
        if ballot < promised:
            return Refusal(partition, promised)
        if ballot > promised and self._journal.full:
            self._watcher.promised(partition, ballot, leads=leads)
            return self._no_space(partition)
        if ballot > promised:
            self._journal.promise(partition, ballot)
        self._watcher.promised(partition, ballot, leads=leads)
        return None

    def confirm(self, batch: ConfirmBatch) -> list[Refusal]:
        """Return which of the ballots have been overtaken here."""
        refused = []
        for partition, ballot in batch.ballots:
            if partition not in self._ctx.held or not self._journal.voting(partition):
                refused.append(Refusal(partition, NO_BALLOT, voting=False))
            elif self._journal.promised(partition) > ballot:
                refused.append(self._refusal(partition))
            else:
                self._watcher.promised(partition, ballot, leads=True)
        return refused

    def prepare(self, token: int, message: Prepare) -> None:
        """Promise each ballot that is not below what is promised."""
        promises: list[Promise] = []
        refused: list[Refusal] = []
        for partition, ballot in message.ballots:
            refusal = self.admit(partition, ballot, leads=False)
            if refusal is None:
                promises.append(self.promise_of(partition))
            else:
                refused.append(refusal)
        self._respond(token, PrepareReply(message.number, promises, refused))

    def promise_of(self, partition: int) -> Promise:
        """Describe what stands here, to go with a promise."""
        tree = self._journal.tree(partition)
        return Promise(partition, tree.root, self._journal.floor(partition))

    def read_states(self, token: int, message: ReadStates) -> None:
        """Tell what is held for some keys, after promising the asker's ballot."""
        partition = message.partition
        refusal = self.admit(partition, message.ballot)
        records: list[Record | None] = []
        if refusal is None:
            try:
                records = [load(self._ctx, partition, key) for key in message.keys]
            except DamageError:
                refusal = self._damaged(partition)
            if not self._journal.voting(partition):  # lost meanwhile, with what should be held
                refusal = self._damaged(partition)
        floor = self._journal.floor(partition)
        self._respond(token, StatesReply(message.number, partition, records, floor, refusal))

    def sync(self, token: int, message: Sync) -> Refusal | None:
        """Answer one page of a comparison by the partition's leader; None if it agrees in whole."""
        partition = message.partition
        refusal = self.admit(partition, message.ballot)
        if refusal is not None:
            self._respond(token, self._sync_reply(message, refused=refusal))
            return refusal
        mine = self._journal.tree(partition).buckets
        differing = [
            bucket
            for bucket, (ours, theirs) in enumerate(zip(mine, message.buckets, strict=True))
            if ours != theirs
        ]
        held, more = self._held_after(partition, frozenset(differing), message.after)
        self._respond(token, self._sync_reply(message, differing=differing, held=held, more=more))
        return None

    def set_floor(self, token: int, message: SetFloor) -> None:
        """Raise the floor, and forget, as the partition's leader says."""
        partition, journal = message.partition, self._journal
        refusal = self.admit(partition, message.ballot)
        if refusal is None and journal.full:
            refusal = self._no_space(partition)
        if refusal is None:
            self._ctx.raise_floor(partition, message.floor, message.forgotten)
        floor, forgotten = journal.floor(partition), journal.forgotten(partition)
        self._respond(token, FloorReply(message.number, partition, floor, forgotten, refusal))

    def copy(self, token: int, message: Sync) -> None:
        """Answer one page of a copy for a disk that is being rebuilt."""
        partition = message.partition
        if partition not in self._ctx.held or not self._journal.voting(partition):
            self.refuse_copy(token, message)
            return
        try:
            records, more = self._page_after(partition, message.after)
        except DamageError:
            self._respond(token, self._sync_reply(message, refused=self._damaged(partition)))
            return
        if not self._journal.voting(partition):  # lost meanwhile, with what should be held
            self.refuse_copy(token, message)
            return
        self._respond(token, self._sync_reply(message, records=records, more=more))

    def refuse_copy(self, token: int, message: Sync) -> None:
        """Answer that nothing can be copied from here now."""
        refusal = Refusal(message.partition, NO_BALLOT, voting=False)
        self._respond(token, self._sync_reply(message, refused=refusal))

    def _page_after(self, partition: int, after: str) -> tuple[list[Record], bool]:
        records: list[Record] = []
        size = 0
        for key in self._keys_after(partition, after):
            record = load(self._ctx, partition, key)
            if record is None:
                continue
            if size > COPY_PAGE_BYTES or len(records) == COPY_PAGE_RECORDS:
                return records, True
            records.append(record)
            size += len(record.value or b"") + len(key) + 100
        return records, False

    def _damaged(self, partition: int) -> Refusal:
        self._ctx.damaged.add(partition)
        return Refusal(partition, NO_BALLOT, voting=False)

    def _held_after(self, partition: int, buckets: frozenset[int], after: str) -> tuple[list[Held], bool]:
        held: list[Held] = []
        if not buckets:
            return held, False
        for key in self._keys_after(partition, after):
            if bucket_of(key) not in buckets:
                continue
            if len(held) == COMPARE_PAGE:
                return held, True
            entry = self._journal.entry(partition, key)
            if entry is not None:
                held.append(Held(key, entry.accepted, entry.version, entry.copied, entry.tombstone))
        return held, False

    def _keys_after(self, partition: int, after: str) -> Iterator[str]:
        while keys := self._journal.keys_after(partition, after, 512):
            yield from keys
            after = keys[-1]

    def _sync_reply(
        self,
        message: Sync,
        *,
        differing: list[int] | None = None,
        held: list[Held] | None = None,
        records: list[Record] | None = None,
        more: bool = False,
        refused: Refusal | None = None,
    ) -> SyncReply:
        partition = message.partition
        return SyncReply(
            number=message.number,
            partition=partition,
            promised=self._journal.promised(partition),
            floor=self._journal.floor(partition),
            differing=differing or [],
            held=held or [],
            records=records or [],
            more=more,
            refused=refused,
            forgotten=self._journal.forgotten(partition),
        )

    def _refusal(self, partition: int) -> Refusal:
        return Refusal(partition, self._journal.promised(partition))

    def _no_space(self, partition: int) -> Refusal:
        return Refusal(partition, self._journal.promised(partition), full=True)

    def _respond(self, token: int, reply: Reply) -> None:
        self._ctx.durability.after_all(partial(self._ctx.outbox.respond, token, reply))
