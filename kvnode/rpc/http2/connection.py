"""One HTTP/2 connection, either end: h2's state, the frames beside it, windows, probes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import cast

import grpc
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    Event,
    RemoteSettingsChanged,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import FrameTooLargeError, ProtocolError
from h2.settings import SettingCodes

from kvnode.rpc.channel import Times
from kvnode.rpc.http2.credit import Credit
from kvnode.rpc.http2.errors import CallError
from kvnode.rpc.http2.frames import (
    DATA,
    END_STREAM,
    FIRST_WINDOW,
    FRAME_BYTES,
    HEADER_BYTES,
    INCREMENT_BYTES,
    LARGEST_WINDOW,
    PADDED,
    WINDOW_BYTES,
    WINDOW_UPDATE,
    last_frame,
    read_header,
    window_update,
    without_padding,
)
from kvnode.rpc.http2.outlet import Outlet
from kvnode.rpc.http2.state import new_state
from kvnode.rpc.http2.stream import Stream

_TABLE_BYTES = 4096
"""Of headers that are remembered, so that they need not be sent again."""

_UNREAD_BYTES = 16 * 1024 * 1024
"""Unread by a peer that goes on to ask for answers to its pings and settings: it is let go."""

_LINGER_S = 5.0
"""For a peer to read what was written before the connection was closed."""


class Connection(asyncio.Protocol):
    """What clients and servers have in common. ``times`` says when a silent peer is probed."""

    def __init__(self, *, client: bool, times: Times) -> None:
        self._loop = asyncio.get_running_loop()
        self._times = times
        self._h2 = new_state(client=client, window_bytes=WINDOW_BYTES)
        self._streams: dict[int, Stream] = {}
        self._buffer = b""
        self._begun = client
        self.outlet = Outlet(self._h2.max_outbound_frame_size)
        self._credit = Credit(WINDOW_BYTES)
        self._heard_s = self._loop.time()
        self._probed_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.closed = False

    # --- asyncio ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what HTTP/2 wants said first."""
        self._transport = cast("asyncio.Transport", transport)
        self.outlet.connect(self._transport)
        self._h2.initiate_connection()
        self._transport.write(self._h2.data_to_send() + window_update(0, WINDOW_BYTES - FIRST_WINDOW))
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End all calls."""
        self._end(f"the connection is lost: {exc}" if exc else "the peer has closed the connection")

    def pause_writing(self) -> None:
        """Let messages wait."""
        self.outlet.paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self.outlet.paused = False
        self.outlet.go_on()

    def data_received(self, data: bytes) -> None:
        """Take in whatever has come, frame by frame."""
        self._heard_s, self._probed_s = self._loop.time(), None
        if self._buffer:
            data = self._buffer + data
        at = 0
        try:
            at = self._begin(data)
            while self._begun and len(data) - at >= HEADER_BYTES and not self.closed:
                length, kind, flags, number = read_header(data, at)
                if length > FRAME_BYTES:
                    raise FrameTooLargeError(f"a frame of {length} bytes")
                start, stop = at + HEADER_BYTES, at + HEADER_BYTES + length
                if stop > len(data):
                    break
                if kind == DATA:
                    self._data(number, flags, data[start:stop])
                elif kind == WINDOW_UPDATE:
                    self._window_update(number, data[start:stop])
                else:
                    self._other(data[at:stop])
                at = stop
        except ProtocolError as error:
            self.close(f"the peer breaks the protocol: {error}", error.error_code)
        self._buffer = b"" if self.closed else data[at:]

    def last_word(self, stream: Stream) -> None:
        """Tell the peer that all has been sent."""
        raise NotImplementedError

    # --- life -------------------------------------------------------------------------------------

    def close(self, reason: str, code: ErrorCodes | int = ErrorCodes.NO_ERROR) -> None:
        """Say goodbye and close; calls that are open end with ``reason``."""
        if self.closed:
            return
        self._end(reason)
        with contextlib.suppress(ProtocolError):
            self._h2.close_connection(code)
        self._transport.write(self._h2.data_to_send())
        self._transport.close()
        self._loop.call_later(_LINGER_S, self._transport.abort)

    def abort(self, reason: str) -> None:
        """Close at once."""
        self._end(reason)
        self._transport.abort()

    # --- for either end ---------------------------------------------------------------------------

    def _begin(self, data: bytes) -> int:
        """Take in what comes before the first frame, and return where that begins."""
        del data
        return 0

    def _event(self, event: Event) -> None:
        """Take in what h2 has understood."""
        raise NotImplementedError

    def _fail(self, stream: Stream, error: CallError) -> None:
        """End a call because of ``error``, which is ours to tell."""
        raise NotImplementedError

    def _add(self, stream: Stream) -> None:
        self._streams[stream.number] = stream

    def _first_room(self) -> int:
        """Return the window of a stream that is opened now."""
        return self._h2.remote_settings.initial_window_size

    def _drop(self, stream: Stream, error: CallError | None) -> None:
        """Forget a stream, and tell its receiver how it ended."""
        if self._streams.pop(stream.number, None) is None:
            return
        self.outlet.forget(stream)
        self._consumed(None, stream.end(error))

    def _act(self, action: Callable[[], None]) -> None:
        """Have h2 do something, which is nothing if the peer has ended the stream meanwhile."""
        with contextlib.suppress(ProtocolError):
            action()
        self._say()

    def _reset(self, stream: Stream, code: ErrorCodes) -> None:
        self._act(lambda: self._h2.reset_stream(stream.number, code))

    # --- frames -----------------------------------------------------------------------------------

    def _data(self, number: int, flags: int, payload: bytes) -> None:
        size = len(payload)
        self._credit.spend(size)
        stream = self._streams.get(number)
        if stream is None or stream.peer_finished:
            if not 0 < number <= max(self._h2.highest_inbound_stream_id, self._h2.highest_outbound_stream_id):
                raise ProtocolError(f"stream {number} has not been opened")
            self._consumed(None, size)
            return
        stream.credit.spend(size)
        failure = self._take(stream, size, without_padding(payload) if flags & PADDED else payload)
        if failure is not None:
            self._fail(stream, failure)
        elif flags & END_STREAM:
            self._other(last_frame(number))

    def _take(self, stream: Stream, size: int, data: bytes) -> CallError | None:
        """Give a stream what a frame of ``size`` brings it; return why its call is to end, if it is."""
        owed, failure = stream.held + size, None
        try:
            stream.take(data)
        except CallError as error:
            failure = error
        self._consumed(stream, owed - stream.held)
        if self._credit.left < FRAME_BYTES and stream.held:
            why = "more in messages that are not whole than is held of them on one connection"
            failure = CallError(grpc.StatusCode.RESOURCE_EXHAUSTED, why)
        return failure

    def _window_update(self, number: int, payload: bytes) -> None:
        increment = int.from_bytes(payload) & LARGEST_WINDOW
        if len(payload) != INCREMENT_BYTES or not increment:
            raise ProtocolError("a window update of nothing")
        stream = self._streams.get(number)
        if stream is not None or not number:
            self.outlet.open(stream, increment)
            self.outlet.go_on()

    def _other(self, frame: bytes) -> None:
        events = self._h2.receive_data(frame)
        self._say()
        for event in events:
            if isinstance(event, RemoteSettingsChanged):
                self._settings(event)
            elif isinstance(event, ConnectionTerminated):
                self.close("the peer has said goodbye")
            elif isinstance(event, StreamReset):
                if (stream := self._streams.get(event.stream_id)) is not None:
                    self._drop(stream, CallError(grpc.StatusCode.CANCELLED, "reset"))
            elif isinstance(event, StreamEnded):
                if (stream := self._streams.get(event.stream_id)) is not None:
                    stream.peer_finished = True
                    self._event(event)
            else:
                self._event(event)

    def _settings(self, event: RemoteSettingsChanged) -> None:
        self.outlet.limit(self._h2.max_outbound_frame_size)
        self._h2.encoder.header_table_size = min(self._h2.encoder.header_table_size, _TABLE_BYTES)
        changed = event.changed_settings.get(SettingCodes.INITIAL_WINDOW_SIZE)
        if changed is not None:
            for stream in self._streams.values():
                self.outlet.open(stream, changed.new_value - (changed.original_value or 0))
            self.outlet.go_on()

    def _say(self) -> None:
        """Write what h2 has to say; a peer that never reads it is let go."""
        data = self._h2.data_to_send()
        if data and not self.closed:
            self._transport.write(data)
            if self._transport.get_write_buffer_size() > _UNREAD_BYTES:
                self.abort("the peer does not read")

    def _consumed(self, stream: Stream | None, size: int) -> None:
        """Let the peer send as much again as is held no more."""
        if self.closed:
            return
        if increment := self._credit.consume(size, FRAME_BYTES):
            self._transport.write(window_update(0, increment))
        if stream is not None and (increment := stream.credit.consume(size)):
            self._transport.write(window_update(stream.number, increment))

    # --- silence ----------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Probe a peer that is silent, give up one that does not answer; called again and again."""
        now_s = self._loop.time()
        if self._probed_s is not None:
            due_s = self._probed_s + self._times.probe_answer_s
            if now_s >= due_s:
                self.abort("the peer answers no probe")
        else:
            due_s = self._heard_s + self._times.probe_s
            if now_s >= due_s:
                self._probed_s = now_s
                due_s = now_s + self._times.probe_answer_s
                self._act(lambda: self._h2.ping(b"\0" * 8))
        if not self.closed:
            self._timer = self._loop.call_at(due_s, self._watch)

    def _end(self, reason: str) -> None:
        """End all calls; nothing is read or written any more."""
        if self.closed:
            return
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        for stream in tuple(self._streams.values()):
            self._drop(stream, CallError(grpc.StatusCode.UNAVAILABLE, reason))
