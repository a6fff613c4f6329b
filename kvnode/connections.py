"""HTTP connections that cannot hold a node: a bound on them, a deadline for all that clients do.

Sanic's own timeouts begin anew with each byte, and a client that never reads its answer meets none.
Here one sweep looks at all connections: a head, an answer and idleness have a time in all, and what
waits for clients to read it has a size in all. Past the bound idle connections make room, then those
that receive slowly; a few more are let in for the probes of whoever watches the node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic
from typing import Any, Final, Protocol, cast

from sanic import Request
from sanic.exceptions import RequestTimeout, ServiceUnavailable
from sanic.http import Http, Stage
from sanic.server.protocols.websocket_protocol import WebSocketProtocol

from kvnode.errors import RequestError
from kvnode.metrics import CONNECTIONS, CONNECTIONS_CUT

HEAD_S: Final = 10
"""From the first byte of a request's head to its last: Sanic's REQUEST_TIMEOUT, but in all."""
IDLE_S: Final = 60
"""Between requests: Sanic's KEEP_ALIVE_TIMEOUT."""
ANSWER_S: Final = 30.0
"""From the moment that an answer waits for its reader to the last byte that leaves."""
SWEEP_S: Final = 0.25
GRACE_S: Final = 1.0
"""Younger connections make no room for others."""
PROBES: Final = frozenset({"/healthz", "/readyz"})
RESERVE: Final = 64
"""Connections beyond the bound, for probes; all else is refused on them, in words."""

_REFUSAL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n"
    b"content-type: application/problem+json\r\ncontent-length: %d\r\n\r\n%b"
)
_PROBLEM: Final = (
    b'{"type":"urn:kvnode:problem:overloaded","title":"Overloaded","status":503,'
    b'"detail":"too many connections: try again","outcome":"not_stored"}'
)


class Lane(Protocol):
    """Who may answer requests in Sanic's place."""

    def take(self, data: bytes, reply: Callable[[bytes, bool], None]) -> bool:
        """Whether ``data`` is a whole request that is answered by one call of ``reply``, now or later."""


