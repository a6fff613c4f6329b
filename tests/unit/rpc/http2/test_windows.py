"""A peer's windows: what waits for them, and in which order it is sent."""

from __future__ import annotations

from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from kvnode.rpc.http2.server import Http2Server, ServerCall, Streaming
from kvnode.rpc.http2.stream import Receiver
from tests.unit.rpc.http2.fakes import ECHO, MIB, STREAM, Notes, Service, dialled, served, serving
from tests.unit.rpc.http2.raw import END_STREAM, framed, raw_client, window_update

FIRST_WINDOW = 65_535
SMALL_WINDOW = 128 * 1024


async def test_both_ends_send_at_once_without_a_stall(server: Http2Server) -> None:
    """Echoes of 40 MiB on two streams fill every window and buffer on the way, and all arrive in order."""
    one, two = Notes(), Notes()
    async with dialled(server.port) as connection:
        calls = [connection.open(STREAM, (), notes) for notes in (one, two)]
        sent = [bytes([number]) * 500_000 for number in range(40)]
        for message in sent:
            for call in calls:
                call.send(message)
        for call in calls:
            call.finish()
        assert await one.end() is None
        assert await two.end() is None
    assert one.messages == sent
    assert two.messages == sent


async def test_a_tiny_window_gets_a_message_in_pieces(server: Http2Server) -> None:
    """A caller whose streams take 10 bytes gets as many as it allows at a time, and the status after them."""
    async with raw_client(server.port) as peer:
        peer.begin({SettingCodes.INITIAL_WINDOW_SIZE: 10})
        number = peer.call(ECHO)
        answer = framed(b"a whole message, in pieces")
        peer.data(number, answer, END_STREAM)
        allowed = 10
        while allowed < len(answer):
            await peer.until(lambda: len(peer.received(number)) == allowed)  # noqa: B023 - awaited at once
            await peer.round_trip()
            assert peer.received(number) == answer[:allowed]
            assert not peer.ended(number)
            peer.h2.increment_flow_control_window(7, number)
            peer.say()
            allowed += 7
        assert await peer.status(number) == "0"
        assert peer.received(number) == answer


async def test_the_window_of_the_connection_counts_too(server: Http2Server) -> None:
    """However much its streams take, no more is sent than the connection allows."""
    async with raw_client(server.port) as peer:
        peer.begin({SettingCodes.INITIAL_WINDOW_SIZE: 10 * MIB})
        number = peer.call(ECHO)
        answer = framed(b"x" * 100_000)
        peer.data(number, answer, END_STREAM)
        await peer.until(lambda: len(peer.received(number)) == FIRST_WINDOW)
        await peer.round_trip()
        assert len(peer.received(number)) == FIRST_WINDOW
        peer.h2.increment_flow_control_window(MIB)
        peer.say()
        assert await peer.status(number) == "0"
        assert peer.received(number) == answer


async def test_settings_that_make_a_window_negative_stop_what_is_sent(
    server: Http2Server, service: Service
) -> None:
    """After SETTINGS with a smaller window nothing is sent until the stream's is positive again."""
    async with raw_client(server.port) as peer:
        peer.begin({SettingCodes.INITIAL_WINDOW_SIZE: 1000})
        number = peer.call(STREAM)
        answer = framed(b"x" * 1500)
        peer.data(number, answer)
        await peer.until(lambda: len(peer.received(number)) == 1000)
        peer.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 400})
        peer.say()
        await peer.round_trip()
        assert service.open[0].call.window == -600
        peer.h2.increment_flow_control_window(600, number)  # to 0
        peer.say()
        await peer.round_trip()
        assert len(peer.received(number)) == 1000
        peer.h2.increment_flow_control_window(1, number)
        peer.say()
        await peer.until(lambda: len(peer.received(number)) == 1001)
        await peer.round_trip()
        assert len(peer.received(number)) == 1001
        peer.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 5000})
        peer.say()
        await peer.until(lambda: peer.received(number) == answer)


async def test_a_stream_that_is_opened_later_has_the_window_that_holds_then(server: Http2Server) -> None:
    """SETTINGS count for the streams that follow them."""
    async with raw_client(server.port) as peer:
        peer.begin({SettingCodes.INITIAL_WINDOW_SIZE: 1000})
        peer.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 20})
        peer.say()
        await peer.round_trip()
        number = peer.call(ECHO)
        peer.data(number, framed(b"x" * 100), END_STREAM)
        await peer.until(lambda: len(peer.received(number)) == 20)
        await peer.round_trip()
        assert len(peer.received(number)) == 20


async def test_no_frame_is_larger_than_the_peer_takes(server: Http2Server) -> None:
    """A caller that has said nothing of frames gets them at HTTP/2's 16 KiB: h2 would object to more."""
    async with raw_client(server.port) as peer:
        peer.begin({SettingCodes.INITIAL_WINDOW_SIZE: MIB})
        peer.h2.increment_flow_control_window(MIB)
        number = peer.call(ECHO)
        answer = framed(b"x" * 300_000)
        peer.data(number, answer[:200_000])
        peer.data(number, answer[200_000:], END_STREAM)
        assert await peer.status(number) == "0"
        assert peer.received(number) == answer


