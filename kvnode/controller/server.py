"""Runs a Sanic app inside a running event loop, and stops it without cutting off answers."""

from __future__ import annotations

import asyncio
import errno
from typing import Any, Final

from sanic import Request, Sanic
from sanic.config import Config
from sanic.http import Http
from sanic.server import AsyncioServer

from kvnode.config import Limits
from kvnode.connections import HEAD_S, IDLE_S, Guard
from kvnode.errors import PeerError

SOCKET_IO: Final = "/socket.io"
BACKLOG: Final = 256
CONNECTIONS: Final = 512
"""At most so many, whatever the limits allow a worker: a request's body is read whole here."""


class InFlight:
    """Counts requests from their first byte to the last of their answer, hang-ups included."""

    def __init__(self) -> None:
        self._count = 0
        self.draining = False
        self.idle = asyncio.Event()
        self.idle.set()

    def __enter__(self) -> None:
        """Count one more."""
        self._count += 1
        self.idle.clear()

    def __exit__(self, *_: object) -> None:
        """Count one less."""
        self._count -= 1
        if self._count == 0:
            self.idle.set()


class App(Sanic[Any, Any]):
    """A Sanic app that knows what is in flight (``ctx.in_flight``), but for the feed's endless requests."""

    async def handle_request(self, request: Request) -> None:
        """Serve one request; while draining, its connection is closed after it."""
        in_flight: InFlight = self.ctx.in_flight
        if request.path.startswith(SOCKET_IO):
            await super().handle_request(request)
            return
        with in_flight:
            if in_flight.draining and isinstance(request.stream, Http):
                request.stream.keep_alive = False
            await super().handle_request(request)


def create_app(name: str, max_body_bytes: int) -> App:
    """Make an app that neither configures logging, nor writes an access log, nor reads the environment."""
    config = Config(env_prefix=None)
    config.update(
        {
            "ACCESS_LOG": False,
            "AUTO_EXTEND": False,
            "MOTD": False,
            "REQUEST_TIMEOUT": HEAD_S,
            "KEEP_ALIVE_TIMEOUT": IDLE_S,
            "REQUEST_MAX_SIZE": max_body_bytes,
            "TOUCHUP": False,  # Sanic would rewrite its own classes, and cannot do it twice in a process
        }
    )
    app = App(name, config=config, configure_logging=False)
    app.ctx.in_flight = InFlight()
    return app


class RestServer:
    """Binds ``host:port``, serves, and drains. Long polls and WebSockets do not hold up a stop."""

    def __init__(self, app: App, host: str, port: int, limits: Limits) -> None:
        self._app = app
        self.guard = Guard(min(CONNECTIONS, limits.connections), limits.unsent_bytes)
        self._host = host
        self._port = port
        self._server: AsyncioServer | None = None

    async def start(self) -> None:
        """Bind and serve. Raises PeerError, naming the port, when it is taken."""
        try:
            self._server = await self._app.create_server(
                self._host,
                self._port,
                protocol=self.guard.protocol,
                backlog=BACKLOG,
                access_log=False,
            )
        except OSError as error:
            where = f"{self._host}:{self._port}"
            if error.errno == errno.EADDRINUSE:
                raise PeerError(f"port {self._port} is taken: cannot serve REST on {where}") from error
            raise PeerError(f"cannot serve REST on {where}: {error.strerror}") from error
        if self._server is None:
            raise PeerError(f"cannot serve REST on {self._host}:{self._port}")
        await self._server.startup()  # type: ignore[no-untyped-call]
        await self._server.start_serving()  # type: ignore[no-untyped-call]

    @property
    def port(self) -> int:
        """The port that is served (chosen by the system when 0 was asked for)."""
        if self._server is None or self._server.server is None:
            return self._port
        return int(self._server.server.sockets[0].getsockname()[1])

    async def drain(self, grace_s: float) -> bool:
        """Accept no more connections and wait for requests in flight; False when time ran out."""
        in_flight: InFlight = self._app.ctx.in_flight
        in_flight.draining = True
        if self._server is not None and self._server.server is not None:
            self._server.server.close()
        try:
            async with asyncio.timeout(grace_s):
                await in_flight.idle.wait()
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """Close every connection."""
        if self._server is not None:
            for connection in list(self._server.connections):
                connection.abort()
            self._server = None
        Sanic.unregister_app(self._app)
