"""The server's side of links: Hello, the three streams and the single calls of a worker's peers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from kvnode.core.messages import Hello, Reply
from kvnode.errors import MessageError, MismatchError, PeerError
from kvnode.logs import get_logger
from kvnode.replication.transport import Inbox
from kvnode.rpc.greetings import Greetings
from kvnode.rpc.incoming import IncomingStream
from kvnode.rpc.layout import Layout
from kvnode.rpc.methods import CALLS, COORDINATION, HELLO, REPLICATION, STREAMS, Method, Stream
from kvnode.rpc.server import Context, Handler, Service, call_handler, stream_handler
from kvnode.rpc.status import refuse

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

    def services(self) -> tuple[Service, ...]:
        """Return the services of replication.proto and coordination.proto."""
        return (
            Service(REPLICATION, self._handlers(REPLICATION)),
            Service(COORDINATION, self._handlers(COORDINATION)),
        )

    async def drain(self) -> None:
        """Wait until everything that was asked has been answered, then end all streams.

        Not one by one: to a peer, the end of one stream is the end of the link.
        """
        while self._calls or not all(stream.idle for stream in self._streams):
            self._calmer.clear()
            await self._calmer.wait()
        for stream in tuple(self._streams):
            stream.close()

    def _handlers(self, service: str) -> dict[str, Handler]:
        handlers = {
            method.name: call_handler(self._call(method))
            for method in CALLS.values()
            if method.service == service
        }
        for stream in STREAMS.values():
            if stream.service == service:
                handlers[stream.name] = stream_handler(self._stream(stream))
        if HELLO.service == service:
            handlers[HELLO.name] = call_handler(self._hello)
        return handlers

    async def _hello(self, data: bytes, context: Context) -> bytes:
        try:
            theirs = HELLO.decode_request(data)
        except PeerError as error:
            await self._refuse(HELLO, context, error)
        try:
            self._check(theirs)
        except PeerError as error:
            self._complain(theirs.worker, context.peer(), str(error))
            await refuse(context, error)
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

    def _call(self, method: Method[Any, Any]) -> Callable[[bytes, Context], Awaitable[bytes]]:
        async def handle(data: bytes, context: Context) -> bytes:
            answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

            def respond(reply: Reply) -> None:
                if not answer.done():  # the caller may have gone
                    answer.set_result(reply)

            try:
                sender = self._greetings.sender(dict(context.invocation_metadata() or ()))
                request = method.decode_request(data)
                self._layout.check(sender.worker, request)
                self._refuse_surplus()
                self._inbox.receive(sender, request, respond)
            except PeerError as error:
                await self._refuse(method, context, error)
            self._calls += 1
            try:
                async with asyncio.timeout(_ANSWER_S):
                    return method.encode_reply(await answer)
            except TimeoutError:
                await refuse(context, PeerError(f"not answered within {_ANSWER_S:g} s"))
            finally:
                self._calls -= 1
                self._calmer.set()

        return handle

    def _stream(self, method: Stream[Any, Any]) -> Callable[[object, Context], Awaitable[None]]:
        async def handle(_: object, context: Context) -> None:
            try:
                sender = self._greetings.sender(dict(context.invocation_metadata() or ()))
                stream = IncomingStream(
                    method, sender, context, self._inbox, self._layout, self._greetings, self._calmer.set
                )
                for other in tuple(self._streams):
                    if other.purpose == stream.purpose:
                        other.replace()
                self._streams.add(stream)
                await context.send_initial_metadata(())
                try:
                    await stream.run()
                finally:
                    self._streams.discard(stream)
                    self._calmer.set()
            except PeerError as error:
                await self._refuse(method, context, error)

        return handle

    def _complain(self, worker: int, address: str, reason: str) -> None:
        """Log why a greeting is refused, once for each reason in a row."""
        if self._refused.get(worker) == reason:
            return
        if len(self._refused) >= _STRANGERS:
            self._refused.clear()
        self._refused[worker] = reason
        _log.warning("greeting_refused", peer=worker, address=address, reason=reason)

    async def _refuse(self, method: Method[Any, Any], context: Context, error: PeerError) -> NoReturn:
        event = "peer_message_refused" if isinstance(error, MessageError) else "peer_call_refused"
        _log.warning(event, peer=context.peer(), method=method.name, reason=str(error))
        await refuse(context, error)
