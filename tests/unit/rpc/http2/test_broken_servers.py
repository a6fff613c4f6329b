"""Servers that break HTTP/2, or gRPC, while we call them: every call ends, and says why."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable

import grpc
import pytest
from h2.settings import SettingCodes

from kvnode.rpc.http2 import connection as connections
from kvnode.rpc.http2.errors import CallError
from tests.support.waiting import eventually
from tests.unit.rpc.http2.fakes import DEADLINE_S, ECHO, MIB, STREAM, Notes, dialled
from tests.unit.rpc.http2.raw import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PROMISE,
    WINDOW_UPDATE,
    Headers,
    RawPeer,
    frame,
    framed,
    raw_server,
    window_update,
)

OK: Headers = [(":status", "200"), ("content-type", "application/grpc")]
WELL: Headers = [("grpc-status", "0")]


def answering(answer: Callable[[RawPeer], Awaitable[None] | None]) -> Callable[[RawPeer], Awaitable[None]]:
    """Return a server that answers its first call, number 1, in some way, then listens to the end."""

    async def take(peer: RawPeer) -> None:
        peer.begin()
        await peer.until(lambda: 1 in peer.h2.streams)
        if (more := answer(peer)) is not None:
            await more
        peer.say()
        await peer.until_lost()

    return take


async def failure_of(answer: Callable[[RawPeer], Awaitable[None] | None]) -> CallError:
    """Make a call that is answered in some way, and return how it fails."""
    async with raw_server(answering(answer)) as port, dialled(port) as connection:
        with pytest.raises(CallError) as failure:
            await connection.ask(ECHO, b"question", timeout_s=DEADLINE_S)
        assert not connection._streams
        return failure.value


def headers(peer: RawPeer, entries: Headers, *, end_stream: bool = False) -> None:
    """Answer call 1 with headers."""
    peer.h2.send_headers(1, entries, end_stream=end_stream)
    peer.say()


async def test_an_answer_without_a_status_is_no_answer() -> None:
    """A message alone does not make a call succeed."""

    def answer(peer: RawPeer) -> None:
        headers(peer, OK)
        peer.data(1, framed(b"answer"), END_STREAM)

    failure = await failure_of(answer)
    assert (failure.code, failure.details) == (grpc.StatusCode.UNKNOWN, "ended without a status")


async def test_a_status_without_a_message_is_no_answer() -> None:
    """OK alone does not either."""
    failure = await failure_of(lambda peer: headers(peer, [*OK, *WELL], end_stream=True))
    assert (failure.code, failure.details) == (grpc.StatusCode.INTERNAL, "answered with nothing")


async def test_half_a_message_is_no_answer() -> None:
    """A message that is cut off by an OK is an error."""

    def answer(peer: RawPeer) -> None:
        headers(peer, OK)
        peer.data(1, framed(b"answer")[:-1])
        headers(peer, WELL, end_stream=True)

    assert (await failure_of(answer)).code is grpc.StatusCode.INTERNAL


async def test_a_stream_that_ends_in_the_middle_of_a_message_does_not_end_well() -> None:
    """So it is for a stream, after whatever was whole."""

    def answer(peer: RawPeer) -> None:
        headers(peer, OK)
        peer.data(1, framed(b"whole") + framed(b"half")[:-1])
        headers(peer, WELL, end_stream=True)

    notes = Notes()
    async with raw_server(answering(answer)) as port, dialled(port) as connection:
        connection.open(STREAM, (), notes)
        end = await notes.end()
    assert notes.messages == [b"whole"]
    assert end is not None
    assert end.code is grpc.StatusCode.INTERNAL


async def test_two_answers_are_an_error() -> None:
    """A single call has one answer."""

    def answer(peer: RawPeer) -> None:
        headers(peer, OK)
        peer.data(1, framed(b"one") + framed(b"two"))

    failure = await failure_of(answer)
    assert (failure.code, failure.details) == (grpc.StatusCode.INTERNAL, "answered twice")


@pytest.mark.parametrize("status", ["99", "-1", "x", ""])
async def test_a_status_that_nobody_knows_is_unknown(status: str) -> None:
    """What is no code of gRPC's is not taken for success."""
    failure = await failure_of(lambda peer: headers(peer, [*OK, ("grpc-status", status)], end_stream=True))
    assert failure.code is grpc.StatusCode.UNKNOWN


@pytest.mark.parametrize("status", ["404", "502"])
async def test_another_http_status_is_a_failure(status: str) -> None:
    """A proxy in between answers in words of its own."""
    failure = await failure_of(lambda peer: headers(peer, [(":status", status)]))
    assert failure.code is grpc.StatusCode.UNAVAILABLE
    assert status in failure.details


