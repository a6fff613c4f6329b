"""Two transports on loopback: links come up, messages arrive and are answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from kvnode.core.messages import (
    AcceptReply,
    Attempt,
    ConfirmBatch,
    ConfirmReply,
    ExecuteBatch,
    ExecuteReply,
    FloorReply,
    Form,
    FormReply,
    HandOver,
    HandOverReply,
    Prepare,
    PrepareReply,
    ReadStates,
    Reply,
    Request,
    SetFloor,
    StatesReply,
    Sync,
    SyncReply,
)
from kvnode.core.operations import Kind, Operation, Outcome, Status
from kvnode.core.versions import NO_BALLOT, NO_VERSION, Ballot, Version
from kvnode.rpc.transport import GrpcTransport
from tests.conftest import find_free_ports
from tests.unit.rpc.fakes import FakeInbox, Respond, batch, hello, record, serving

Pair = tuple[FakeInbox, GrpcTransport, FakeInbox, GrpcTransport]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """Two workers with their links up, both ways."""
    peers = {worker: f"127.0.0.1:{port}" for worker, port in enumerate(find_free_ports(2), 1)}
    one, two = FakeInbox(hello(1)), FakeInbox(hello(2))
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(serving(one, peers, bind=peers[1]))
        second = await stack.enter_async_context(serving(two, peers, bind=peers[2]))
        await one.until(lambda: bool(one.ups))
        await two.until(lambda: bool(two.ups))
        yield one, first, two, second


async def test_links_come_up_both_ways_with_the_other_sides_greeting(pair: Pair) -> None:
    """Each side is told once of the other's process, as it greeted."""
    one, _, two, _ = pair
    assert one.ups == [hello(2)]
    assert two.ups == [hello(1)]
    assert not one.downs
    assert not two.downs


async def test_a_stream_is_answered_on_the_loop_and_knows_its_sender(pair: Pair) -> None:
    """The receiver is told who asks; the reply returns to the asker."""
    one, first, two, _ = pair
    first.send(2, batch(5, record("ä/b", b'{"x": 1}'), record("gone", None, seq=2)))
    await one.until(lambda: bool(one.replies))
    assert one.replies == [(2, AcceptReply(5, []))]
    assert two.requests == [(hello(1), batch(5, record("ä/b", b'{"x": 1}'), record("gone", None, seq=2)))]


async def test_both_directions_are_links_of_their_own(pair: Pair) -> None:
    """What one side sends does not wait for what the other sends."""
    one, first, two, second = pair
    first.send(2, batch(1))
    second.send(1, batch(2, record(leader=2)))
    await one.until(lambda: bool(one.replies))
    await two.until(lambda: bool(two.replies))
    assert (one.replies, two.replies) == ([(2, AcceptReply(1, []))], [(1, AcceptReply(2, []))])


async def test_execute_is_answered_in_pieces_and_the_next_batch_does_not_wait(pair: Pair) -> None:
    """Outcomes come as they are known, those of an earlier batch after a later one's."""
    one, first, two, _ = pair
    responds: list[Respond] = []
    two.answer = lambda _, respond: responds.append(respond)
    attempts = [Attempt(n, Operation(Kind.GET, f"k{n}"), 1000) for n in range(1, 4)]
    done = Outcome(Status.OK, Version(1, 1, 1), b"1", node=2, leader=2)
    first.send(2, ExecuteBatch(1, attempts[:2]))
    await two.until(lambda: len(responds) == 1)
    responds[0](ExecuteReply(1, [(2, done)]))
    await one.until(lambda: len(one.replies) == 1)
    first.send(2, ExecuteBatch(2, attempts[2:]))
    await two.until(lambda: len(responds) == 2)
    responds[1](ExecuteReply(2, [(3, done)]))
    responds[0](ExecuteReply(2, [(1, done)]))
    await one.until(lambda: len(one.replies) == 3)
    assert [reply for _, reply in one.replies] == [
        ExecuteReply(1, [(2, done)]),
        ExecuteReply(2, [(3, done)]),
        ExecuteReply(2, [(1, done)]),
    ]


async def test_a_stream_that_waits_holds_up_no_other(pair: Pair) -> None:
    """A heartbeat is answered while an AcceptBatch waits for its sync."""
    one, first, two, _ = pair

    def answer(request: Request, respond: Respond) -> None:
        if isinstance(request, ConfirmBatch):
            respond(ConfirmReply(request.number, [], ready=True))

    two.answer = answer
    first.send(2, batch(1))
    first.send(2, ConfirmBatch(2, [(1, Ballot(1, 1))], agreed=[1]))
    await one.until(lambda: bool(one.replies))
    assert one.replies == [(2, ConfirmReply(2, [], ready=True))]


CALLS: list[tuple[Request, Reply]] = [
    (Prepare(1, [(7, Ballot(2, 1))]), PrepareReply(1, [], [])),
    (
        ReadStates(2, 7, Ballot(2, 1), ["a", "b"]),
        StatesReply(2, 7, [record("a"), None], NO_VERSION),
    ),
    (
        Sync(3, 7, NO_BALLOT, [], "", "disk-1"),
        SyncReply(3, 7, NO_BALLOT, NO_VERSION, [], [], [record()], more=False),
    ),
    (
        SetFloor(6, 7, Ballot(2, 1), Version(2, 1, 9), NO_VERSION),
        FloorReply(6, 7, Version(2, 1, 9), NO_VERSION),
    ),
    (HandOver(4, [1, 2]), HandOverReply(4)),
    (Form(5, "cluster", {1: "disk-1", 2: "disk-2"}), FormReply(5, joined=True)),
]


