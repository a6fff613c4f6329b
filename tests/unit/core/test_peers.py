"""The failure detector."""

from __future__ import annotations

from kvnode.core.context import Context
from kvnode.core.effects import Note
from kvnode.core.messages import ConfirmReply
from kvnode.core.peers import Peers


def test_silence_makes_a_peer_suspect_and_an_answer_live_again(ctx: Context, peers: Peers) -> None:
    """A linked peer that is silent for the time of suspicion is lost, and live with its next answer."""
    for now_ms in range(0, ctx.timing.suspect_ms + 200, 100):
        ctx.now_ms = now_ms
        peers.tick()
        peers.heard(2)
    assert (peers.live(2), peers.live(3)) == (True, False)
    assert ctx.outbox.take() == [Note("peer_suspected", {"peer": 3})]
    peers.heard(3)
    assert peers.live(3)


def test_a_pause_of_our_own_is_nobodys_silence(ctx: Context, peers: Peers) -> None:
    """A worker that was not run for a while suspects nobody for it."""
    peers.tick()
    ctx.now_ms = 60_000
    peers.tick()
    assert peers.live(2)


def test_a_broken_link_counts_at_once(ctx: Context, peers: Peers) -> None:
    """A peer whose link broke is lost without any delay, and an answer to it means nothing any more."""
    peers.link_down(2)
    peers.heard(2)
    assert not peers.live(2)
    assert ctx.outbox.take() == [Note("peer_lost", {"peer": 2})]


def test_a_peer_vouches_by_what_it_has_said_since(ctx: Context, peers: Peers) -> None:
    """That it hears a lost peer counts if it said so after that one was heard last, or its link broke."""
    ctx.now_ms = 1000
    peers.answered(2, _reply(sees=(1, 3)))
    peers.link_down(3)
    assert peers.vouching([2], 3) == 0
    ctx.now_ms = 1200
    peers.answered(2, _reply(sees=(1, 3)))
    assert peers.vouching([2], 3) == 1
    ctx.now_ms = 1400
    peers.answered(2, _reply(sees=(1,)))
    assert peers.vouching([2], 3) == 0
    peers.answered(2, _reply(sees=(1, 3)))
    peers.link_down(2)
    assert peers.vouching([2], 3) == 0


def _reply(sees: tuple[int, ...]) -> ConfirmReply:
    return ConfirmReply(1, [], draining=False, ready=True, quiet=True, sees=sees)
