"""The calling end: one connection, and the calls that are made over it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import unquote

import grpc
from h2.errors import ErrorCodes
from h2.events import Event, InformationalResponseReceived, ResponseReceived, StreamEnded, TrailersReceived
from h2.exceptions import ProtocolError

from kvnode.config import split_address
from kvnode.errors import PeerError
from kvnode.rpc.channel import Times
from kvnode.rpc.http2.connection import Connection
from kvnode.rpc.http2.errors import CallError
from kvnode.rpc.http2.stream import Receiver, Stream

_CODES: dict[str, grpc.StatusCode] = {str(code.value[0]): code for code in grpc.StatusCode}


class Call(Stream):
    """A call that we have made."""

    answered = False
    """Whether the peer has taken it."""
    code: grpc.StatusCode | None = None
    details = ""


class ClientConnection(Connection):
    """A connection that we have opened; ``dial`` makes one."""

    def __init__(self, authority: str, times: Times) -> None:
        super().__init__(client=True, times=times)
        self._authority = authority

    @classmethod
    async def dial(cls, address: str, times: Times) -> ClientConnection:
        """Connect to ``host:port``. Raises PeerError."""
        host, port = split_address(address)
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(lambda: cls(address, times), host, port)
        except OSError as error:
            raise PeerError(f"cannot connect: {error.strerror or error}") from error
        return connection

    def open(self, path: str, metadata: Sequence[tuple[str, str]], receiver: Receiver) -> Call:
        """Begin a call. Raises CallError if the connection takes none."""
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", self._authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "kvnode"),
            *metadata,
        ]
        if self.closed:
            raise CallError(grpc.StatusCode.UNAVAILABLE, "the connection is closed")
        try:
            number = self._h2.get_next_available_stream_id()
            self._h2.send_headers(number, headers)
        except ProtocolError as error:
            raise CallError(grpc.StatusCode.UNAVAILABLE, f"no call can be opened: {error}") from error
        self._say()
        if self.closed:
            raise CallError(grpc.StatusCode.UNAVAILABLE, "the connection has been closed")
        call = Call(self, number, self._first_room())
        call.receiver = receiver
        self._add(call)
        return call

    async def ask(
        self,
        path: str,
        question: bytes,
        metadata: Sequence[tuple[str, str]] = (),
        timeout_s: float | None = None,
    ) -> bytes:
        """Make a call of one message that is answered by one. Raises CallError."""
        answer = _Answer()
        call = self.open(path, metadata, answer)
        call.send(question)
        call.finish()
        try:
            async with asyncio.timeout(timeout_s):
                return await answer.future
        except TimeoutError as error:
            raise CallError(grpc.StatusCode.DEADLINE_EXCEEDED, f"no answer within {timeout_s} s") from error
        finally:
            self.cancel(call)

    def cancel(self, call: Call) -> None:
        """End a call, if it has not ended, whatever the peer does about it."""
        if self._streams.get(call.number) is call:
            self._fail(call, CallError(grpc.StatusCode.CANCELLED, "given up"))

    def last_word(self, stream: Stream) -> None:
        """Close our half of a call."""
        self._act(lambda: self._h2.end_stream(stream.number))

    def _fail(self, stream: Stream, error: CallError) -> None:
        self._drop(stream, error)
        self._reset(stream, ErrorCodes.CANCEL)

    def _event(self, event: Event) -> None:
        if isinstance(event, InformationalResponseReceived):
            return
        if isinstance(event, ResponseReceived | TrailersReceived | StreamEnded):
            call = self._streams.get(event.stream_id)
            if not isinstance(call, Call):
                return
            if isinstance(event, StreamEnded):
                self._answered(call)
            else:
                self._headers(call, event)

    def _headers(self, call: Call, event: ResponseReceived | TrailersReceived) -> None:
        headers = {bytes(name): bytes(value).decode(errors="replace") for name, value in event.headers}
        status = headers.get(b":status", "200")
        if status != "200":
            self._fail(call, CallError(grpc.StatusCode.UNAVAILABLE, f"answered with HTTP status {status}"))
            return
        if b"grpc-status" in headers:
            call.code = _CODES.get(headers[b"grpc-status"], grpc.StatusCode.UNKNOWN)
            call.details = unquote(headers.get(b"grpc-message", ""))
        elif not call.answered:
            call.answered = True
            if call.receiver is not None:
                call.receiver.opened()

    def _answered(self, call: Call) -> None:
        """Take in the end of the answer: with its status, or for want of one."""
        error = None
        if call.code is None:
            error = CallError(grpc.StatusCode.UNKNOWN, "ended without a status")
        elif call.code is not grpc.StatusCode.OK:
            error = CallError(call.code, call.details or "no details")
        elif call.held:
            error = CallError(grpc.StatusCode.INTERNAL, "ended within a message")
        complete = call.complete
        self._drop(call, error)
        if not complete:
            self._reset(call, ErrorCodes.NO_ERROR)


class _Answer(Receiver):
    """Waits for the one message of an answer."""

    def __init__(self) -> None:
        self.future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._message: bytes | None = None

    def message(self, data: bytes) -> None:
        if self._message is not None:
            raise CallError(grpc.StatusCode.INTERNAL, "answered twice")
        self._message = data

    def ended(self, error: CallError | None) -> None:
        if self.future.done():  # whoever asked has given up
            return
        if error is None and self._message is None:
            error = CallError(grpc.StatusCode.INTERNAL, "answered with nothing")
        if error is not None:
            self.future.set_exception(error)
        elif self._message is not None:
            self.future.set_result(self._message)
