"""What leaves by one connection in DATA frames: within the peer's windows, and as far as it reads."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from h2.exceptions import FlowControlError

from kvnode.rpc.http2.frames import FIRST_WINDOW, FRAME_BYTES, LARGEST_WINDOW, data_frame

if TYPE_CHECKING:
    from kvnode.rpc.http2.stream import Stream

WRITE_AHEAD_BYTES = 1024 * 1024
"""Unread by the peer: from here on messages wait in their streams."""


class Outlet:
    """Writes for the streams of a connection once it is there; some may have to wait."""

    _transport: asyncio.WriteTransport

    def __init__(self, frame_bytes: int) -> None:
        self._waiting: dict[Stream, None] = {}
        self._frame_bytes = frame_bytes
        self.window = FIRST_WINDOW
        """Bytes that the peer takes at present, on all streams."""
        self.paused = False
        """Whether the peer reads too slowly."""

    def connect(self, transport: asyncio.WriteTransport) -> None:
        """Begin to write."""
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_AHEAD_BYTES)

    def limit(self, frame_bytes: int) -> None:
        """Write no larger frames than the peer takes."""
        self._frame_bytes = min(frame_bytes, FRAME_BYTES)

    def open(self, stream: Stream | None, increment: int) -> None:
        """Widen the peer's window, of a stream or of all. Raises FlowControlError beyond the largest."""
        owner = self if stream is None else stream
        owner.window += increment
        if owner.window > LARGEST_WINDOW:
            raise FlowControlError("a window beyond the largest")

    def write_whole(self, stream: Stream, message: bytes) -> bool:
        """Write a message in one frame, if that is possible now."""
        size = len(message)
        if size > self._frame_bytes or size > self._room(stream):
            return False
        self._write(stream, message)
        return True

    def write_part(self, stream: Stream, rest: memoryview) -> int:
        """Write as much as is possible now; return how many bytes that was."""
        size = min(len(rest), self._frame_bytes, self._room(stream))
        if size <= 0:
            return 0
        self._write(stream, rest[:size])
        return size

    def wait(self, stream: Stream) -> None:
        """Have ``stream`` write when it can."""
        self._waiting[stream] = None

    def forget(self, stream: Stream) -> None:
        """Have it write no more."""
        self._waiting.pop(stream, None)

    def go_on(self) -> None:
        """Let those that wait write."""
        for stream in tuple(self._waiting):
            if stream in self._waiting and stream.write():
                self._waiting.pop(stream, None)
                stream.drained()

    def _room(self, stream: Stream) -> int:
        return 0 if self.paused else min(self.window, stream.window)

    def _write(self, stream: Stream, payload: bytes | memoryview) -> None:
        self.window -= len(payload)
        stream.window -= len(payload)
        self._transport.write(data_frame(stream.number, payload))
