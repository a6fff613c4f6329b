"""The server's side of links: Hello, the three streams and the single calls of a worker's peers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from kvnode.core.messages import Hello, Reply, Request
from kvnode.errors import MessageError, MismatchError, PeerError
from kvnode.logs import get_logger
from kvnode.replication.transport import Inbox
from kvnode.rpc.greetings import Greetings
from kvnode.rpc.http2.errors import CallError
from kvnode.rpc.http2.server import Routes, ServerCall, Streaming, Unary
from kvnode.rpc.incoming import IncomingStream, Respond
from kvnode.rpc.layout import Layout
from kvnode.rpc.methods import CALLS, HELLO, STREAMS, Method, Stream
from kvnode.rpc.status import refusal

_log = get_logger()

_CALLS = 4000
"""Single calls of all peers that may wait to be answered."""

_ANSWER_S = 30.0
"""How long the longest of them waits: well beyond what peers themselves wait."""

_STRANGERS = 1000
"""Refused workers whose reasons are remembered; they may call themselves anything."""


class PeerService:
    """Serves peers on behalf of ``inbox``. ``on_greeting`` is told of each process that is new to us."""

    def __init__(self, inbox: Inbox, layout: Layout, on_greeting: Callable[[Hello], None]) -> None:
        self._inbox = inbox
        self._layout = layout
        self._on_greeting = on_greeting
        self._greetings = Greetings(inbox.hello().process)
        self._streams: set[IncomingStream] = set()
        self._refused: dict[int, str] = {}
        self._calls = 0
        self._calmer = asyncio.Event()

    def routes(self) -> Routes:
        """Return the methods of replication.proto and coordination.proto."""
        return {
            HELLO.path: Unary(self._hello),
            **{method.path: Unary(self._call(method)) for method in CALLS.values()},
            **{stream.path: Streaming(self._stream(stream)) for stream in STREAMS.values()},
        }

    async def drain(self) -> None:
        """Wait until everything that was asked has been answered, then end all streams.

        Not one by one: to a peer, the end of one stream is the end of the link.
        """
        while self._calls or not all(stream.idle for stream in self._streams):
            self._calmer.clear()
            await self._calmer.wait()
        for stream in tuple(self._streams):
            stream.close()

    async def _hello(self, data: bytes, call: ServerCall) -> bytes:
        try:
            theirs = HELLO.decode_request(data)
        except PeerError as error:
            raise self._refusal(HELLO, call, error) from error
        try:
            self._check(theirs)
        except PeerError as error:
            self._complain(theirs.worker, call.peer, str(error))
            raise refusal(error) from error
        self._refused.pop(theirs.worker, None)
        if self._greetings.note(theirs):
            self._on_greeting(theirs)
        return HELLO.encode_reply(self._inbox.hello())

    def _check(self, theirs: Hello) -> None:
        if theirs.worker == self._inbox.hello().worker:
            raise MismatchError(f"worker {theirs.worker} is this one")
        self._inbox.check(theirs)

    def _refuse_surplus(self) -> None:
        if self._calls >= _CALLS:
            raise PeerError(f"{self._calls} calls wait to be answered")

    def _call(self, method: Method[Any, Any]) -> Callable[[bytes, ServerCall], Awaitable[bytes]]:
        async def handle(data: bytes, call: ServerCall) -> bytes:
            answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

            def respond(reply: Reply) -> None:
                if not answer.done():  # the caller may have gone
                    answer.set_result(reply)

            try:
                sender = self._greetings.sender(call.metadata)
                request = method.decode_request(data)
                self._layout.check(sender.worker, request)
                self._refuse_surplus()
                self._inbox.receive(sender, request, respond)
            except PeerError as error:
                raise self._refusal(method, call, error) from error
            self._calls += 1
            try:
                async with asyncio.timeout(_ANSWER_S):
                    return method.encode_reply(await answer)
            except TimeoutError as late:
                raise refusal(PeerError(f"not answered within {_ANSWER_S:g} s")) from late
            finally:
                self._calls -= 1
                self._calmer.set()

        return handle

    def _stream(self, method: Stream[Any, Any]) -> Callable[[ServerCall], IncomingStream]:
        def open_stream(call: ServerCall) -> IncomingStream:
            try:
                sender = self._greetings.sender(call.metadata)
            except PeerError as error:
                raise self._refusal(method, call, error) from error
            stream = IncomingStream(
                method,
                sender,
                call,
                take=self._take,
                refuse=lambda error: call.refuse(self._refusal(method, call, error)),
                on_idle=self._calmer.set,
                on_end=self._ended,
            )
            for other in tuple(self._streams):
                if other.purpose == stream.purpose:
                    other.replace()
            self._streams.add(stream)
            return stream

        return open_stream

    def _take(self, sender: Hello, request: Request, respond: Respond) -> None:
        if not self._greetings.is_newest(sender):
            raise MismatchError(f"a later process of worker {sender.worker} has greeted")
        self._layout.check(sender.worker, request)
        self._inbox.receive(sender, request, respond)

    def _ended(self, stream: IncomingStream) -> None:
        self._streams.discard(stream)
        self._calmer.set()

    def _complain(self, worker: int, address: str, reason: str) -> None:
        """Log why a greeting is refused, once for each reason in a row."""
        if self._refused.get(worker) == reason:
            return
        if len(self._refused) >= _STRANGERS:
            self._refused.clear()
        self._refused[worker] = reason
        _log.warning("greeting_refused", peer=worker, address=address, reason=reason)

    def _refusal(self, method: Method[Any, Any], call: ServerCall, error: PeerError) -> CallError:
        """Log that something is refused, and return how."""
        event = "peer_message_refused" if isinstance(error, MessageError) else "peer_call_refused"
        _log.warning(event, peer=call.peer, method=method.name, reason=str(error))
        return refusal(error)
