"""The end of a server: what it waits for, and what it refuses meanwhile."""

from __future__ import annotations

import asyncio
import socket

import grpc
import pytest

from kvnode.rpc.channel import open_channel, unary_call
from kvnode.rpc.http2.errors import CallError
from kvnode.rpc.http2.server import ServerCall, Streaming
from kvnode.rpc.http2.stream import Receiver
from tests.support.waiting import eventually
from tests.unit.rpc.http2.fakes import (
    DEADLINE_S,
    ECHO,
    STREAM,
    WAIT,
    Notes,
    Service,
    dialled,
    only_connection,
    serving,
)

CHAINED = "/test.Test/Chained"
AT_ONCE_S = 2.0
GRACE_S = 60.0
"""Longer than any test may take."""


async def test_calls_under_way_are_answered_and_new_ones_refused(service: Service) -> None:
    """With time to stop, what has begun is finished; whoever comes later hears that it is too late."""
    async with (
        serving(service.routes()) as server,
        dialled(server.port) as connection,
        open_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        asking = asyncio.create_task(connection.ask(WAIT, b"ours"))
        theirs = unary_call(channel, WAIT)(b"theirs", timeout=DEADLINE_S)
        await eventually(lambda: service.waiting == 2)
        stopping = asyncio.create_task(server.stop(GRACE_S))
        await eventually(lambda: server._stopping)
        with pytest.raises(CallError) as failure:
            await connection.ask(ECHO, b"", timeout_s=DEADLINE_S)
        assert failure.value.code is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(grpc.aio.AioRpcError) as of_theirs:
            await unary_call(channel, ECHO)(b"", timeout=DEADLINE_S)
        assert of_theirs.value.code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)
        assert not stopping.done()
        service.answer.set()
        assert await asking == b"ours"
        assert await theirs == b"theirs"
        await asyncio.wait_for(stopping, AT_ONCE_S)
        await eventually(lambda: connection.closed)
        await eventually(lambda: not server._connections)


async def test_a_stop_waits_for_streams(service: Service) -> None:
    """A stream is a call under way until either end ends it."""
    notes = Notes()
    async with serving(service.routes()) as server, dialled(server.port) as connection:
        call = connection.open(STREAM, (), notes)
        await notes.until(lambda: notes.is_open)
        stopping = asyncio.create_task(server.stop(GRACE_S))
        await eventually(lambda: server._stopping)
        call.send(b"still served")
        await notes.until(lambda: notes.messages == [b"still served"])
        assert not stopping.done()
        call.finish()
        assert await notes.end() is None
        await asyncio.wait_for(stopping, AT_ONCE_S)


async def test_a_stop_does_not_wait_for_calls_that_are_given_up(service: Service) -> None:
    """When the last caller has cancelled its call, there is nothing to wait for."""
    async with serving(service.routes()) as server, dialled(server.port) as connection:
        asking = asyncio.create_task(connection.ask(WAIT, b""))
        await eventually(lambda: service.waiting == 1)
        stopping = asyncio.create_task(server.stop(GRACE_S))
        await eventually(lambda: server._stopping)
        asking.cancel()
        await asyncio.wait_for(stopping, AT_ONCE_S)
        await eventually(lambda: service.cancelled == 1)


async def test_a_stop_does_not_wait_for_callers_that_have_gone(service: Service) -> None:
    """When the last caller's connection is lost, there is nothing to wait for either."""
    async with serving(service.routes()) as server:
        async with dialled(server.port) as connection:
            asking = asyncio.create_task(connection.ask(WAIT, b""))
            await eventually(lambda: service.waiting == 1)
            stopping = asyncio.create_task(server.stop(GRACE_S))
            await eventually(lambda: server._stopping)
        await asyncio.wait_for(stopping, AT_ONCE_S)
        with pytest.raises(CallError):
            await asking
        await eventually(lambda: service.cancelled == 1)


async def test_a_stop_does_not_wait_for_calls_that_end_one_another(service: Service) -> None:
    """A call whose end is the end of others on its connection counts once, and so do they."""

    class Chained(Receiver):
        def __init__(self, call: ServerCall) -> None:
            calls.append(call)

        def ended(self, error: CallError | None) -> None:
            for call in calls:
                call.refuse(CallError(grpc.StatusCode.ABORTED, "as the other one"))

    calls: list[ServerCall] = []
    async with (
        serving({**service.routes(), CHAINED: Streaming(Chained)}) as server,
        dialled(server.port) as connection,
        dialled(server.port) as other,
    ):
        asking = asyncio.create_task(other.ask(WAIT, b""))
        for _ in range(3):
            connection.open(CHAINED, (), Notes())
        await eventually(lambda: len(calls) == 3 and service.waiting == 1)
        connection.close("enough")
        await eventually(lambda: len(server._connections) == 1)
        stopping = asyncio.create_task(server.stop(GRACE_S))
        await eventually(lambda: server._stopping)
        assert not stopping.done()
        service.answer.set()
        assert await asking == b""
        await asyncio.wait_for(stopping, AT_ONCE_S)


async def test_a_stop_ends_when_its_time_is_over(service: Service) -> None:
    """Calls that take longer than they are given are UNAVAILABLE, and the work on them is cancelled."""
    async with serving(service.routes()) as server, dialled(server.port) as connection:
        asking = asyncio.create_task(connection.ask(WAIT, b""))
        await eventually(lambda: service.waiting == 1)
        await asyncio.wait_for(server.stop(0.1), AT_ONCE_S)
        with pytest.raises(CallError) as failure:
            await asking
        assert failure.value.code is grpc.StatusCode.UNAVAILABLE
        await eventually(lambda: service.cancelled == 1)


async def test_a_stop_without_time_ends_everything_at_once(service: Service) -> None:
    """Calls, streams and silent connections end with the server, each call once."""
    notes = Notes()
    async with (
        serving(service.routes()) as server,
        dialled(server.port) as connection,
        dialled(server.port) as idle,
    ):
        connection.open(STREAM, (), notes)
        await notes.until(lambda: notes.is_open)
        asking = asyncio.create_task(connection.ask(WAIT, b""))
        await eventually(lambda: service.waiting == 1)
        await asyncio.wait_for(server.stop(0), AT_ONCE_S)
        for end in (await notes.end(), (await asyncio.gather(asking, return_exceptions=True))[0]):
            assert isinstance(end, CallError)
            assert end.code is grpc.StatusCode.UNAVAILABLE
        assert len(notes.ends) == 1
        [end] = service.open[0].ends
        assert end is not None
        assert end.details == "the server is stopping"
        await eventually(lambda: service.cancelled == 1)
        await eventually(lambda: idle.closed and not server._connections)


async def test_what_was_answered_before_a_stop_is_written(service: Service) -> None:
    """A connection is closed behind what was sent, not ahead of it."""
    notes = Notes()
    message = bytes(900_000)
    async with serving(service.routes()) as server, dialled(server.port) as connection:
        call = connection.open(STREAM, (), notes)
        await notes.until(lambda: notes.is_open)
        theirs = only_connection(server)._transport
        theirs.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection._transport.pause_reading()
        call.send(message)
        await eventually(lambda: theirs.get_write_buffer_size() > 100_000 and not service.open[0].call.unsent)
        await server.stop(0)
        connection._transport.resume_reading()
        await notes.end()
    assert notes.messages == [message]