async def test_messages_keep_their_order_when_some_had_to_wait(server: Http2Server) -> None:
    """A small message is not sent ahead of a large one that waits, and the status comes last."""
    async with raw_client(server.port) as peer:
        peer.begin({SettingCodes.INITIAL_WINDOW_SIZE: 50})
        number = peer.call(STREAM)
        messages = [b"x" * 100, b"small", b"y" * 30, b"", b"z" * 200]
        peer.data(number, b"".join(map(framed, messages)), END_STREAM)
        expected = b"".join(map(framed, messages))
        for allowed in range(50, len(expected), 20):
            await peer.round_trip()
            assert peer.received(number) == expected[:allowed]
            assert not peer.ended(number)
            peer.h2.increment_flow_control_window(20, number)
            peer.say()
        assert await peer.status(number) == "0"
        assert peer.received(number) == expected


async def test_a_receiver_hears_when_what_waited_has_been_written(
    server: Http2Server, service: Service
) -> None:
    """Once for each time that something had to wait, when all of it is gone."""
    async with raw_client(server.port) as peer:
        peer.begin({SettingCodes.INITIAL_WINDOW_SIZE: 10})
        number = peer.call(STREAM)
        peer.data(number, framed(b"abc"))
        await peer.round_trip()
        assert service.open[0].drains == 0
        peer.data(number, framed(b"defg") + framed(b"hij"))
        await peer.round_trip()
        assert service.open[0].call.unsent == 2
        peer.h2.increment_flow_control_window(10, number)
        peer.say()
        await peer.round_trip()
        assert service.open[0].call.unsent == 1
        assert service.open[0].drains == 0
        peer.h2.increment_flow_control_window(10, number)
        peer.say()
        await peer.round_trip()
        assert service.open[0].call.unsent == 0
        assert service.open[0].drains == 1


async def test_what_is_sent_while_windows_open_does_not_overtake_what_waits() -> None:
    """A receiver that sends on another stream as soon as its own is written keeps the order there."""
    calls: list[ServerCall] = []

    class Chained(Receiver):
        def __init__(self, call: ServerCall) -> None:
            self.first = not calls
            calls.append(call)

        def drained(self) -> None:
            if self.first:
                calls[1].send(b"late")

    async with serving({STREAM: Streaming(Chained)}) as server, raw_client(server.port) as peer:
        peer.begin({SettingCodes.INITIAL_WINDOW_SIZE: MIB})
        one, two = peer.call(STREAM), peer.call(STREAM)
        await peer.round_trip()
        calls[0].send(b"x" * 70_000)
        calls[1].send(b"early")
        await peer.until(lambda: len(peer.received(one)) == FIRST_WINDOW)
        peer.h2.increment_flow_control_window(FIRST_WINDOW)
        peer.say()
        await peer.until(lambda: len(peer.received(two)) >= 19)
        assert peer.received(two) == framed(b"early") + framed(b"late")
        assert peer.received(one) == framed(b"x" * 70_000)


async def test_one_stream_that_is_not_read_does_not_hold_up_another(server: Http2Server) -> None:
    """Windows of streams are their own."""
    async with raw_client(server.port) as peer:
        peer.begin({SettingCodes.INITIAL_WINDOW_SIZE: 10})
        slow, quick = peer.call(ECHO), peer.call(ECHO)
        peer.data(slow, framed(b"x" * 20), END_STREAM)
        peer.data(quick, framed(b"quick"), END_STREAM)
        assert await peer.status(quick) == "0"
        assert len(peer.received(slow)) == 10
        assert not peer.ended(slow)


async def test_what_a_refused_call_still_had_to_send_is_dropped(server: Http2Server) -> None:
    """An error comes at once, not after data that waits for a window."""
    async with raw_client(server.port) as peer:
        peer.begin({SettingCodes.INITIAL_WINDOW_SIZE: 10})
        number = peer.call(STREAM)
        peer.data(number, framed(b"x" * 100))
        await peer.until(lambda: len(peer.received(number)) == 10)
        peer.data(number, framed(b"refuse"))
        assert await peer.status(number) == "10"
        assert len(peer.received(number)) == 10


async def test_a_window_opened_by_settings_beyond_the_largest_ends_the_connection(
    server: Http2Server,
) -> None:
    """A stream's window that SETTINGS take beyond 2**31 - 1 is FLOW_CONTROL_ERROR."""
    async with raw_client(server.port) as peer:
        peer.begin()
        number = peer.call(STREAM)
        peer.write(window_update(number, 2**31 - 1 - FIRST_WINDOW))
        await peer.round_trip()
        assert not peer.lost
        peer.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: FIRST_WINDOW + 1})
        peer.say()
        assert await peer.until_lost() == ErrorCodes.FLOW_CONTROL_ERROR
        assert await served(server)