class Guard:
    """All connections of one server: at most ``limit`` and a few, at most ``unsent_bytes`` unread in them.

    ``lane`` is offered each request first.
    """

    def __init__(self, limit: int, unsent_bytes: int, lane: Lane | None = None) -> None:
        self.lane = lane
        self._limit = limit
        self._unsent_bytes = unsent_bytes
        self._open: dict[Connection, None] = {}
        self._unread: dict[Connection, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        CONNECTIONS.set_function(lambda: len(self._open))

    def __len__(self) -> int:
        """How many connections are open."""
        return len(self._open)

    @property
    def unsent(self) -> int:
        """Bytes that wait for clients which read slowly."""
        return sum(self._unread.values())

    @property
    def protocol(self) -> type[asyncio.Protocol]:
        """What makes this guard's connections."""
        return cast("type[asyncio.Protocol]", partial(Connection, guard=self))

    def admit(self, connection: Connection) -> bool:
        """Take in a new connection; False: there is no room at all."""
        if len(self._open) >= self._limit:
            self._make_room()
        if len(self._open) >= self._limit + RESERVE:
            CONNECTIONS_CUT.labels("surplus").inc()
            return False
        connection.surplus = len(self._open) >= self._limit
        self._open[connection] = None
        if self._timer is None:
            self._timer = connection.loop.call_later(SWEEP_S, self._sweep, connection.loop)
        return True

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._open.pop(connection, None)
        self._unread.pop(connection, None)

    def paused(self, connection: Connection, size: int) -> None:
        """Note an answer that is read slowly; past the bound, cut off who has been reading for longest."""
        self._unread[connection] = size
        while self.unsent > self._unsent_bytes and len(self._unread) > 1:
            slowest = next(iter(self._unread))
            del self._unread[slowest]
            slowest.cut("unread")

    def resumed(self, connection: Connection) -> None:
        """Note that it has been read."""
        self._unread.pop(connection, None)

    def _make_room(self) -> None:
        """Close a few connections: the longest idle ones, then those that receive for longest."""
        now = monotonic()
        found = [connection for connection in self._open if connection.waits(now)]
        found.sort(key=lambda connection: (not connection.idle, connection.since_s))
        for connection in found[: max(1, self._limit // 16)]:
            self.closed(connection)
            connection.cut("evicted")

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = monotonic()
        for connection in tuple(self._open):
            connection.check(now)
        self._timer = loop.call_later(SWEEP_S, self._sweep, loop) if self._open else None


class Connection(WebSocketProtocol):
    """One connection under a guard.

    ``since_s``: since when it has been doing what it does. ``express``: a request is under way in the lane.
    """

    __slots__ = ("_doing", "_early", "_expired", "_guard", "_refused", "express", "since_s", "surplus")

    def __init__(self, *, guard: Guard, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(**kwargs)
        self.surplus = False
        self.since_s = monotonic()
        self._guard = guard
        self.express = False
        self._early = b""
        self._doing: tuple[Stage, int, bool] | None = None
        self._refused = False
        self._expired = False

    # --- asyncio's calls --------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401
        """Serve the connection if there is room, else say so and close it."""
        if self._guard.admit(self):
            super().connection_made(transport)  # type: ignore[no-untyped-call]
            return
        self._refused = True
        transport.write(_REFUSAL % (len(_PROBLEM), _PROBLEM))
        transport.close()

    def data_received(self, data: bytes) -> None:
        """Take in bytes of a connection that is served: a whole request may go by the lane."""
        if self._refused:
            return
        if self.express:
            self._early += data
            if self.transport is not None:
                self.transport.pause_reading()
            return
        lane = self._guard.lane
        if lane is not None and self._is_fresh:
            self.express = True
            if lane.take(data, self._reply):
                self.state["requests_count"] += 1
                return
            self.express = False
        super().data_received(data)  # type: ignore[no-untyped-call]

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._guard.closed(self)
        if not self._refused:
            super().connection_lost(exc)  # type: ignore[no-untyped-call]

    def pause_writing(self) -> None:
        """Note that the client reads slowly."""
        super().pause_writing()  # type: ignore[no-untyped-call]
        if self.transport is not None:
            self._guard.paused(self, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Note that the client has read."""
        super().resume_writing()  # type: ignore[no-untyped-call]
        self._guard.resumed(self)

    def check_timeouts(self) -> None:
        """Do nothing: the guard's sweep takes the place of Sanic's timers."""

    # --- the lane's -------------------------------------------------------------------------------

    @property
    def _is_fresh(self) -> bool:
        """Whether the next byte begins a request, and its answer can be sent at once."""
        http = self.http
        return (
            http is not None
            and http.stage is Stage.IDLE
            and not self.recv_buffer
            and self.websocket is None
            and not self.surplus
            and self._can_write.is_set()
        )

    def _reply(self, data: bytes, close: bool) -> None:  # noqa: FBT001 - a callback
        """Send the lane's answer, and go on with what has come meanwhile."""
        self.express = False
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        transport.write(data)
        if close:
            self.close()
        elif self._early:
            early, self._early = self._early, b""
            transport.resume_reading()
            self.data_received(early)

    # --- the guard's ------------------------------------------------------------------------------

    @property
    def _stage(self) -> Stage:
        """What is being done, whoever does it."""
        if self.express:
            return Stage.HANDLER
        return Stage.IDLE if self.http is None else cast("Stage", self.http.stage)

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return self._stage is Stage.IDLE

    def waits(self, now: float) -> bool:
        """Whether it has been waiting for its client's bytes for some time."""
        if self.http is None or self.transport is None or self.websocket is not None:
            return False
        receives = self._stage is Stage.REQUEST or bool(self.http.request_body)
        return (self.idle or receives) and now - self.since_s >= GRACE_S

    def cut(self, reason: str) -> None:
        """Close at once, whatever is under way."""
        CONNECTIONS_CUT.labels(reason).inc()
        self.abort()  # type: ignore[no-untyped-call]

    def check(self, now: float) -> None:
        """Close the connection if what it does takes too long."""
        http, transport = self.http, self.transport
        if http is None or transport is None or self.websocket is not None:
            return
        unread = transport.get_write_buffer_size() > 0
        doing = (self._stage, self.state["requests_count"], unread)
        if doing != self._doing:
            self._doing, self.since_s = doing, now
        elif now - self.since_s > self._limit_s(unread=unread):
            self._expire(http, unread=unread)

    def _limit_s(self, *, unread: bool) -> float:
        if unread:
            return ANSWER_S
        if self.idle:
            return float(self.keep_alive_timeout)
        return float(self.request_timeout if self._stage is Stage.REQUEST else self.response_timeout)

    def _expire(self, http: Http, *, unread: bool) -> None:
        """Close in the politest way that is left."""
        if unread or self._expired or self._task is None or self.express:
            self.cut("unread" if unread else "stuck")
        elif http.stage is Stage.IDLE:
            CONNECTIONS_CUT.labels("idle").inc()
            self.close()
        elif not (http.stage is Stage.HANDLER and http.upgrade_websocket):
            self._expired = True
            slow = http.stage is Stage.REQUEST
            CONNECTIONS_CUT.labels("slow" if slow else "stuck").inc()
            http.exception = (
                RequestTimeout("Request Timeout") if slow else ServiceUnavailable("Response Timeout")
            )
            self._task.cancel()

    @property
    def request_handler(self) -> Callable[[Request], Awaitable[None]]:
        """What Sanic calls; not kept, for it would keep a closed connection until garbage is collected."""
        return self._handle

    @request_handler.setter
    def request_handler(self, handler: object) -> None:
        """Take what Sanic would call for a connection without a guard, and leave it."""

    async def _handle(self, request: Request) -> None:
        """Handle a request once the answer to the one before it has been read."""
        await self._can_write.wait()
        if self.surplus and isinstance(request.stream, Http):
            request.stream.keep_alive = False
            if request.path not in PROBES:
                raise RequestError("overloaded", f"{len(self._guard)} connections are open: try again")
        await self.app.handle_request(request)
