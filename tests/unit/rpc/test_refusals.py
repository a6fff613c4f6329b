"""Who is refused, and how clearly: other clusters, earlier processes, strangers, malformed messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import grpc
import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from kvnode.core.messages import HandOver, HandOverReply, Hello
from kvnode.rpc.channel import Times, open_channel, stream_call, unary_call
from kvnode.rpc.greetings import Metadata, metadata
from kvnode.rpc.methods import ACCEPT, CALLS, HELLO
from tests.support.waiting import eventually
from tests.unit.rpc.fakes import FakeInbox, batch, hello, serving

QUICK = Times(low_s=0.01, high_s=0.02)


def logged(logs: list[EventDict], event: str) -> Callable[[], list[EventDict]]:
    """Return a condition: the log lines of an event."""
    return lambda: [line for line in logs if line["event"] == event]


@pytest.fixture
def inbox() -> FakeInbox:
    """Worker 2, which answers batches."""
    return FakeInbox(hello(2))


@pytest.fixture
async def channel(inbox: FakeInbox) -> AsyncIterator[grpc.aio.Channel]:
    """A bare connection to worker 2."""
    async with serving(inbox) as transport, open_channel(f"127.0.0.1:{transport.port}") as channel:
        yield channel


async def greet(channel: grpc.aio.Channel, greeting: Hello) -> Hello:
    """Greet as a peer would."""
    return HELLO.decode_reply(await unary_call(channel, HELLO.path)(HELLO.encode_request(greeting)))


async def hand_over(channel: grpc.aio.Channel, entries: Metadata, data: bytes | None = None) -> bytes:
    """Make a single call with some metadata."""
    method = CALLS[HandOver]
    question = method.encode_request(HandOver(1, [1])) if data is None else data
    return await unary_call(channel, method.path)(question, metadata=entries, timeout=5)


async def refused(channel: grpc.aio.Channel, entries: Metadata) -> str:
    """Return why both a call and a stream with this metadata are refused: FAILED_PRECONDITION, in words."""
    with pytest.raises(grpc.aio.AioRpcError) as of_call:
        await hand_over(channel, entries)
    stream = stream_call(channel, ACCEPT.path)(metadata=entries)
    with pytest.raises(grpc.aio.AioRpcError) as of_stream:
        await stream.read()
    for failure in (of_call.value, of_stream.value):
        assert failure.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert of_call.value.details() == of_stream.value.details()
    return of_call.value.details() or ""


async def test_workers_that_disagree_about_the_layout_refuse_each_other() -> None:
    """Neither direction comes up; both ends log why, once, however often they dial."""
    one, two = FakeInbox(hello(1)), FakeInbox(hello(2, layout="other"))
    with capture_logs() as logs:
        async with (
            serving(two, times=QUICK) as second,
            serving(one, {2: f"127.0.0.1:{second.port}"}, times=QUICK) as first,
            serving(two, {1: f"127.0.0.1:{first.port}"}, times=QUICK),
        ):
            await eventually(lambda: len(logs) >= 4)
            await eventually(lambda: one.judged >= 3 and two.judged >= 3)
    assert not one.ups
    assert not two.ups
    by_two, by_one = "layout layout, expected other", "layout other, expected layout"
    assert sorted((line["event"], line["peer"], line["reason"]) for line in logs) == [
        ("greeting_refused", 1, by_two),
        ("greeting_refused", 2, by_one),
        ("peer_refused", 1, by_one),
        ("peer_refused", 2, by_two),
    ]


async def test_the_dialling_side_judges_too() -> None:
    """A link is refused by the side that dials when only that side sees the difference."""
    one, two = FakeInbox(hello(1)), FakeInbox(hello(2, layout="other"))
    two.judge = lambda _: None
    with capture_logs() as logs:
        async with serving(two) as second, serving(one, {2: f"127.0.0.1:{second.port}"}, times=QUICK):
            [line] = await eventually(logged(logs, "peer_refused"))
    assert line["reason"] == "layout other, expected layout"
    assert line["log_level"] == "warning"
    assert not one.ups


async def test_another_worker_at_the_address_is_refused() -> None:
    """An address that leads to the wrong worker is named with both numbers."""
    one, three = FakeInbox(hello(1)), FakeInbox(hello(3))
    with capture_logs() as logs:
        async with serving(three) as third, serving(one, {2: f"127.0.0.1:{third.port}"}, times=QUICK):
            [line] = await eventually(logged(logs, "peer_refused"))
    assert line["reason"] == f"127.0.0.1:{third.port} is worker 3, expected 2"
    assert not one.ups


async def test_a_message_for_an_earlier_process_is_refused(
    channel: grpc.aio.Channel, inbox: FakeInbox
) -> None:
    """What was meant for the process before this one is not executed by this one."""
    await greet(channel, hello(1))
    reason = await refused(channel, metadata(hello(1), hello(2, "earlier")))
    assert reason == "meant for process 'earlier', this is 'process-2'"
    assert not inbox.requests


async def test_a_process_that_has_not_greeted_is_refused(channel: grpc.aio.Channel, inbox: FakeInbox) -> None:
    """Messages are taken only from processes that were checked."""
    reason = await refused(channel, metadata(hello(1), hello(2)))
    assert reason == "process 'process-1' of worker 1 has not greeted this one"
    await greet(channel, hello(1, "later"))
    await refused(channel, metadata(hello(1), hello(2)))
    assert not inbox.requests


async def test_a_call_that_does_not_say_who_speaks_is_refused(channel: grpc.aio.Channel) -> None:
    """Metadata is not optional."""
    assert await refused(channel, ()) == "meant for process None, this is 'process-2'"


async def test_a_stream_of_an_earlier_process_ends_when_the_next_has_greeted(
    channel: grpc.aio.Channel, inbox: FakeInbox
) -> None:
    """A worker's earlier process is no longer listened to, on streams that are open too."""
    await greet(channel, hello(1, "first"))
    stream = stream_call(channel, ACCEPT.path)(metadata=metadata(hello(1, "first"), hello(2)))
    await stream.write(ACCEPT.encode_request(batch(1)))
    assert isinstance(await stream.read(), bytes)
    await greet(channel, hello(1, "second"))
    await stream.write(ACCEPT.encode_request(batch(2)))
    with pytest.raises(grpc.aio.AioRpcError, match="a later process of worker 1 has greeted"):
        await stream.read()
    assert [request.number for _, request in inbox.requests] == [1]