@pytest.mark.parametrize(("request_", "reply"), CALLS, ids=lambda one: type(one).__name__)
async def test_single_calls_are_answered(pair: Pair, request_: Request, reply: Reply) -> None:
    """Each single call reaches the inbox as it was sent, and its reply the asker."""
    one, first, two, _ = pair
    two.answer = lambda _, respond: respond(reply)
    first.send(2, request_)
    await one.until(lambda: bool(one.replies))
    assert two.requests == [(hello(1), request_)]
    assert one.replies == [(2, reply)]


async def test_single_calls_may_be_answered_out_of_order(pair: Pair) -> None:
    """One that waits does not hold up the next."""
    one, first, two, _ = pair
    responds: dict[int, Respond] = {}
    two.answer = lambda request, respond: responds.update({request.number: respond})
    for number in range(1, 4):
        first.send(2, HandOver(number, [number]))
    await two.until(lambda: len(responds) == 3)
    for number in (3, 1, 2):
        responds[number](HandOverReply(number))
    await one.until(lambda: len(one.replies) == 3)
    assert sorted((worker, reply.number) for worker, reply in one.replies) == [(2, 1), (2, 2), (2, 3)]


async def test_messages_of_twelve_mebibytes_pass_both_ways(pair: Pair) -> None:
    """Neither a large request nor a large reply is refused."""
    one, first, two, _ = pair
    value = b'"' + b"x" * (12 * 1024 * 1024) + b'"'
    two.answer = lambda request, respond: respond(
        ExecuteReply(request.number, [(1, Outcome(Status.OK, Version(1, 1, 1), value))])
    )
    first.send(2, ExecuteBatch(1, [Attempt(1, Operation(Kind.PUT, "big", value), 5000)]))
    await one.until(lambda: bool(one.replies))
    reply = one.replies[0][1]
    assert isinstance(reply, ExecuteReply)
    assert reply.outcomes[0][1].value == value
    assert not one.downs


async def test_what_is_sent_while_no_link_is_up_is_dropped() -> None:
    """Sending to a peer that is not there, or that is not known, does nothing."""
    inbox = FakeInbox(hello(1))
    [port] = find_free_ports(1)
    async with serving(inbox, {2: f"127.0.0.1:{port}"}) as transport:
        transport.send(2, batch(1))
        transport.send(3, batch(2))
        transport.close_link(3, "no such peer")
    assert not inbox.downs


async def test_a_closed_link_comes_up_again(pair: Pair) -> None:
    """Closing a link is reported in a later turn, once, and followed by a new link."""
    one, first, _, _ = pair
    first.close_link(2, "greet anew")
    assert not one.downs
    first.send(2, batch(1))
    await one.until(lambda: len(one.ups) == 2)
    assert one.downs == [(2, "greet anew")]
    first.send(2, batch(2))
    await one.until(lambda: bool(one.replies))
    assert one.replies == [(2, AcceptReply(2, []))]


async def test_a_stop_waits_for_what_is_under_way() -> None:
    """A request that was taken in is answered before its receiver closes."""
    responds: list[Respond] = []
    one, two = FakeInbox(hello(1)), FakeInbox(hello(2), lambda _, respond: responds.append(respond))
    async with serving(two) as second, serving(one, {2: f"127.0.0.1:{second.port}"}) as first:
        await one.until(lambda: bool(one.ups))
        first.send(2, batch(9))
        await two.until(lambda: bool(responds))
        stopping = asyncio.create_task(second.stop(5))
        asyncio.get_running_loop().call_later(0.1, responds[0], AcceptReply(9, []))
        await stopping
        await one.until(lambda: bool(one.downs))
    assert one.replies == [(2, AcceptReply(9, []))]


def sorted_by_number(inbox: FakeInbox, responds: list[Respond]) -> list[Respond]:
    """Return the ways to answer in the order of the requests' numbers."""
    numbers = [request.number for _, request in inbox.requests]
    return [respond for _, respond in sorted(zip(numbers, responds, strict=True))]


async def test_a_stop_waits_for_the_answers_to_what_was_sent() -> None:
    """What was sent before the stop is answered, if the peer answers in time."""
    responds: list[Respond] = []
    one, two = FakeInbox(hello(1)), FakeInbox(hello(2), lambda _, respond: responds.append(respond))
    async with serving(two) as second, serving(one, {2: f"127.0.0.1:{second.port}"}) as first:
        await one.until(lambda: bool(one.ups))
        first.send(2, batch(9))
        first.send(2, HandOver(10, [1]))
        await two.until(lambda: len(responds) == 2)
        on_accept, on_hand_over = sorted_by_number(two, responds)
        asyncio.get_running_loop().call_later(0.1, on_accept, AcceptReply(9, []))
        asyncio.get_running_loop().call_later(0.2, on_hand_over, HandOverReply(10))
        await first.stop(5)
    assert [reply for _, reply in one.replies] == [AcceptReply(9, []), HandOverReply(10)]
    assert one.downs == [(2, "stopping")]


async def test_a_stop_gives_up_after_its_grace() -> None:
    """A request that nobody answers does not hold up the stop."""
    one, two = FakeInbox(hello(1)), FakeInbox(hello(2), lambda *_: None)
    async with serving(two) as second, serving(one, {2: f"127.0.0.1:{second.port}"}) as first:
        await one.until(lambda: bool(one.ups))
        first.send(2, batch(9))
        await two.until(lambda: bool(two.requests))
        async with asyncio.timeout(5):
            await asyncio.gather(first.stop(0.1), second.stop(0.1))
    assert len(one.downs) == 1
