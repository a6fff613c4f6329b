"""gRPC's own client calls our server: every kind of call, and every kind of failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from kvnode.rpc.channel import MESSAGE_BYTES, open_channel, stream_call, unary_call
from kvnode.rpc.http2.errors import CallError
from kvnode.rpc.http2.server import Http2Server
from tests.support.waiting import eventually
from tests.unit.rpc.http2.fakes import (
    DEADLINE_S,
    ECHO,
    FAIL,
    MIB,
    STREAM,
    WAIT,
    Service,
    only_connection,
)

LARGE = bytes(range(256)) * (12 * MIB // 256)

UNLIMITED = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))
"""A client that sends what we do not take."""


@pytest.fixture
async def channel(server: Http2Server) -> AsyncIterator[grpc.aio.Channel]:
    """A channel of grpcio's to it, with the limits that we use."""
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel


async def ask(channel: grpc.aio.Channel, path: str, question: bytes) -> bytes:
    """Make a single call."""
    return await unary_call(channel, path)(question, timeout=DEADLINE_S)


async def refusal(channel: grpc.aio.Channel, path: str, question: bytes = b"") -> tuple[grpc.StatusCode, str]:
    """Make a single call that is refused, and return how."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await ask(channel, path, question)
    return failure.value.code(), failure.value.details() or ""


@pytest.mark.parametrize(
    "question", [b"", b"question", b"x" * 100_000], ids=("empty", "small", "several frames")
)
async def test_a_single_call_is_answered(channel: grpc.aio.Channel, question: bytes) -> None:
    """What is asked comes back."""
    assert await ask(channel, ECHO, question) == question


async def test_a_large_message_passes_both_ways(channel: grpc.aio.Channel) -> None:
    """12 MiB are asked and answered, through windows that are smaller than that."""
    assert await ask(channel, ECHO, LARGE) == LARGE


async def test_large_calls_at_once_do_not_block_one_another(channel: grpc.aio.Channel) -> None:
    """Messages that come in turns, and are more in all than we hold of unfinished ones, do not wait for ever.

    Each call is answered or refused for want of room, and the connection serves the next one.
    """
    calls = [unary_call(channel, ECHO)(LARGE, timeout=DEADLINE_S) for _ in range(4)]
    codes = {await call.code() for call in calls}
    assert codes - {grpc.StatusCode.RESOURCE_EXHAUSTED} == {grpc.StatusCode.OK}
    assert await ask(channel, ECHO, LARGE) == LARGE


async def test_many_calls_at_once_are_all_answered(channel: grpc.aio.Channel) -> None:
    """Each of 500 calls on one connection gets the answer to its own question."""
    questions = [str(number).encode() for number in range(500)]
    assert await asyncio.gather(*(ask(channel, ECHO, question) for question in questions)) == questions


async def test_the_largest_message_is_taken_and_a_larger_one_refused(server: Http2Server) -> None:
    """16 MiB pass, one byte more is RESOURCE_EXHAUSTED, and the connection lives on."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=UNLIMITED) as channel:
        largest = bytes(MESSAGE_BYTES)
        assert await ask(channel, ECHO, largest) == largest
        connection = only_connection(server)
        code, details = await refusal(channel, ECHO, largest + b"x")
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert str(MESSAGE_BYTES) in details
        assert await ask(channel, ECHO, b"still there?") == b"still there?"
        assert only_connection(server) is connection


async def test_an_unknown_method_is_not_implemented(channel: grpc.aio.Channel) -> None:
    """A single call and a stream alike."""
    assert (await refusal(channel, "/test.Test/Unknown"))[0] is grpc.StatusCode.UNIMPLEMENTED
    stream = stream_call(channel, "/test.Test/Unknown")(timeout=DEADLINE_S)
    assert await stream.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_compressed_message_is_not_implemented(channel: grpc.aio.Channel) -> None:
    """The caller is told, and its next call is served."""
    call = unary_call(channel, ECHO)(b"x" * 1000, compression=grpc.Compression.Gzip, timeout=DEADLINE_S)
    assert await call.code() is grpc.StatusCode.UNIMPLEMENTED
    assert await ask(channel, ECHO, b"plain") == b"plain"


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
async def test_every_status_code_arrives(
    channel: grpc.aio.Channel, service: Service, code: grpc.StatusCode
) -> None:
    """The code of a refusal is the code that the caller gets."""
    service.refusal = CallError(code, "why")
    assert await refusal(channel, FAIL) == (code, "why")


@pytest.mark.parametrize("details", ["100 % größer, naïve, 文\n\t\r\x00\x7f", "%41", "", "x" * 3000])
async def test_details_survive_whatever_is_in_them(
    channel: grpc.aio.Channel, service: Service, details: str
) -> None:
    """Other scripts, line ends and percent signs arrive as they were."""
    service.refusal = CallError(grpc.StatusCode.ABORTED, details)
    assert (await refusal(channel, FAIL))[1] == details


