"""A peer that writes what it likes: bytes on a loopback connection, with h2 or frames made by hand.

It does what nobody asks of it: windows are opened, and streams ended, by the test alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    PingAckReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes, Settings

from tests.unit.rpc.http2.fakes import DEADLINE_S

DATA, HEADERS, SETTINGS, PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 4, 5, 6, 7, 8, 9
END_STREAM, END_HEADERS, PADDED = 1, 4, 8
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

Headers = Sequence[tuple[str, str]]
E = TypeVar("E", bound=Event)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return a frame, be it allowed or not."""
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


def window_update(stream: int, increment: int) -> bytes:
    """Return a frame that opens a window."""
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def framed(message: bytes) -> bytes:
    """Return a message as gRPC has it within DATA frames."""
    return struct.pack(">BI", 0, len(message)) + message


def request(path: str, *more: tuple[str, str]) -> Headers:
    """Return the headers of a call."""
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "test"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        *more,
    ]


class RawPeer:
    """One end of a connection. ``h2`` makes and understands frames; ``write`` says anything at all."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, client: bool = True
    ) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=client, header_encoding=None))
        self.events: list[Event] = []
        self.lost = False
        self._begun = False
        self._reader = reader
        self._writer = writer

    def begin(self, settings: dict[SettingCodes, int] | None = None) -> None:
        """Say what HTTP/2 wants said first; ``settings`` are ours."""
        client = self.h2.config.client_side
        self.h2.local_settings = Settings(client=client, initial_values=settings)
        self.h2.initiate_connection()
        self._begun = True
        self.say()

    def write(self, data: bytes) -> None:
        """Write bytes."""
        self._writer.write(data)

    def say(self) -> None:
        """Write what h2 has to say."""
        self._writer.write(self.h2.data_to_send())

    def call(self, path: str, *more: tuple[str, str], end_stream: bool = False) -> int:
        """Open a call, and return its number."""
        number = self.h2.get_next_available_stream_id()
        self.h2.send_headers(number, request(path, *more), end_stream=end_stream)
        self.say()
        return number

    def data(self, stream: int, payload: bytes, flags: int = 0) -> None:
        """Write a DATA frame, whatever the windows are."""
        self.write(frame(DATA, flags, stream, payload))

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def flush(self) -> None:
        """Wait until the network has taken most of what was written."""
        with contextlib.suppress(OSError):
            async with asyncio.timeout(DEADLINE_S):
                await self._writer.drain()

    async def hear(self) -> None:
        """Wait for something from the peer, and take it in."""
        try:
            data = await self._reader.read(65_536)
        except OSError:
            data = b""
        if not data:
            self.lost = True
            return
        self.events += self.h2.receive_data(data)
        if self._begun:
            self.say()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Listen until what was heard meets the condition. Raises TimeoutError."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                assert not self.lost, f"closed after {self.events}"
                await self.hear()

    async def until_lost(self) -> int | None:
        """Listen until the peer has closed the connection; return the code of its goodbye, if it said one."""
        async with asyncio.timeout(DEADLINE_S):
            while not self.lost:
                await self.hear()
        return self.goodbye()

    def goodbye(self) -> int | None:
        """Return the code of the peer's goodbye, if it said one."""
        codes = [int(event.error_code or 0) for event in self._of(ConnectionTerminated)]
        return codes[-1] if codes else None

    async def round_trip(self) -> None:
        """Wait until the peer has taken in everything that was written so far."""
        seen = len(self._of(PingAckReceived))
        self.h2.ping(b"are you?")
        self.say()
        await self.until(lambda: len(self._of(PingAckReceived)) > seen)

    async def round_trip_or_lost(self, said: bytes = b"") -> None:
        """Say one thing more, and wait until the peer has taken it in, or has closed the connection."""
        seen = len(self._of(PingAckReceived))
        self.write(said + frame(PING, 0, 0, b"are you?"))
        async with asyncio.timeout(DEADLINE_S):
            while not self.lost and len(self._of(PingAckReceived)) == seen:
                await self.hear()

    def received(self, stream: int) -> bytes:
        """Return what DATA frames have brought on a stream."""
        return b"".join(event.data or b"" for event in self._of(DataReceived) if event.stream_id == stream)

    def reset(self, stream: int) -> bool:
        """Return whether the peer has reset a stream."""
        return any(event.stream_id == stream for event in self._of(StreamReset))

    def ended(self, stream: int) -> bool:
        """Return whether the peer has ended a stream."""
        return any(event.stream_id == stream for event in self._of(StreamEnded))

    def header(self, stream: int, name: str) -> str | None:
        """Return the last value of a header, or trailer, that has come on a stream."""
        found = None
        for event in self.events:
            if isinstance(event, ResponseReceived | TrailersReceived) and event.stream_id == stream:
                value = dict(event.headers or ()).get(name.encode())
                found = found if value is None else value.decode()
        return found

    async def status(self, stream: int) -> str | None:
        """Wait for the end of a call, and return its gRPC status."""
        await self.until(lambda: self.ended(stream) or self.reset(stream))
        return self.header(stream, "grpc-status")

    def _of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]


@asynccontextmanager
async def raw_client(port: int, takes: int | None = None) -> AsyncIterator[RawPeer]:
    """Connect, and say nothing so far. The network keeps about ``takes`` bytes that have not been heard."""
    connection = socket.socket(proto=socket.IPPROTO_TCP)
    if takes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, takes)
    connection.setblocking(False)  # noqa: FBT003 - the standard library's own
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    peer = RawPeer(*await asyncio.open_connection(sock=connection, limit=takes or 2**16))
    try:
        yield peer
    finally:
        await peer.close()


@asynccontextmanager
async def raw_server(take: Callable[[RawPeer], Awaitable[None]]) -> AsyncIterator[int]:
    """Listen, on the port that is returned; ``take`` is what becomes of each connection."""
    failures: list[Exception] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = RawPeer(reader, writer, client=False)
        try:
            await take(peer)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            failures.append(error)
        finally:
            await peer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    assert not failures
