"""The answering end: a port, its connections, and the calls that come over them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import grpc
from h2.errors import ErrorCodes
from h2.events import Event, RequestReceived, StreamEnded
from h2.exceptions import ProtocolError

from kvnode.errors import PeerError
from kvnode.logs import get_logger
from kvnode.rpc.channel import Times
from kvnode.rpc.http2.connection import Connection
from kvnode.rpc.http2.errors import CallError
from kvnode.rpc.http2.stream import Receiver, Stream

_log = get_logger()

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SPEAK_S = 5.0
"""Within which a new connection has to say what it is."""
_IDLE_S = 300.0
"""After which a connection without a call is closed; links have streams."""
_SWEEP_S = 1.0
_CONNECTIONS = 1024
_CALLS_AT_ONCE = 4096
_BACKLOG = 128
_HEADERS = [(":status", "200"), ("content-type", "application/grpc")]
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F))).replace("%", "")


class ServerCall(Stream):
    """A call that a peer has made."""

    def __init__(
        self, connection: ServerConnection, number: int, window: int, headers: Mapping[str, str]
    ) -> None:
        super().__init__(connection, number, window)
        self._server_connection = connection
        self.peer = connection.peer
        self.metadata = headers
        self.accepted = False

    def accept(self) -> None:
        """Tell the caller that its call has been taken; before anything is sent."""
        if not self.finished and not self.accepted:
            self.accepted = True
            self._server_connection.accept(self)

    def close(self) -> None:
        """Answer no more: all is well as soon as what was sent has been written."""
        self.finish()

    def refuse(self, error: CallError) -> None:
        """End at once, with ``error`` for the caller; what waits to be written is dropped."""
        self._server_connection.conclude(self, error)


@dataclass(frozen=True)
class Unary:
    """A method of one message and one answer. ``answer`` may raise CallError."""

    answer: Callable[[bytes, ServerCall], Awaitable[bytes]]


@dataclass(frozen=True)
class Streaming:
    """A method of two streams. ``open`` returns who takes what comes, or raises CallError."""

    open: Callable[[ServerCall], Receiver]


Routes = Mapping[str, Unary | Streaming]
"""Methods by their paths."""


class ServerConnection(Connection):
    """A connection that a peer has opened, to ``server``."""

    def __init__(self, server: Http2Server, times: Times) -> None:
        super().__init__(client=False, times=times)
        self._server = server
        self._last_call_s = self._loop.time()
        self.peer = "?"

    @property
    def overdue(self) -> bool:
        """Whether it has said nothing so far, or called nothing for long."""
        idle_s = self._loop.time() - self._last_call_s
        return not self._streams and idle_s >= (_IDLE_S if self._begun else _SPEAK_S)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be counted, or turned away."""
        host, port, *_ = transport.get_extra_info("peername") or ("?", 0)
        self.peer = f"{host}:{port}"
        super().connection_made(transport)
        if not self._server.admit(self):
            self.abort("too many connections")

    def connection_lost(self, exc: Exception | None) -> None:
        """Be counted no more."""
        super().connection_lost(exc)
        self._server.forget(self)

    def last_word(self, stream: Stream) -> None:
        """Tell the caller that all went well."""
        self.conclude(stream, None)

    def accept(self, call: ServerCall) -> None:
        """Tell the caller that its call has been taken."""
        self._act(lambda: self._h2.send_headers(call.number, _HEADERS))

    def conclude(self, stream: Stream, error: CallError | None) -> None:
        """Send the status of a call, and be done with it."""
        if self._streams.get(stream.number) is not stream:
            return
        ended = stream.peer_finished
        accepted = isinstance(stream, ServerCall) and stream.accepted
        self._drop(stream, error)
        code = error.code if error is not None else grpc.StatusCode.OK
        trailers = [*([] if accepted else _HEADERS), ("grpc-status", str(code.value[0]))]
        if error is not None:
            trailers.append(("grpc-message", quote(error.details, safe=_PRINTABLE)))
        self._act(lambda: self._h2.send_headers(stream.number, trailers, end_stream=True))
        if not ended:
            self._reset(stream, ErrorCodes.NO_ERROR)

    def _drop(self, stream: Stream, error: CallError | None) -> None:
        if self._streams.get(stream.number) is stream:
            self._server.calls -= 1
            self._last_call_s = self._loop.time()
            super()._drop(stream, error)
            self._server.calmer.set()

    def _begin(self, data: bytes) -> int:
        if self._begun:
            return 0
        begun = data[: len(_PREFACE)]
        if not _PREFACE.startswith(begun):
            raise ProtocolError("no HTTP/2")
        self._begun = begun == _PREFACE
        if not self._begun:
            return 0
        self._h2.receive_data(begun)
        return len(begun)

    def _event(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            self._open(event)
        elif isinstance(event, StreamEnded):
            call = self._streams[event.stream_id]
            if call.held:
                self.conclude(call, CallError(grpc.StatusCode.INTERNAL, "ended within a message"))
            elif call.receiver is not None:
                call.receiver.completed()

    def _open(self, event: RequestReceived) -> None:
        headers = {
            bytes(name).decode("latin-1"): bytes(value).decode("latin-1") for name, value in event.headers
        }
        call = ServerCall(self, event.stream_id, self._first_room(), headers)
        self._add(call)
        self._server.calls += 1
        try:
            self._server.route(call)
        except CallError as error:
            self.conclude(call, error)

    def _fail(self, stream: Stream, error: CallError) -> None:
        self.conclude(stream, error)


class _Question(Receiver):
    """Takes the one message of a question, and has it answered by a task of its own."""

    def __init__(self, call: ServerCall, method: Unary) -> None:
        self._call = call
        self._method = method
        self._data: bytes | None = None
        self._task: asyncio.Task[None] | None = None

    def message(self, data: bytes) -> None:
        if self._data is not None:
            raise CallError(grpc.StatusCode.UNIMPLEMENTED, "asked twice in one call")
        self._data = data

    def completed(self) -> None:
        if self._data is None:
            self._call.refuse(CallError(grpc.StatusCode.UNIMPLEMENTED, "asked nothing"))
        else:
            self._task = asyncio.create_task(self._answer(self._data))

    def ended(self, error: CallError | None) -> None:
        if self._task is not None and error is not None:
            self._task.cancel()

    async def _answer(self, data: bytes) -> None:
        try:
            answer = await self._method.answer(data, self._call)
        except CallError as error:
            self._call.refuse(error)
        except Exception as defect:  # noqa: BLE001 - whatever it is, its caller is told, and nobody else
            _log.error("peer_call_failed", exc_info=defect)
            self._call.refuse(CallError(grpc.StatusCode.INTERNAL, repr(defect)))
        else:
            self._call.accept()
            self._call.send(answer)
            self._call.close()


class Http2Server:
    """Serves ``routes`` on ``bind`` (``host:port``; port 0 is any) from ``start`` to ``stop``."""

    def __init__(self, bind: str, routes: Routes, times: Times) -> None:
        self._bind = bind
        self._routes = routes
        self._times = times
        self._connections: set[ServerConnection] = set()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._stopping = False
        self.calls = 0
        """How many are open, on all connections."""
        self.calmer = asyncio.Event()
        """Set whenever a call has ended."""
        self.port = 0

    async def start(self) -> None:
        """Bind and serve. Raises PeerError that names the address if it is taken."""
        host, _, port = self._bind.rpartition(":")
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: ServerConnection(self, self._times), host.strip("[]"), int(port), backlog=_BACKLOG
            )
        except OSError as error:
            reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be bound: {error.strerror}"
            raise PeerError(f"the gRPC address {self._bind} {reason}") from error
        server: Any = self._server  # uvloop's has a list of sockets, where typeshed names a tuple
        self.port = server.sockets[0].getsockname()[1]
        self._sweep()

    async def stop(self, grace_s: float) -> None:
        """Take no new call, give those under way ``grace_s`` to end, close all connections."""
        self._stopping = True
        if self._server is None:
            return
        self._server.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self.calls:
                    self.calmer.clear()
                    await self.calmer.wait()
        for connection in tuple(self._connections):
            connection.close("the server is stopping")

    def admit(self, connection: ServerConnection) -> bool:
        """Count a connection, if there is room for it."""
        if self._stopping or len(self._connections) >= _CONNECTIONS:
            return False
        self._connections.add(connection)
        return True

    def forget(self, connection: ServerConnection) -> None:
        """Count a connection no more."""
        self._connections.discard(connection)
        self.calmer.set()

    def route(self, call: ServerCall) -> None:
        """Give a call to its method. Raises CallError if it is to be refused."""
        if not call.metadata.get("content-type", "").startswith("application/grpc"):
            raise CallError(grpc.StatusCode.INVALID_ARGUMENT, "this is no gRPC")
        if "content-length" in call.metadata:  # h2 would compare it with the data, which it does not see
            raise CallError(grpc.StatusCode.INVALID_ARGUMENT, "content-length is not taken")
        if self._stopping:
            raise CallError(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
        if self.calls > _CALLS_AT_ONCE:
            raise CallError(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{_CALLS_AT_ONCE} calls are open already")
        method = self._routes.get(call.metadata.get(":path", ""))
        if method is None:
            raise CallError(grpc.StatusCode.UNIMPLEMENTED, "there is no such method")
        if isinstance(method, Unary):
            call.receiver = _Question(call, method)
        else:
            call.receiver = method.open(call)
            call.accept()

    def _sweep(self) -> None:
        """Close connections that nobody uses, now and again."""
        for connection in [one for one in self._connections if one.overdue]:
            connection.close("not used")
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)
