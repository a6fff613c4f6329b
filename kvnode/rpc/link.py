"""An outgoing link: a connection to one process of a peer, greeted, with its three streams open.

A link lives once. It breaks as a whole when any part of it does, or when it is closed, and is
replaced by another (``dialer``).
"""

from __future__ import annotations

import asyncio

from kvnode.core.messages import Hello, Reply, Request
from kvnode.errors import MessageError, MismatchError, PeerError
from kvnode.logs import get_logger
from kvnode.replication.transport import Inbox
from kvnode.rpc.channel import Times
from kvnode.rpc.greetings import Metadata, metadata
from kvnode.rpc.http2.client import ClientConnection
from kvnode.rpc.http2.errors import CallError
from kvnode.rpc.layout import Layout
from kvnode.rpc.methods import CALLS, HELLO, STREAMS
from kvnode.rpc.outgoing import OutgoingStream
from kvnode.rpc.status import error_of, is_expired

_log = get_logger()


class Link:
    """One link to worker ``worker`` at ``address``, on behalf of ``inbox``."""

    def __init__(self, worker: int, address: str, inbox: Inbox, layout: Layout, times: Times) -> None:
        self._worker = worker
        self._address = address
        self._inbox = inbox
        self._layout = layout
        self._times = times
        self._connection: ClientConnection | None = None
        self._metadata: Metadata = ()
        self._streams: dict[type[Request], OutgoingStream] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._broken: asyncio.Future[PeerError] = asyncio.get_running_loop().create_future()
        self._up = False
        self._idle = asyncio.Event()

    @property
    def up(self) -> bool:
        """Whether requests travel."""
        return self._up and not self._broken.done()

    async def open(self) -> Hello:
        """Connect, greet, open the streams. Raises PeerError (MismatchError: refused, by either side)."""
        try:
            async with asyncio.timeout(self._times.open_s):
                connection = await ClientConnection.dial(self._address, self._times)
                self._connection = connection
                peer = await self._greet(connection)
                self._metadata = metadata(self._inbox.hello(), peer)
                for kind, stream in STREAMS.items():
                    self._streams[kind] = OutgoingStream(
                        stream, connection, self._metadata, self._deliver, self._failed
                    )
                for open_stream in self._streams.values():
                    await open_stream.wait_opened()
        except TimeoutError as error:
            raise PeerError(f"no answer within {self._times.open_s} s") from error
        except CallError as failure:
            raise error_of(failure) from failure
        self._up = True
        return peer

    async def broken(self) -> PeerError:
        """Wait until the link breaks, and return why."""
        return await asyncio.shield(self._broken)

    def send(self, request: Request) -> None:
        """Send a request over the open link."""
        stream = self._streams.get(type(request))
        if stream is None:
            task = asyncio.create_task(self._ask(request))
            self._calls.add(task)
            task.add_done_callback(self._call_done)
            return
        try:
            stream.put(request)
        except Exception as error:  # noqa: BLE001 - whatever it is, this link is broken, and nothing else
            self._failed(error)

    async def drained(self) -> None:
        """Wait until everything that was sent has been answered, or the link is broken."""
        while self.up and (self._calls or not all(stream.idle for stream in self._streams.values())):
            self._idle.clear()
            await self._idle.wait()

    def close(self, error: PeerError) -> None:
        """Break the link: from now on nothing is sent and no reply is delivered."""
        if not self._broken.done():
            self._broken.set_result(error)
            self._idle.set()

    def discard(self) -> None:
        """Free what the link holds."""
        self.close(PeerError("discarded"))
        for call in self._calls:
            call.cancel()
        if self._connection is not None:
            self._connection.close("the link is given up")

    async def _greet(self, connection: ClientConnection) -> Hello:
        hello = HELLO.encode_request(self._inbox.hello())
        peer = HELLO.decode_reply(await connection.ask(HELLO.path, hello))
        if peer.worker != self._worker:
            raise MismatchError(f"{self._address} is worker {peer.worker}, expected {self._worker}")
        self._inbox.check(peer)
        return peer

    async def _ask(self, request: Request) -> None:
        method = CALLS[type(request)]
        if self._connection is None:
            return
        try:
            answer = await self._connection.ask(
                method.path, method.encode_request(request), self._metadata, self._times.call_s
            )
        except CallError as failure:
            if not is_expired(failure):
                raise
            _log.warning("peer_call_expired", peer=self._worker, method=method.name)
        else:
            self._deliver(method.decode_reply(answer))

    def _deliver(self, reply: Reply) -> None:
        self._layout.check(self._worker, reply)
        if not self._broken.done():
            self._inbox.reply(self._worker, reply)
            self._idle.set()

    def _call_done(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        self._idle.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        """Break the link because of ``error``."""
        if self._broken.done():
            return
        if isinstance(error, MessageError):
            _log.warning("peer_message_refused", peer=self._worker, reason=str(error))
        if isinstance(error, CallError):
            error = error_of(error)
        elif not isinstance(error, PeerError):
            _log.error("peer_link_failed", peer=self._worker, exc_info=error)
            error = PeerError(repr(error))
        self.close(error)
