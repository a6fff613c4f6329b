"""One stream that we opened to a peer: requests leave in order, replies go where they are awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import grpc

from kvnode.core.messages import Reply, Request
from kvnode.errors import PeerError
from kvnode.rpc.channel import stream_call
from kvnode.rpc.greetings import Metadata
from kvnode.rpc.methods import Stream
from kvnode.rpc.unsent import Unsent

_UNSENT = 64
"""Requests that may wait for the network; whoever sends keeps one in flight."""


class OutgoingStream:
    """One open call, and what waits to be written to it."""

    def __init__(
        self,
        stream: Stream[Any, Any],
        channel: grpc.aio.Channel,
        metadata: Metadata,
        deliver: Callable[[Reply], None],
    ) -> None:
        self._stream = stream
        self._deliver = deliver
        self._call = stream_call(channel, stream.path)(metadata=metadata)
        self._unsent: Unsent[Request] = Unsent()
        self._owed = 0

    @property
    def idle(self) -> bool:
        """Whether everything that was sent has been answered."""
        return self._owed <= 0

    async def opened(self) -> None:
        """Wait until the peer has taken the stream. Raises AioRpcError if it refuses."""
        await self._call.initial_metadata()
        if self._call.done():
            await self._call  # type: ignore[misc] # raises why

    def put(self, request: Request) -> None:
        """Have a request sent. Raises PeerError if too many wait already."""
        if len(self._unsent) >= _UNSENT:
            raise PeerError(f"{len(self._unsent)} {self._stream.name} messages wait to be sent")
        self._owed += self._stream.owed(request)
        self._unsent.put(request)

    def pumps(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """Return what must run for as long as the stream is used; reading ends by raising."""
        return self._write(), self._read()

    async def _write(self) -> None:
        encode = self._stream.encode_request
        while True:
            data = encode(await self._unsent.first())
            try:
                await self._call.write(data)
            except asyncio.InvalidStateError:  # the call has ended; whoever reads is told why
                return
            self._unsent.sent()

    async def _read(self) -> None:
        decode, paid = self._stream.decode_reply, self._stream.paid
        while isinstance(data := await self._call.read(), bytes):
            reply = decode(data)
            self._owed -= paid(reply)
            self._deliver(reply)
        raise PeerError(f"the peer has ended {self._stream.name}")