async def test_preliminary_answers_are_passed_over() -> None:
    """What comes before the answer is not the answer."""

    def answer(peer: RawPeer) -> None:
        headers(peer, [(":status", "103")])
        headers(peer, OK)
        peer.data(1, framed(b"answer"))
        headers(peer, WELL, end_stream=True)

    async with raw_server(answering(answer)) as port, dialled(port) as connection:
        assert await connection.ask(ECHO, b"question", timeout_s=DEADLINE_S) == b"answer"


async def test_a_call_that_is_reset_has_failed() -> None:
    """A reset is the end of a call, and of nothing else."""
    failure = await failure_of(lambda peer: peer.h2.reset_stream(1))
    assert failure.code is grpc.StatusCode.CANCELLED


@pytest.mark.parametrize(
    "said",
    [
        frame(DATA, PADDED, 1, b"\x09abc"),
        frame(DATA, 0, 7, b"abc"),
        frame(WINDOW_UPDATE, 0, 1, b"\0\0\1"),
        window_update(0, 0),
        frame(HEADERS, END_HEADERS, 1, b"\xff" * 30),
        frame(PROMISE, END_HEADERS, 1, struct.pack(">I", 2) + b"\x82"),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
    ids=("padding", "another stream", "window of 3 bytes", "window of 0", "headers", "promise", "HTTP/1.1"),
)
async def test_a_broken_protocol_ends_the_connection_and_its_calls(said: bytes) -> None:
    """Whatever cannot be HTTP/2 is told to whoever waits."""
    failure = await failure_of(lambda peer: peer.write(said))
    assert failure.code is grpc.StatusCode.UNAVAILABLE
    assert failure.details.startswith("the peer breaks the protocol: ")


async def test_a_goodbye_ends_all_calls() -> None:
    """A server that says goodbye is left, and another call is not made over the connection."""
    async with (
        raw_server(answering(lambda peer: peer.write(frame(GOAWAY, 0, 0, struct.pack(">II", 1, 0))))) as port,
        dialled(port) as connection,
    ):
        with pytest.raises(CallError, match="unavailable: the peer has said goodbye"):
            await connection.ask(ECHO, b"question", timeout_s=DEADLINE_S)
        with pytest.raises(CallError, match="unavailable: the connection is closed"):
            await connection.ask(ECHO, b"question", timeout_s=DEADLINE_S)


async def test_no_more_calls_are_open_than_the_server_takes() -> None:
    """A call beyond the server's limit fails at once, and there is room again when one has ended."""

    async def take(peer: RawPeer) -> None:
        peer.begin({SettingCodes.MAX_CONCURRENT_STREAMS: 2})
        await peer.until_lost()

    async with raw_server(take) as port, dialled(port) as connection:
        await eventually(lambda: connection._h2.remote_settings.max_concurrent_streams == 2)
        first = connection.open(STREAM, (), Notes())
        connection.open(STREAM, (), Notes())
        with pytest.raises(CallError) as failure:
            connection.open(STREAM, (), Notes())
        assert failure.value.code is grpc.StatusCode.UNAVAILABLE
        connection.cancel(first)
        connection.open(STREAM, (), Notes())


async def test_an_answer_before_the_question_has_been_sent_ends_the_call_at_both_ends() -> None:
    """A server that refuses a question whose rest waits for its window hears that the rest will not come."""
    told = asyncio.Event()

    async def refuse(peer: RawPeer) -> None:
        headers(peer, [*OK, ("grpc-status", "8"), ("grpc-message", "too large")], end_stream=True)
        await peer.until(lambda: peer.ended(1) or peer.reset(1))
        told.set()

    async with raw_server(answering(refuse)) as port, dialled(port) as connection:
        with pytest.raises(CallError, match="resource_exhausted: too large"):
            await connection.ask(ECHO, bytes(MIB), timeout_s=DEADLINE_S)
        async with asyncio.timeout(2):
            await told.wait()
        assert connection._h2.open_outbound_streams == 0


async def test_a_call_on_a_connection_that_is_given_up_as_it_opens_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that does not read is left at the next call, and that call hears of it."""
    monkeypatch.setattr(connections, "_UNREAD_BYTES", 150_000)
    over = asyncio.Event()

    async def never_read(peer: RawPeer) -> None:
        peer.begin({SettingCodes.INITIAL_WINDOW_SIZE: 2**30})
        peer.write(window_update(0, 2**30))
        await over.wait()

    async with raw_server(never_read) as port, dialled(port) as connection:
        await eventually(lambda: connection.outlet.window > 2**29)
        notes = Notes()
        call = connection.open(STREAM, (), notes)
        while connection._transport.get_write_buffer_size() <= 150_000:
            call.send(bytes(100_000))
        with pytest.raises(CallError, match="unavailable: "):
            await connection.ask(ECHO, b"", timeout_s=1)
        over.set()
    assert len(notes.ends) == 1