@pytest.mark.parametrize("data", [b"\xff\xff noise", b""], ids=("noise", "no epoch"))
async def test_malformed_messages_are_refused_and_logged(
    channel: grpc.aio.Channel, inbox: FakeInbox, data: bytes
) -> None:
    """Bytes that are no message get INVALID_ARGUMENT with a reason, and the server lives on."""
    entries = metadata(hello(1), hello(2))
    await greet(channel, hello(1))
    with capture_logs() as logs:
        with pytest.raises(grpc.aio.AioRpcError) as of_call:
            await hand_over(channel, entries, data)
        stream = stream_call(channel, ACCEPT.path)(metadata=entries)
        await stream.write(data)
        with pytest.raises(grpc.aio.AioRpcError) as of_stream:
            await stream.read()
    for failure in (of_call.value, of_stream.value):
        assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert failure.details()
    assert [line["event"] for line in logs] == ["peer_message_refused"] * 2
    inbox.answer = lambda _, respond: respond(HandOverReply(1))
    assert await hand_over(channel, entries)


async def test_a_malformed_greeting_is_refused(channel: grpc.aio.Channel) -> None:
    """Hello is as strict as the rest."""
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await unary_call(channel, HELLO.path)(b"\xff\xff noise")
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_failing_inbox_breaks_the_link_and_is_logged() -> None:
    """An error of ours ends the stream with the traceback in the log, and the link is dialled again."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    one, two = FakeInbox(hello(1)), FakeInbox(hello(2), fail)
    with capture_logs() as logs:
        async with serving(two) as second, serving(one, {2: f"127.0.0.1:{second.port}"}) as first:
            await one.until(lambda: bool(one.ups))
            first.send(2, batch(1))
            async with asyncio.timeout(10):
                await one.until(lambda: len(one.ups) == 2)
    assert len(logged(logs, "peer_stream_failed")()) == 1
    assert "ZeroDivisionError" in one.downs[0][1]
