"""Who is held for a leader, and for how long."""

from __future__ import annotations

from kvnode.core.beliefs import A_PARTITION_MS, SUSPICIONS, Beliefs
from kvnode.core.context import Context
from kvnode.core.versions import Ballot

FIRST, SECOND = Ballot(1, 2), Ballot(2, 3)


def wait(ctx: Context) -> None:
    """Let as much time pass as hearsay is believed."""
    ctx.now_ms += SUSPICIONS * ctx.timing.suspect_ms + A_PARTITION_MS * len(ctx.held)


def test_a_leader_that_has_shown_itself_is_believed_in(ctx: Context) -> None:
    """Time alone does not unmake a leader, nor does hearing of it again."""
    beliefs = Beliefs(ctx)
    beliefs.heard(0, FIRST)
    beliefs.seen(0, FIRST)
    beliefs.heard(0, FIRST)
    wait(ctx)
    beliefs.expire()
    assert beliefs.ballot(0) == FIRST


def test_hearsay_is_believed_for_a_while(ctx: Context) -> None:
    """Who was promised to and never shows itself leads nothing; hearing it again prolongs nothing."""
    beliefs = Beliefs(ctx)
    beliefs.seen(0, FIRST)
    beliefs.heard(0, SECOND)
    ctx.now_ms += 1
    beliefs.heard(0, SECOND)
    beliefs.expire()
    assert beliefs.ballot(0) == SECOND
    wait(ctx)
    beliefs.expire()
    assert beliefs.ballot(0) is None
