"""Broken on purpose: saying things before they are durable, and forgetting what was said."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kvnode.core.context import DurabilityQueue
from kvnode.core.copies import Copies
from kvnode.core.elections import Election, Elections
from kvnode.core.inquiry import Inquiry
from kvnode.core.leadership import Leadership
from kvnode.core.messages import AcceptItem, AcceptReply
from kvnode.core.slots import Flight, Slot
from kvnode.core.versions import Ballot
from kvnode.storage.store import Store


def acknowledge_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    """Reply, count and answer as soon as a line is appended."""

    def after_all(_: DurabilityQueue, call: Callable[[], None]) -> None:
        call()

    patch.setattr(DurabilityQueue, "after_all", after_all)


def settle_by_an_unsynced_copy(patch: pytest.MonkeyPatch) -> None:
    """Let the leader's own copy stand in an inquiry before it is durable."""

    def start(inquiry: Inquiry) -> None:
        inquiry._tell_own()
        if not inquiry._done:
            inquiry._ask()

    patch.setattr(Inquiry, "start", start)


class Bag(list[int]):
    """Acknowledgements that are counted as often as they come."""

    def add(self, worker: int) -> None:
        """Count one more."""
        self.append(worker)

    def discard(self, worker: int) -> None:
        """Discount all of a worker's."""
        self[:] = [other for other in self if other != worker]


def count_acknowledgements_twice(patch: pytest.MonkeyPatch) -> None:
    """Take every acknowledgement that arrives for one more copy."""
    spread, answered = Leadership._spread, Copies.answered
    seen: dict[tuple[Copies, int], list[AcceptItem]] = {}

    def begin(leadership: Leadership, slot: Slot, flight: Flight, request_id: str | None = None) -> None:
        flight.acks = Bag()  # type: ignore[assignment]
        spread(leadership, slot, flight, request_id)

    def count(copies: Copies, worker: int, reply: AcceptReply) -> None:
        batch = copies._lanes[worker]._batch
        items = seen.setdefault((copies, reply.number), [entry[0] for entry in batch])
        if batch:
            answered(copies, worker, reply)
        elif copies.watcher is not None:
            for item in items:
                copies.watcher.copied(worker, item)

    patch.setattr(Leadership, "_spread", begin)
    patch.setattr(Copies, "answered", count)


def forget_promises(patch: pytest.MonkeyPatch) -> None:
    """Keep promises in memory alone."""

    def promise(store: Store, partition: int, ballot: Ballot) -> int:
        store._states.promised[partition] = ballot
        return store.appended_lsn

    patch.setattr(Store, "promise", promise)


def reuse_ballots(patch: pytest.MonkeyPatch) -> None:
    """Stand after a restart under the ballot that was promised to oneself before it."""
    stand = Elections.stand

    def stand_again(elections: Elections, partition: int, above: int) -> None:
        ctx = elections._ctx
        promised = ctx.journal.promised(partition)
        if promised.worker != ctx.worker or promised.term < above:
            stand(elections, partition, above)
            return
        elections._open[partition] = Election(promised, ctx.now_ms)
        elections._to_prepare.append((partition, promised))

    patch.setattr(Elections, "stand", stand_again)
