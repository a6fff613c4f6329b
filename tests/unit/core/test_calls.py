"""Waiting for a reply, and for the disk."""

from __future__ import annotations

from kvnode.core.calls import Calls
from kvnode.core.context import Context
from kvnode.core.messages import HandOver, HandOverReply, Reply
from tests.unit.core.building import FakeJournal


def ask(ctx: Context, calls: Calls, told: list[Reply | None]) -> int:
    """Ask worker 2 something; return its number."""
    number = ctx.number()
    calls.ask(2, HandOver(number, []), lambda _worker, reply: told.append(reply))
    return number


def test_an_asker_is_told_once(ctx: Context) -> None:
    """The first reply of the worker that was asked counts, and no other."""
    calls, told = Calls(ctx), list[Reply | None]()
    reply = HandOverReply(ask(ctx, calls, told))
    calls.answered(3, reply)
    assert told == []
    calls.answered(2, reply)
    calls.answered(2, reply)
    calls.peer_lost(2)
    assert told == [reply]


def test_an_asker_is_told_of_a_lost_peer(ctx: Context) -> None:
    """When the peer is lost the asker is told None, and a late reply is ignored."""
    calls, told = Calls(ctx), list[Reply | None]()
    number = ask(ctx, calls, told)
    calls.peer_lost(2)
    calls.answered(2, HandOverReply(number))
    assert told == [None]


def test_an_asker_is_not_kept_for_ever(ctx: Context) -> None:
    """Without any reply the asker is told None after twice the time of suspicion."""
    calls, told = Calls(ctx), list[Reply | None]()
    ask(ctx, calls, told)
    ctx.now_ms = 2 * ctx.timing.suspect_ms
    calls.tick()
    assert told == []
    ctx.now_ms += 1
    calls.tick()
    assert told == [None]


def test_waits_for_what_was_appended_before(ctx: Context, journal: FakeJournal) -> None:
    """A call runs once everything appended before it is durable, not earlier, and in order."""
    ran: list[int] = []
    ctx.durability.after_all(lambda: ran.append(0))
    journal.appended_lsn = 5
    ctx.durability.after_all(lambda: ran.append(1))
    journal.appended_lsn = 6
    ctx.durability.after_all(lambda: ran.append(2))
    assert ran == [0]
    journal.durable_lsn = 5
    ctx.durability.advanced()
    assert ran == [0, 1]
    journal.durable_lsn = 6
    ctx.durability.advanced()
    assert ran == [0, 1, 2]
