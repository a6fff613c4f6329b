"""The frames that h2 does not see, and the messages within them."""

from __future__ import annotations

import struct

import grpc
from h2.exceptions import ProtocolError

from kvnode.rpc.http2.errors import CallError

HEADER_BYTES = 9
INCREMENT_BYTES = 4
FRAME_BYTES = 256 * 1024
"""The largest frame that we take, or send."""

WINDOW_BYTES = 32 * 1024 * 1024
"""What a peer may have sent of messages that are not whole yet, on one connection."""

DATA, WINDOW_UPDATE = 0x0, 0x8
END_STREAM, PADDED = 0x1, 0x8
STREAM_MASK = 0x7FFFFFFF
LARGEST_WINDOW = 2**31 - 1
FIRST_WINDOW = 65_535
"""What HTTP/2 lets a peer send before it is told more."""

_HEADER = struct.Struct(">IBI")
_MESSAGE = struct.Struct(">BI")
_INCREMENT = struct.Struct(">IBII")


def read_header(data: bytes, at: int) -> tuple[int, int, int, int]:
    """Return length, type, flags and stream of the frame that begins at ``at``."""
    word, flags, stream_id = _HEADER.unpack_from(data, at)
    return word >> 8, word & 0xFF, flags, stream_id & STREAM_MASK


def data_frame(stream_id: int, payload: bytes | memoryview) -> bytes:
    """Return a DATA frame, after which more may follow."""
    return _HEADER.pack(len(payload) << 8 | DATA, 0, stream_id) + payload


def last_frame(stream_id: int) -> bytes:
    """Return the empty DATA frame by which h2 learns that a stream's sender has no more."""
    return _HEADER.pack(DATA, END_STREAM, stream_id)


def window_update(stream_id: int, increment: int) -> bytes:
    """Return a WINDOW_UPDATE frame."""
    return _INCREMENT.pack(INCREMENT_BYTES << 8 | WINDOW_UPDATE, 0, stream_id, increment)


def without_padding(payload: bytes) -> bytes:
    """Return what a padded DATA frame carries. Raises ProtocolError."""
    padding = payload[0] if payload else 0
    if padding >= len(payload):
        raise ProtocolError("more padding than frame")
    return payload[1 : len(payload) - padding]


def message_head(length: int) -> bytes:
    """Return what stands before a gRPC message of so many bytes, uncompressed."""
    return _MESSAGE.pack(0, length)


class MessageReader:
    """Finds the messages in what one stream brings. ``limit`` is the largest that is taken, in bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = bytearray()
        self.held = 0
        """Bytes of a message that is not whole yet."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that ``data`` completes. Raises CallError for what no message can be."""
        self.held += len(data)
        if self._rest:
            self._rest += data
            if self.held < _MESSAGE.size or self.held < _MESSAGE.size + self._length(self._rest, 0):
                return []
            data = bytes(self._rest)
        messages, at, end = [], 0, len(data)
        while end - at >= _MESSAGE.size:
            start = at + _MESSAGE.size
            stop = start + self._length(data, at)
            if stop > end:
                break
            messages.append(data[start:stop])
            at = stop
        self.held = end - at
        self._rest = bytearray(data[at:])
        return messages

    def _length(self, data: bytes | bytearray, at: int) -> int:
        compressed, length = _MESSAGE.unpack_from(data, at)
        if compressed:
            raise CallError(grpc.StatusCode.UNIMPLEMENTED, "messages are not taken compressed")
        if length > self._limit:
            why = f"a message of {length} bytes, of which {self._limit} are taken"
            raise CallError(grpc.StatusCode.RESOURCE_EXHAUSTED, why)
        return int(length)
