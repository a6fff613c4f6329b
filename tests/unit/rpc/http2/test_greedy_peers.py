"""Peers that would have us remember more and more: there is a bound to everything."""

from __future__ import annotations

import socket

import grpc
import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from kvnode.rpc.http2 import connection as connections
from kvnode.rpc.http2.server import Http2Server
from tests.support.waiting import eventually
from tests.unit.rpc.http2.fakes import ECHO, STREAM, WAIT, Service, only_connection, served, serving
from tests.unit.rpc.http2.raw import (
    END_STREAM,
    PING,
    frame,
    framed,
    raw_client,
)


async def test_a_peer_that_never_reads_is_let_go(
    monkeypatch: pytest.MonkeyPatch, server: Http2Server, service: Service
) -> None:
    """Answers to pings pile up only so far: then the connection ends, and so do its calls."""
    monkeypatch.setattr(connections, "_UNREAD_BYTES", 100_000)
    async with raw_client(server.port, takes=4096) as peer:
        peer.begin()
        peer.call(STREAM)
        await eventually(lambda: service.open)
        connection = only_connection(server)
        connection._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        pings = frame(PING, 0, 0, b"flooding") * 1000
        largest = 0
        for _ in range(1000):
            peer.write(pings)
            await peer.flush()
            if connection.closed:
                break
            largest = max(largest, connection._transport.get_write_buffer_size())
        assert connection.closed
        assert largest <= 100_000 + len(pings)
        [end] = service.open[0].ends
        assert end is not None
        assert end.details == "the peer does not read"
    assert await served(server)


async def test_a_watcher_that_never_reads_does_not_make_answers_pile_up(server: Http2Server) -> None:
    """Who watches a service asks once; asking on and on, without a window for answers, takes up nothing."""
    async with raw_client(server.port) as peer:
        peer.begin({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        number = peer.call("/grpc.health.v1.Health/Watch")
        peer.data(number, framed(b"") * 1000)
        await peer.round_trip()
        calls = only_connection(server)._streams.values()
        assert sum(call.unsent for call in calls) <= 1
    assert await served(server)


async def test_too_many_calls_at_once_end_the_connection(
    monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    """Who opens more than we have said we take is cut off, and each of its calls ends."""
    monkeypatch.setattr("kvnode.rpc.http2.state.STREAMS_AT_ONCE", 10)
    async with serving(service.routes()) as server, raw_client(server.port) as peer:
        peer.begin()  # and does not wait for our settings, as h2 would have to
        for _ in range(10):
            number = peer.call(WAIT)
            peer.data(number, framed(b""), END_STREAM)
        await eventually(lambda: service.waiting == 10)
        peer.call(WAIT)
        assert await peer.until_lost() not in (None, ErrorCodes.NO_ERROR)
        await eventually(lambda: service.cancelled == 10)
        assert service.waiting == 0
        assert await served(server)


async def test_calls_that_are_reset_at_once_leave_nothing_behind(
    server: Http2Server, service: Service
) -> None:
    """A client may change its mind thousands of times."""
    async with raw_client(server.port) as peer:
        peer.begin()
        for turn in range(20):
            numbers = []
            for _ in range(50):
                numbers.append(peer.call(WAIT if turn % 2 else STREAM))
                peer.data(numbers[-1], framed(b"x"), END_STREAM if turn % 2 else 0)
            for number in numbers:
                peer.h2.reset_stream(number)
            peer.say()
            await peer.round_trip()
        assert not only_connection(server)._streams
        await eventually(lambda: service.waiting == 0)
        number = peer.call(ECHO)
        peer.data(number, framed(b"fine"), END_STREAM)
        assert await peer.status(number) == "0"
    assert all(one.ends for one in service.open)
    assert await served(server)


async def test_a_peer_cannot_make_us_remember_its_headers_without_bound(server: Http2Server) -> None:
    """A table of headers as large as a peer likes is not what we keep for it."""
    async with raw_client(server.port) as peer:
        peer.h2.decoder.max_allowed_table_size = 2**31
        peer.begin({SettingCodes.HEADER_TABLE_SIZE: 2**31})
        for question in range(300):
            name = f"{question:04}" * 25
            number = peer.call("/grpc.health.v1.Health/Check")
            peer.data(number, framed(b"\x0a\x64" + name.encode()), END_STREAM)
            assert await peer.status(number) == str(grpc.StatusCode.NOT_FOUND.value[0])
        encoder = only_connection(server)._h2.encoder
        assert encoder.header_table._current_size <= 16_384
    assert await served(server)
