"""One stream that a peer opened: its requests go to the inbox, replies return as they come.

The next request is read without waiting for the reply to the last one: it is the sender who keeps
one message in flight, and an ExecuteBatch is answered in pieces.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc

from kvnode.core.messages import Hello, Reply
from kvnode.errors import MismatchError, PeerError
from kvnode.logs import get_logger
from kvnode.replication.transport import Inbox
from kvnode.rpc.greetings import Greetings
from kvnode.rpc.layout import Layout
from kvnode.rpc.methods import Stream
from kvnode.rpc.unsent import Unsent

_log = get_logger()

_UNANSWERED = 20_000
"""Attempts that a peer may have open: far more than a worker lets wait."""

_UNSENT = 10_000
"""Replies that may wait for the network; a peer that does not read them loses its link."""


class IncomingStream:
    """Serves one stream of ``sender`` until it ends, or is closed and idle."""

    def __init__(
        self,
        stream: Stream[Any, Any],
        sender: Hello,
        context: grpc.aio.ServicerContext[bytes, bytes],
        inbox: Inbox,
        layout: Layout,
        greetings: Greetings,
        on_idle: Callable[[], None],
    ) -> None:
        self._stream = stream
        self._sender = sender
        self._context = context
        self._inbox = inbox
        self._layout = layout
        self._greetings = greetings
        self._on_idle = on_idle
        self._owed = 0
        self._closing = False
        self._unsent: Unsent[Reply] = Unsent()
        self._ended: asyncio.Future[PeerError | None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Serve until the end. Raises PeerError if the peer is to be refused."""
        tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._write())]
        for task in tasks:
            task.add_done_callback(self._task_done)
        try:
            error = await self._ended
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if error is not None:
            raise error

    @property
    def idle(self) -> bool:
        """Whether every request that was read has been answered."""
        return self._owed <= 0 and not self._unsent

    @property
    def purpose(self) -> tuple[str, int, str]:
        """What a peer's process has one stream for: the method, the worker and its process."""
        return self._stream.name, self._sender.worker, self._sender.process

    def replace(self) -> None:
        """End at once: its sender has opened another, for the link that this one was part of is broken."""
        self._end(PeerError(f"another {self._stream.name} stream has been opened"))

    def close(self) -> None:
        """End as soon as the stream is idle."""
        self._closing = True
        self._end_if_idle()

    async def _read(self) -> None:
        decode = self._stream.decode_request
        while isinstance(data := await self._context.read(), bytes):  # else the end
            if not self._greetings.is_newest(self._sender):
                raise MismatchError(f"a later process of worker {self._sender.worker} has greeted")
            request = decode(data)
            self._layout.check(self._sender.worker, request)
            self._owed += self._stream.owed(request)
            if self._owed > _UNANSWERED:
                raise PeerError(f"{self._owed} requests wait to be answered")
            self._inbox.receive(self._sender, request, self._respond)
        self.close()

    def _respond(self, reply: Reply) -> None:
        if self._ended.done():
            return
        self._owed -= self._stream.paid(reply)
        self._unsent.put(reply)
        if len(self._unsent) > _UNSENT:
            self._end(PeerError(f"{len(self._unsent)} replies wait to be read"))

    async def _write(self) -> None:
        encode = self._stream.encode_reply
        while True:
            await self._context.write(encode(await self._unsent.first()))
            self._unsent.sent()
            if not self._unsent:
                self._end_if_idle()
                self._on_idle()

    def _end_if_idle(self) -> None:
        if self._closing and self.idle:
            self._end(None)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self._end(None)
        elif (error := task.exception()) is not None:
            if isinstance(error, grpc.aio.BaseError):  # the connection is gone
                error = None
            elif not isinstance(error, PeerError):
                _log.error("peer_stream_failed", method=self._stream.name, exc_info=error)
                error = PeerError(f"{self._stream.name} failed: {error!r}")
            self._end(error)

    def _end(self, error: PeerError | None) -> None:
        if not self._ended.done():
            self._ended.set_result(error)
