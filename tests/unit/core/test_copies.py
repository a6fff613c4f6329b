"""Records on their way to the other replicas."""

from __future__ import annotations

import pytest

from kvnode.core.context import Context
from kvnode.core.copies import LATENT_MS, Copies
from kvnode.core.effects import Proceed, Send
from kvnode.core.messages import AcceptBatch, AcceptItem, AcceptReply, Refusal
from kvnode.core.versions import Ballot
from tests.unit.core.building import record, sent


class Counter:
    """Counts copies."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int, int]] = []

    def copied(self, worker: int, item: AcceptItem) -> None:
        self.events.append(("copied", worker, item.record.version.seq))

    def copy_refused(self, worker: int, item: AcceptItem, refusal: Refusal) -> None:
        self.events.append(("refused", worker, item.record.version.seq))

    def copy_dropped(self, worker: int, item: AcceptItem) -> None:
        self.events.append(("dropped", worker, item.record.version.seq))


@pytest.fixture
def counter() -> Counter:
    """Return who counts."""
    return Counter()


@pytest.fixture
def copies(ctx: Context, counter: Counter) -> Copies:
    """Return empty lanes to two peers."""
    copies = Copies(ctx, [2, 3])
    copies.watcher = counter
    return copies


def test_waits_for_the_link(ctx: Context, copies: Copies) -> None:
    """Records queue while there is no link and leave together, in order, when there is one."""
    for seq in (1, 2):
        copies.offer(2, AcceptItem(record(seq)))
    copies.flush()
    assert sent(ctx) == []
    copies.link_up(2)
    copies.flush()
    (send,) = sent(ctx)
    assert isinstance(send.request, AcceptBatch)
    assert [item.record.version.seq for item in send.request.items] == [1, 2]


def test_tells_what_became_of_each(ctx: Context, copies: Copies, counter: Counter) -> None:
    """Of an answered batch each record is reported as copied or refused, once."""
    copies.link_up(2)
    for seq in (1, 2):
        copies.offer(2, AcceptItem(record(seq)))
    copies.flush()
    number = sent(ctx)[0].request.number
    reply = AcceptReply(number, [(1, Refusal(0, Ballot(2, 3)))])
    copies.answered(2, reply)
    copies.answered(2, reply)
    assert counter.events == [("copied", 2, 1), ("refused", 2, 2)]


def test_the_next_batch_leaves_before_the_watcher_is_told(
    ctx: Context, copies: Copies, counter: Counter
) -> None:
    """What waits for the peer is on its way when answers are made of what it has acknowledged, in order."""
    copies.link_up(2)
    copies.offer(2, AcceptItem(record(1)))
    copies.flush()
    number = sent(ctx)[0].request.number
    copies.offer(2, AcceptItem(record(2)))
    copies.flush()
    copies.answered(2, AcceptReply(number, []))
    send, proceed = ctx.outbox.take()
    assert isinstance(send, Send)
    assert isinstance(proceed, Proceed)
    assert counter.events == []
    proceed.call()
    assert counter.events == [("copied", 2, 1)]
    copies.offer(2, AcceptItem(record(3)))
    copies.flush()
    copies.answered(2, AcceptReply(send.request.number, []))
    copies.tell(2)
    assert counter.events == [("copied", 2, 1), ("copied", 2, 2)]
    for effect in ctx.outbox.take():
        if isinstance(effect, Proceed):
            effect.call()
    assert counter.events == [("copied", 2, 1), ("copied", 2, 2)]


def test_sends_again_after_a_break(ctx: Context, copies: Copies) -> None:
    """What was unanswered when the link broke is sent again over the next one."""
    copies.link_up(2)
    copies.offer(2, AcceptItem(record(1)))
    copies.flush()
    copies.link_down(2)
    copies.flush()
    copies.link_up(2)
    copies.flush()
    first, second = sent(ctx)
    assert first.request.number != second.request.number


def test_latent_copies_ride_along_or_leave_together(ctx: Context, copies: Copies) -> None:
    """One of two copies leaves at once; the other waits for company, but not for long."""
    copies.link_up(2)
    copies.link_up(3)
    copies.spread((2, 3), AcceptItem(record(1)), 1)
    copies.spread((3, 2), AcceptItem(record(2)), 1)
    copies.flush()
    (send,) = sent(ctx)
    assert isinstance(send.request, AcceptBatch)
    assert send.to == 2
    assert len(send.request.items) == 2
    copies.spread((2, 3), AcceptItem(record(3)), 1)
    copies.flush()
    (send,) = sent(ctx)
    assert isinstance(send.request, AcceptBatch)
    assert send.to == 3
    assert len(send.request.items) == 3
    copies.answered(2, AcceptReply(0, []))
    ctx.now_ms += LATENT_MS
    copies.flush()
    assert sent(ctx) == []


def test_latent_copies_do_not_wait_for_ever(ctx: Context, copies: Copies) -> None:
    """Without company they leave after a few milliseconds."""
    copies.link_up(2)
    copies.link_up(3)
    copies.spread((2, 3), AcceptItem(record(1)), 1)
    copies.flush()
    assert [send.to for send in sent(ctx)] == [2]
    ctx.now_ms += LATENT_MS
    copies.flush()
    assert [send.to for send in sent(ctx)] == [3]


@pytest.mark.parametrize("how", ["refused", "broken"])
def test_where_a_wanted_copy_fails_the_latent_one_leaves_at_once(
    ctx: Context, copies: Copies, how: str
) -> None:
    """Who refuses, or goes, is not waited for: the other copy is wanted now."""
    copies.link_up(2)
    copies.link_up(3)
    copies.spread((2, 3), AcceptItem(record(1)), 1)
    copies.flush()
    (send,) = sent(ctx)
    assert send.to == 2
    if how == "refused":
        copies.answered(2, AcceptReply(send.request.number, [(0, Refusal(0, Ballot(2, 3)))]))
    else:
        copies.link_down(2)
    copies.flush()
    assert [send.to for send in sent(ctx)] == [3]


def test_drops_what_does_not_fit(copies: Copies, counter: Counter) -> None:
    """Beyond its bound a queue takes nothing more, and the loss is told and counted."""
    for seq in range(1, 6):
        copies.offer(3, AcceptItem(record(seq)))
    assert counter.events == [("dropped", 3, 4), ("dropped", 3, 5)]
    assert copies.dropped == {2: 0, 3: 2}
    assert copies.waiting(3)[0] == 3
