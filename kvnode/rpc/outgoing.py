"""One stream that we opened to a peer: requests leave in order, replies go where they are awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from kvnode.core.messages import Reply, Request
from kvnode.errors import PeerError
from kvnode.rpc.greetings import Metadata
from kvnode.rpc.http2.client import ClientConnection
from kvnode.rpc.http2.errors import CallError
from kvnode.rpc.http2.stream import Receiver
from kvnode.rpc.methods import Stream

_UNSENT = 64
"""Requests that may wait for the network; whoever sends keeps one in flight."""


class OutgoingStream(Receiver):
    """One open call. ``failed`` is told what is wrong with the peer, or why the call has ended."""

    def __init__(
        self,
        stream: Stream[Any, Any],
        connection: ClientConnection,
        metadata: Metadata,
        deliver: Callable[[Reply], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._stream = stream
        self._deliver = deliver
        self._failed = failed
        self._owed = 0
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._call = connection.open(stream.path, metadata, self)

    @property
    def idle(self) -> bool:
        """Whether everything that was sent has been answered."""
        return self._owed <= 0

    async def wait_opened(self) -> None:
        """Wait until the peer has taken the stream. Raises CallError if it refuses."""
        await self._opened

    def put(self, request: Request) -> None:
        """Have a request sent. Raises PeerError if too many wait already."""
        if self._call.unsent >= _UNSENT:
            raise PeerError(f"{self._call.unsent} {self._stream.name} messages wait to be sent")
        self._owed += self._stream.owed(request)
        self._call.send(self._stream.encode_request(request))

    def opened(self) -> None:
        """Take in that the peer has taken the stream."""
        if not self._opened.done():
            self._opened.set_result(None)

    def message(self, data: bytes) -> None:
        """Deliver a reply."""
        try:
            reply = self._stream.decode_reply(data)
            self._owed -= self._stream.paid(reply)
            self._deliver(reply)
        except Exception as error:  # noqa: BLE001 - whatever it is, the link is broken
            self._failed(error)

    def ended(self, error: CallError | None) -> None:
        """Take in the end of the stream: the link ends with it."""
        if not self._opened.done():
            self._opened.set_exception(error or PeerError(f"the peer takes no {self._stream.name}"))
            self._opened.exception()  # whether or not anybody waits
        self._failed(error or PeerError(f"the peer has ended {self._stream.name}"))
