"""Our own windows: what they let a peer send, and how they are opened again."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from h2.errors import ErrorCodes

from kvnode.rpc.http2 import connection as connections
from kvnode.rpc.http2 import stream as streams
from kvnode.rpc.http2.frames import WINDOW_BYTES
from kvnode.rpc.http2.server import Http2Server, ServerCall, Streaming
from kvnode.rpc.http2.stream import Receiver
from tests.unit.rpc.http2.fakes import ECHO, MIB, STREAM, Notes, Service, dialled, served, serving
from tests.unit.rpc.http2.raw import END_STREAM, PADDED, RawPeer, framed, raw_client

SMALL_WINDOW = 128 * 1024


async def test_credit_lets_an_endless_stream_of_messages_through() -> None:
    """Messages that are more in all than both windows hold arrive, in order, as fast as they are taken."""
    sizes: list[int] = []

    class Sink(Receiver):
        def __init__(self, call: ServerCall) -> None:
            self.call = call

        def message(self, data: bytes) -> None:
            assert data[:4] == len(sizes).to_bytes(4)
            sizes.append(len(data))

        def completed(self) -> None:
            self.call.send(b"done")
            self.call.close()

    count = 2 * WINDOW_BYTES // MIB + 6
    notes = Notes()
    async with serving({STREAM: Streaming(Sink)}) as server, dialled(server.port) as connection:
        call = connection.open(STREAM, (), notes)
        for number in range(count):
            call.send(number.to_bytes(4) + bytes(MIB - 4))
        call.finish()
        assert await notes.end() is None
    assert notes.messages == [b"done"]
    assert sizes == [MIB] * count


async def fill(peer: RawPeer, number: int, size: int) -> None:
    """Send ``size`` bytes of a message that is larger, whatever the windows are."""
    head = framed(b"x" * MIB)
    for at in range(0, size, 10_000):
        peer.data(number, head[at : min(at + 10_000, size)])


async def test_a_peer_that_sends_more_than_the_connection_takes_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    """Our window to the last byte is fine; one byte more ends the connection with FLOW_CONTROL_ERROR."""
    monkeypatch.setattr(connections, "WINDOW_BYTES", SMALL_WINDOW)
    message = framed(b"x" * MIB)
    async with serving(service.routes()) as server:
        async with raw_client(server.port) as peer:
            peer.begin()
            peer.data(peer.call(STREAM), message[:SMALL_WINDOW])
            await peer.round_trip()
            assert not peer.lost
        async with raw_client(server.port) as peer:
            peer.begin()
            peer.data(peer.call(STREAM), message[: SMALL_WINDOW + 1])
            assert await peer.until_lost() == ErrorCodes.FLOW_CONTROL_ERROR
        end = service.open[1].ends[0]
        assert end is not None
        assert end.code is grpc.StatusCode.UNAVAILABLE
        assert await served(server)


async def test_a_peer_that_sends_more_than_a_stream_takes_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    """So it is for one stream, while the connection has room."""
    monkeypatch.setattr(streams, "WINDOW_BYTES", SMALL_WINDOW)
    async with serving(service.routes()) as server, raw_client(server.port) as peer:
        peer.begin()
        number = peer.call(STREAM)
        await fill(peer, number, SMALL_WINDOW)
        await peer.round_trip()
        assert not peer.lost
        peer.data(number, b"x")
        assert await peer.until_lost() == ErrorCodes.FLOW_CONTROL_ERROR
        assert await served(server)


async def test_padding_counts_and_is_given_back(monkeypatch: pytest.MonkeyPatch, service: Service) -> None:
    """Frames of padding alone use the windows up, and open them again."""
    for module in (connections, streams):
        monkeypatch.setattr(module, "WINDOW_BYTES", SMALL_WINDOW)
    async with serving(service.routes()) as server, raw_client(server.port) as peer:
        peer.begin()
        number = peer.call(ECHO)
        await peer.round_trip()
        allowed = peer.h2.local_flow_control_window(number)
        assert allowed == SMALL_WINDOW
        for _ in range(4 * SMALL_WINDOW // 256):
            peer.h2.send_data(number, b"", pad_length=255)  # h2 keeps to the windows that we open
            peer.say()
            if peer.h2.local_flow_control_window(number) < 256:
                await peer.round_trip()
        peer.data(number, b"\x03" + framed(b"answer") + b"\0\0\0", PADDED | END_STREAM)
        assert await peer.status(number) == "0"
        assert peer.received(number) == framed(b"answer")


async def test_what_a_call_still_held_is_given_back_when_it_ends(
    monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    """Calls that are reset in the middle of a message, again and again, do not use up the connection."""
    monkeypatch.setattr(connections, "WINDOW_BYTES", SMALL_WINDOW)
    async with serving(service.routes()) as server, raw_client(server.port) as peer:
        peer.begin()
        part = framed(b"x" * MIB)[:30_000]
        for _ in range(20):
            number = peer.call(STREAM)
            await peer.round_trip()
            assert peer.h2.local_flow_control_window(number) >= len(part)
            for at in range(0, len(part), 10_000):
                peer.h2.send_data(number, part[at : at + 10_000])
            peer.h2.reset_stream(number)
            peer.say()
        await peer.round_trip()
        assert not peer.lost
        assert all(one.ends for one in service.open)


async def test_what_arrives_late_for_a_call_that_has_ended_is_given_back(
    monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    """Data for calls that we have refused uses nothing up for good."""
    monkeypatch.setattr(connections, "WINDOW_BYTES", SMALL_WINDOW)
    async with serving(service.routes()) as server, raw_client(server.port) as peer:
        peer.begin()
        for _ in range(20):
            number = peer.call("/test.Test/Unknown")
            peer.data(number, b"x" * 16_000)
            assert await peer.status(number) == "12"
        number = peer.call(ECHO)
        peer.data(number, framed(b"still there?"), END_STREAM)
        assert await peer.status(number) == "0"


@pytest.mark.parametrize("used", [0, WINDOW_BYTES // 4 - 1, WINDOW_BYTES // 2 - 1])
async def test_the_largest_message_always_fits_into_the_windows(server: Http2Server, used: int) -> None:
    """However much of a window has been used, and not been given back, 16 MiB get through."""
    notes = Notes()
    async with dialled(server.port) as connection:
        call = connection.open(STREAM, (), notes)
        if used:
            half = used // 2
            for size in (half, used - half):
                call.send(bytes(size - 5))
            await notes.until(lambda: len(notes.messages) == 2)
        largest = bytes(16 * MIB)
        call.send(largest)
        call.finish()
        async with asyncio.timeout(5):
            assert await notes.end() is None
        assert notes.messages[-1] == largest
