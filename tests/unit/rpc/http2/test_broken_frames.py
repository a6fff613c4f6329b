"""Peers that break HTTP/2: each is dealt with, and another client is served all the same."""

from __future__ import annotations

import random
import struct

import pytest
from h2.errors import ErrorCodes
from structlog.testing import capture_logs

from kvnode.rpc.http2 import server as servers
from kvnode.rpc.http2.frames import FRAME_BYTES
from kvnode.rpc.http2.server import Http2Server
from tests.support.waiting import eventually
from tests.unit.rpc.http2.fakes import ECHO, STREAM, Service, served
from tests.unit.rpc.http2.raw import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PROMISE,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    framed,
    raw_client,
    request,
    window_update,
)

BROKEN = {
    "a frame larger than allowed": frame(PING, 0, 0, b"x" * (FRAME_BYTES + 1)),
    "a frame that says it is larger than allowed": frame(DATA, 0, 1, b"x" * (FRAME_BYTES + 1))[:20],
    "data on a stream never opened": frame(DATA, 0, 3, b"x"),
    "data on the connection itself": frame(DATA, 0, 0, b"x"),
    "padding as long as the frame": frame(DATA, PADDED, 1, b"\x04abc"),
    "padding without a length": frame(DATA, PADDED, 1, b""),
    "a window update of nothing": window_update(0, 0),
    "a window update of three bytes": frame(WINDOW_UPDATE, 0, 0, b"\0\0\1"),
    "a window update of five bytes": frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\0\1"),
    "a ping of seven bytes": frame(PING, 0, 0, b"1234567"),
    "settings of five bytes": frame(SETTINGS, 0, 0, b"12345"),
    "settings that no window can have": frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31)),
    "headers of noise": frame(HEADERS, END_HEADERS, 3, b"\xff" * 40),
    "headers on an even stream": frame(HEADERS, END_HEADERS, 2, b"\x82"),
    "headers that never end": frame(HEADERS, 0, 3, b"\x82") + frame(PING, 0, 0, b"x" * 8),
    "more pieces of headers than anybody needs": frame(HEADERS, 0, 3, b"\x82")
    + frame(CONTINUATION, 0, 3, b"\x82") * 100,
    "a piece of headers that never began": frame(CONTINUATION, END_HEADERS, 1, b"\x82"),
    "a promise": frame(PROMISE, END_HEADERS, 1, struct.pack(">I", 2) + b"\x82"),
}


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: test\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"\x16\x03\x01\x02\0\1\0\1\xfc\x03\x03" + b"x" * 500,
        b"\0",
        bytes(range(256)) * 1000,
    ],
    ids=("HTTP/1.1", "almost", "TLS", "one byte", "noise"),
)
async def test_who_does_not_speak_http2_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, server: Http2Server, said: bytes
) -> None:
    """The first byte that is not HTTP/2's preface ends the connection, without waiting for more."""
    monkeypatch.setattr(servers, "_SPEAK_S", 1000.0)
    async with raw_client(server.port) as peer:
        peer.write(said)
        await peer.until_lost()
    assert await served(server)


@pytest.mark.parametrize("piece", [1, 8, 9, 10, 23])
async def test_a_preface_may_come_in_pieces(server: Http2Server, piece: int) -> None:
    """The network cuts where it likes; everything is understood all the same."""
    async with raw_client(server.port) as peer:
        peer.h2.initiate_connection()
        number = peer.h2.get_next_available_stream_id()
        peer.h2.send_headers(number, request(ECHO))
        peer.h2.send_data(number, framed(b"question"), end_stream=True)
        data = peer.h2.data_to_send()
        [connection] = await eventually(lambda: server._connections)
        for at in range(0, len(data), piece):
            connection.data_received(data[at : at + piece])
        assert await peer.status(number) == "0"
        assert peer.received(number) == framed(b"question")