async def test_a_stream_goes_both_ways_and_ends_well(channel: grpc.aio.Channel, service: Service) -> None:
    """Each message is answered while the stream is open, and its end with OK."""
    stream = stream_call(channel, STREAM)(timeout=DEADLINE_S)
    for message in (b"one", b"", b"x" * MIB, b"last"):
        await stream.write(message)
        assert await stream.read() == message
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF
    assert await stream.code() is grpc.StatusCode.OK
    assert service.open[0].ends == [None]


async def test_a_stream_is_taken_before_anything_is_sent(channel: grpc.aio.Channel) -> None:
    """The caller hears that its stream is open without a message either way."""
    stream = stream_call(channel, STREAM)(timeout=DEADLINE_S)
    await stream.initial_metadata()
    assert stream.cancel()


async def test_what_was_sent_arrives_though_the_caller_has_ended(channel: grpc.aio.Channel) -> None:
    """A caller that sends everything, ends, and only then reads gets it all before the status."""
    stream = stream_call(channel, STREAM)(timeout=DEADLINE_S)
    messages = [bytes([number]) * MIB for number in range(8)]

    async def write() -> None:
        for message in messages:
            await stream.write(message)
        await stream.done_writing()

    writing = asyncio.create_task(write())
    assert [await stream.read() for _ in messages] == messages
    await writing
    assert await stream.read() is grpc.aio.EOF
    assert await stream.code() is grpc.StatusCode.OK


async def test_a_stream_that_is_refused_half_way_has_its_status(
    channel: grpc.aio.Channel, service: Service
) -> None:
    """What a receiver objects to ends the call with its code and words."""
    stream = stream_call(channel, STREAM)(timeout=DEADLINE_S)
    await stream.write(b"fine")
    assert await stream.read() == b"fine"
    await stream.write(b"refuse")
    assert await stream.code() is grpc.StatusCode.ABORTED
    assert await stream.details() == "as asked"
    assert len(service.open[0].ends) == 1


async def test_a_caller_that_cancels_stops_the_work(channel: grpc.aio.Channel, service: Service) -> None:
    """The task that answers a single call is cancelled with it."""
    call = unary_call(channel, WAIT)(b"", timeout=DEADLINE_S)
    await eventually(lambda: service.waiting == 1)
    assert call.cancel()
    await eventually(lambda: service.cancelled == 1)
    assert service.waiting == 0


async def test_a_caller_that_cancels_ends_its_stream(channel: grpc.aio.Channel, service: Service) -> None:
    """Whoever takes the stream is told once, as CANCELLED."""
    stream = stream_call(channel, STREAM)(timeout=DEADLINE_S)
    await stream.initial_metadata()
    assert stream.cancel()
    [end] = await eventually(lambda: service.open[0].ends)
    assert end is not None
    assert end.code is grpc.StatusCode.CANCELLED


async def test_a_caller_with_a_deadline_stops_the_work_by_it(
    channel: grpc.aio.Channel, service: Service
) -> None:
    """Past its deadline the caller has its status, and the server does not work for nobody."""
    call = unary_call(channel, WAIT)(b"", timeout=0.2)
    assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: service.cancelled == 1)


async def test_an_error_of_ours_is_told_to_its_caller_alone(
    server: Http2Server, channel: grpc.aio.Channel, service: Service
) -> None:
    """An exception that nobody foresaw is INTERNAL, and the connection lives on."""
    service.refusal = ZeroDivisionError("by zero")  # type: ignore[assignment]
    code, details = await refusal(channel, FAIL)
    assert code is grpc.StatusCode.INTERNAL
    assert "ZeroDivisionError" in details
    connection = only_connection(server)
    assert await ask(channel, ECHO, b"still there?") == b"still there?"
    assert only_connection(server) is connection


@pytest.mark.parametrize("name", ["", "test.Test"])
async def test_health_probes_find_what_is_served(channel: grpc.aio.Channel, name: str) -> None:
    """The standard stub hears that the server, and each of its services, serves."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=DEADLINE_S)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_health_probes_of_an_unknown_service_are_told_so(channel: grpc.aio.Channel) -> None:
    """Check says NOT_FOUND; Watch says SERVICE_UNKNOWN and stays."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    question = health_pb2.HealthCheckRequest(service="unknown")
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stub.Check(question, timeout=DEADLINE_S)
    assert failure.value.code() is grpc.StatusCode.NOT_FOUND
    watch = stub.Watch(question, timeout=DEADLINE_S)
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    assert not watch.done()
    watch.cancel()


async def test_health_is_watched_until_the_server_stops(
    server: Http2Server, channel: grpc.aio.Channel
) -> None:
    """Watch answers at once, and ends with the server."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="test.Test"), timeout=DEADLINE_S)
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    assert not watch.done()
    await server.stop(0)
    assert await watch.code() is grpc.StatusCode.UNAVAILABLE


async def test_noise_in_a_health_probe_is_an_invalid_argument(channel: grpc.aio.Channel) -> None:
    """Bytes that are no message are refused in words."""
    code, details = await refusal(channel, "/grpc.health.v1.Health/Check", b"\xff\xff noise")
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details
