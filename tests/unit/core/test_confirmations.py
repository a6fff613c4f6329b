"""Rounds that confirm a leader for all reads that wait."""

from __future__ import annotations

import pytest

from kvnode.core.confirmations import Confirmations
from kvnode.core.context import Context
from kvnode.core.messages import ConfirmBatch, ConfirmReply, Refusal
from kvnode.core.operations import Kind, Operation, Outcome, Status
from kvnode.core.peers import Peers
from kvnode.core.pending import Pending
from kvnode.core.versions import Ballot
from tests.unit.core.building import Outcomes, sent

LEAD = (0, Ballot(1, 1))


@pytest.fixture
def confirmations(ctx: Context, peers: Peers) -> Confirmations:
    """Return rounds with two live peers, with no heartbeat due."""
    confirmations = Confirmations(ctx, peers)
    confirmations.flush()
    for send in sent(ctx):
        confirmations.answered(send.to, ConfirmReply(send.request.number, []))
    return confirmations


def join(confirmations: Confirmations, outcomes: Outcomes, token: int) -> None:
    """Let a read wait for confirmation."""
    pending = Pending(Operation(Kind.GET, "a"), outcomes, token, 1000)
    confirmations.join(pending, Outcome(Status.OK, node=token), LEAD, (2, 3))


def rounds(ctx: Context) -> list[tuple[int, ConfirmBatch]]:
    """Take the rounds that were begun."""
    return [(send.to, send.request) for send in sent(ctx) if isinstance(send.request, ConfirmBatch)]


def test_one_round_serves_all_that_wait(ctx: Context, confirmations: Confirmations) -> None:
    """Reads that gathered before a round began are answered by it together."""
    outcomes = Outcomes()
    for token in (1, 2, 3):
        join(confirmations, outcomes, token)
    confirmations.flush()
    ((worker, batch),) = rounds(ctx)
    assert batch.ballots == [LEAD]
    assert outcomes.told == []
    confirmations.answered(worker, ConfirmReply(batch.number, []))
    assert [token for token, _ in outcomes.told] == [1, 2, 3]


def test_a_round_under_way_serves_nobody_new(ctx: Context, confirmations: Confirmations) -> None:
    """A read that comes while a round is under way is confirmed by another one."""
    outcomes = Outcomes()
    join(confirmations, outcomes, 1)
    confirmations.flush()
    ((worker, first),) = rounds(ctx)
    join(confirmations, outcomes, 2)
    confirmations.flush()
    ((other, second),) = rounds(ctx)
    assert other != worker
    confirmations.answered(worker, ConfirmReply(first.number, []))
    assert [token for token, _ in outcomes.told] == [1]
    confirmations.answered(other, ConfirmReply(second.number, []))
    assert [token for token, _ in outcomes.told] == [1, 2]


def test_a_round_gathers_while_all_peers_are_asked(ctx: Context, confirmations: Confirmations) -> None:
    """With rounds under way everywhere a read waits for the next one."""
    outcomes = Outcomes()
    for token in (1, 2):
        join(confirmations, outcomes, token)
        confirmations.flush()
    (worker, first), _ = rounds(ctx)
    join(confirmations, outcomes, 3)
    confirmations.flush()
    assert not rounds(ctx)
    confirmations.answered(worker, ConfirmReply(first.number, []))
    confirmations.flush()
    ((again, third),) = rounds(ctx)
    assert again == worker
    confirmations.answered(worker, ConfirmReply(third.number, []))
    assert [token for token, _ in outcomes.told] == [1, 3]


def test_a_replica_without_a_vote_confirms_nothing(ctx: Context, confirmations: Confirmations) -> None:
    """A refusal for want of a vote does not count; the other follower is asked after a while."""
    outcomes = Outcomes()
    join(confirmations, outcomes, 1)
    confirmations.flush()
    ((worker, batch),) = rounds(ctx)
    refusal = Refusal(0, Ballot(0, 0), voting=False)
    confirmations.answered(worker, ConfirmReply(batch.number, [refusal]))
    assert outcomes.told == []
    ctx.now_ms = ctx.timing.hedge_ms
    confirmations.tick()
    confirmations.flush()
    ((other, batch),) = rounds(ctx)
    assert other != worker
    confirmations.answered(other, ConfirmReply(batch.number, []))
    assert [outcome.status for _, outcome in outcomes.told] == [Status.OK]


def test_gives_up_at_the_deadline(ctx: Context, confirmations: Confirmations) -> None:
    """A read that nobody confirms is unavailable at its deadline, and not answered again after it."""
    outcomes = Outcomes()
    join(confirmations, outcomes, 1)
    confirmations.flush()
    ((worker, batch),) = rounds(ctx)
    ctx.now_ms = 1000
    confirmations.tick()
    confirmations.answered(worker, ConfirmReply(batch.number, []))
    assert [outcome.status for _, outcome in outcomes.told] == [Status.UNAVAILABLE]
