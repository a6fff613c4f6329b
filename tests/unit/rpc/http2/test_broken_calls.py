"""Calls that are none of gRPC's: each has its status, and the connection, or another client, is served on."""

from __future__ import annotations

import grpc
import pytest

from kvnode.rpc.http2.server import Http2Server
from tests.support.waiting import eventually
from tests.unit.rpc.http2.fakes import ECHO, STREAM, WAIT, Service, served
from tests.unit.rpc.http2.raw import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    frame,
    framed,
    raw_client,
    request,
    window_update,
)


async def test_frames_for_calls_that_have_ended_are_ignored(server: Http2Server) -> None:
    """What was on its way when a call ended harms nobody."""
    async with raw_client(server.port) as peer:
        peer.begin()
        number = peer.call("/test.Test/Unknown")
        assert await peer.status(number) == "12"
        peer.data(number, framed(b"late"))
        peer.write(window_update(number, 1000))
        peer.data(number, framed(b"last"), END_STREAM)
        await peer.round_trip()
        again = peer.call(ECHO)
        peer.data(again, framed(b"fine"), END_STREAM)
        assert await peer.status(again) == "0"


async def test_calls_that_go_on_after_their_end_are_forgotten(server: Http2Server, service: Service) -> None:
    """Headers after the end of a question, whose answer is waited for, cancel the work on it."""
    async with raw_client(server.port) as peer:
        peer.begin()
        for _ in range(20):
            number = peer.call(WAIT)
            peer.data(number, framed(b""), END_STREAM)
            peer.write(
                frame(HEADERS, END_HEADERS | END_STREAM, number, peer.h2.encoder.encode(request(WAIT)))
            )
        await peer.round_trip_or_lost()
        assert sum(len(connection._streams) for connection in server._connections) == 0
        await eventually(lambda: service.waiting == 0)
    assert await served(server)


async def test_a_call_that_is_no_grpc_is_refused(server: Http2Server) -> None:
    """Another content type, or none, is an invalid argument, and the connection lives on."""
    async with raw_client(server.port) as peer:
        peer.begin()
        for content in ([], [("content-type", "application/json")]):
            number = peer.h2.get_next_available_stream_id()
            plain = [one for one in request(ECHO) if one[0] != "content-type"]
            peer.h2.send_headers(number, [*plain, *content], end_stream=True)
            peer.say()
            assert await peer.status(number) == str(grpc.StatusCode.INVALID_ARGUMENT.value[0])
        number = peer.call(ECHO)
        peer.data(number, framed(b"fine"), END_STREAM)
        assert await peer.status(number) == "0"


@pytest.mark.parametrize("early", [True, False], ids=("with the headers", "with data"))
async def test_a_question_that_never_comes_is_refused(server: Http2Server, *, early: bool) -> None:
    """A single call that ends without its message has a status, too."""
    async with raw_client(server.port) as peer:
        peer.begin()
        number = peer.call(ECHO, end_stream=early)
        if not early:
            peer.data(number, b"", END_STREAM)
        assert await peer.status(number) == str(grpc.StatusCode.UNIMPLEMENTED.value[0])
    assert await served(server)


async def test_half_a_question_is_no_question(server: Http2Server) -> None:
    """A single call that ends in the middle of its message is refused."""
    async with raw_client(server.port) as peer:
        peer.begin()
        number = peer.call(ECHO)
        peer.data(number, framed(b"question")[:-1], END_STREAM)
        assert await peer.status(number) not in (None, "0")
    assert await served(server)


async def test_half_a_message_at_the_end_of_a_stream_is_an_error(server: Http2Server) -> None:
    """A stream that ends in the middle of a message does not end well."""
    async with raw_client(server.port) as peer:
        peer.begin()
        number = peer.call(STREAM)
        peer.data(number, framed(b"whole") + framed(b"half")[:-1], END_STREAM)
        assert await peer.status(number) not in (None, "0")
    assert await served(server)


async def test_two_questions_in_a_single_call_are_refused(server: Http2Server) -> None:
    """A single call has one message, whether the next comes with it or later."""
    async with raw_client(server.port) as peer:
        peer.begin()
        for pieces in ([framed(b"one") + framed(b"two")], [framed(b"one"), framed(b"two")]):
            number = peer.call(ECHO)
            for piece in pieces:
                peer.data(number, piece)
            assert await peer.status(number) == str(grpc.StatusCode.UNIMPLEMENTED.value[0])
            assert not peer.received(number)
    assert await served(server)


async def test_a_caller_that_states_the_length_of_its_question_is_refused_alone(server: Http2Server) -> None:
    """content-length, which gRPC has no use for, is refused in words, and the connection lives on."""
    async with raw_client(server.port) as peer:
        peer.begin()
        question = framed(b"question")
        number = peer.call(ECHO, ("content-length", str(len(question))))
        peer.data(number, question, END_STREAM)
        assert await peer.status(number) == str(grpc.StatusCode.INVALID_ARGUMENT.value[0])
        again = peer.call(ECHO)
        peer.data(again, question, END_STREAM)
        assert await peer.status(again) == "0"
        assert peer.received(again) == question


async def test_a_peer_that_hangs_up_in_the_middle_of_a_frame_ends_its_calls(
    server: Http2Server, service: Service
) -> None:
    """The end of the connection is the end of its calls."""
    async with raw_client(server.port) as peer:
        peer.begin()
        number = peer.call(STREAM)
        await eventually(lambda: service.open)
        peer.write(frame(DATA, 0, number, b"x" * 100)[:50])
    [end] = await eventually(lambda: service.open[0].ends)
    assert end is not None
    assert end.code is grpc.StatusCode.UNAVAILABLE
    await eventually(lambda: not server._connections)
    assert await served(server)