@pytest.mark.parametrize("name", BROKEN)
async def test_who_breaks_the_protocol_is_cut_off(server: Http2Server, service: Service, name: str) -> None:
    """A frame that cannot be ends the connection, and the call on it, with a goodbye that says so."""
    async with raw_client(server.port) as peer:
        peer.begin()
        assert peer.call(STREAM) == 1
        await peer.round_trip()
        assert not service.open[0].ends
        await peer.round_trip_or_lost(BROKEN[name])
        assert peer.lost
        assert peer.goodbye() not in (None, ErrorCodes.NO_ERROR)
        assert len(service.open[0].ends) == 1
    assert await served(server)


@pytest.mark.parametrize("stream", [0, 1], ids=("connection", "stream"))
async def test_a_window_beyond_the_largest_is_a_flow_control_error(server: Http2Server, stream: int) -> None:
    """2**31 - 1 is the largest window, and one more ends the connection."""
    async with raw_client(server.port) as peer:
        peer.begin()
        assert peer.call(STREAM) == 1
        peer.write(window_update(stream, 2**31 - 1 - 65_535))
        await peer.round_trip()
        assert not peer.lost
        peer.write(window_update(stream, 1))
        assert await peer.until_lost() == ErrorCodes.FLOW_CONTROL_ERROR
    assert await served(server)


async def test_frames_of_kinds_that_nobody_knows_are_ignored(server: Http2Server) -> None:
    """So HTTP/2 wants it: others may extend it."""
    async with raw_client(server.port) as peer:
        peer.begin()
        peer.write(frame(0xEE, 0xFF, 0, b"whatever") + frame(0xEE, 0, 77, b""))
        await peer.round_trip()
        number = peer.call(ECHO)
        peer.data(number, framed(b"fine"), END_STREAM)
        assert await peer.status(number) == "0"


@pytest.mark.parametrize("seed", range(20))
async def test_noise_after_a_good_beginning_harms_nobody_else(server: Http2Server, seed: int) -> None:
    """Random frames, with a call under way, end in a closed connection or in nothing at all."""
    chance = random.Random(seed)
    for _ in range(10):
        async with raw_client(server.port) as peer:
            peer.begin()
            peer.call(STREAM)
            peer.data(1, framed(b"fine"))
            for _ in range(chance.randrange(1, 30)):
                payload = chance.randbytes(chance.choice([0, 1, 4, 5, 6, 8, 9, 30, 200]))
                kind, flags = (
                    chance.choice([*range(11), 0xEE]),
                    chance.choice([0, 1, 4, 5, 8, 13, 0x20, 0xFF]),
                )
                peer.write(frame(kind, flags, chance.choice([0, 1, 1, 2, 3, 5, 2**31]), payload))
            peer.write(chance.randbytes(chance.randrange(40)))
            await peer.flush()
            await peer.close()
    await eventually(lambda: not server._connections)
    assert await served(server)


async def test_no_noise_makes_an_error_of_ours(server: Http2Server, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever bytes come, the event loop has no exception to report."""
    chance = random.Random(4)
    async with raw_client(server.port) as peer:
        peer.begin()
        await peer.round_trip()
        good = PREFACE + frame(SETTINGS, 0, 0, b"")
    for _ in range(300):
        async with raw_client(server.port) as peer:
            noise = bytearray(good)
            for _ in range(chance.randrange(1, 12)):
                flags = chance.choice([0, 1, 4, 5, 8, 0x20, 0x2D, 0xFF])
                payload = chance.randbytes(chance.choice([0, 4, 5, 8, 20]))
                noise += frame(chance.randrange(12), flags, chance.choice([0, 1, 2, 3]), payload)
            peer.write(bytes(noise))
            await peer.close()
    await eventually(lambda: not server._connections)
    assert not caplog.records
    assert await served(server)


async def test_a_goodbye_of_the_peer_ends_the_connection(server: Http2Server, service: Service) -> None:
    """A peer that says goodbye is answered with one."""
    with capture_logs() as logs:
        async with raw_client(server.port) as peer:
            peer.begin()
            peer.call(STREAM)
            await eventually(lambda: service.open)
            peer.write(frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0)))
            await peer.until_lost()
        assert await served(server)
    assert len(service.open[0].ends) == 1
    assert not logs
