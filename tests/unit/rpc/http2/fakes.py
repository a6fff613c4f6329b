"""Methods to be called, and receivers that note what they are told: for both ends of a connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc

from kvnode.rpc.channel import Times
from kvnode.rpc.http2.client import ClientConnection
from kvnode.rpc.http2.errors import CallError
from kvnode.rpc.http2.health import health_routes
from kvnode.rpc.http2.server import Http2Server, Routes, ServerCall, ServerConnection, Streaming, Unary
from kvnode.rpc.http2.stream import Receiver

DEADLINE_S = 10.0
MIB = 1024 * 1024

ECHO, FAIL, WAIT, STREAM = "/test.Test/Echo", "/test.Test/Fail", "/test.Test/Wait", "/test.Test/Stream"
"""What ``Service`` serves: an answer, a refusal, an answer that is waited for, and an echo of a stream."""


class Service:
    """The methods of a server, and what has become of their calls."""

    def __init__(self) -> None:
        self.refusal = CallError(grpc.StatusCode.FAILED_PRECONDITION, "refused")
        self.answer = asyncio.Event()
        self.waiting = 0
        self.cancelled = 0
        self.open: list[StreamEcho] = []

    def routes(self) -> Routes:
        """Return the methods, with the health service."""
        return {
            ECHO: Unary(self._echo),
            FAIL: Unary(self._fail),
            WAIT: Unary(self._wait),
            STREAM: Streaming(self._stream),
            **health_routes(["test.Test"]),
        }

    async def _echo(self, data: bytes, _: ServerCall) -> bytes:
        return data

    async def _fail(self, *_: object) -> bytes:
        raise self.refusal

    async def _wait(self, data: bytes, _: ServerCall) -> bytes:
        self.waiting += 1
        try:
            await self.answer.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1
        return data

    def _stream(self, call: ServerCall) -> StreamEcho:
        self.open.append(StreamEcho(call))
        return self.open[-1]


class StreamEcho(Receiver):
    """Sends back what comes, and ends when the caller does; ``b"refuse"`` ends it otherwise."""

    def __init__(self, call: ServerCall) -> None:
        self.call = call
        self.drains = 0
        self.ends: list[CallError | None] = []

    def message(self, data: bytes) -> None:
        if data == b"refuse":
            raise CallError(grpc.StatusCode.ABORTED, "as asked")
        self.call.send(data)

    def completed(self) -> None:
        self.call.close()

    def drained(self) -> None:
        self.drains += 1

    def ended(self, error: CallError | None) -> None:
        self.ends.append(error)


class Notes(Receiver):
    """Notes what becomes of a call that we make."""

    def __init__(self) -> None:
        self.is_open = False
        self.messages: list[bytes] = []
        self.ends: list[CallError | None] = []
        self._changed = asyncio.Event()

    def opened(self) -> None:
        self.is_open = True
        self._changed.set()

    def message(self, data: bytes) -> None:
        self.messages.append(data)
        self._changed.set()

    def ended(self, error: CallError | None) -> None:
        self.ends.append(error)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what was noted meets the condition. Raises TimeoutError."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def end(self) -> CallError | None:
        """Wait for the end of the call, and return it."""
        await self.until(lambda: bool(self.ends))
        return self.ends[0]


@asynccontextmanager
async def serving(routes: Routes, times: Times | None = None) -> AsyncIterator[Http2Server]:
    """Run a server for the time of a block."""
    server = Http2Server("127.0.0.1:0", routes, times or Times())
    await server.start()
    try:
        yield server
    finally:
        await server.stop(0)


@asynccontextmanager
async def dialled(port: int, times: Times | None = None) -> AsyncIterator[ClientConnection]:
    """Have a connection for the time of a block."""
    connection = await ClientConnection.dial(f"127.0.0.1:{port}", times or Times())
    try:
        yield connection
    finally:
        connection.close("the test is over")


async def served(server: Http2Server) -> bool:
    """Return whether one more client gets its answer."""
    async with dialled(server.port) as connection:
        return await connection.ask(ECHO, b"anybody there?", timeout_s=DEADLINE_S) == b"anybody there?"


def only_connection(server: Http2Server) -> ServerConnection:
    """Return the one connection that a server has."""
    [connection] = server._connections
    return connection
