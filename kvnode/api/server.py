"""Running the application inside the caller's event loop, and stopping it without a failed request."""

from __future__ import annotations

import asyncio
import errno
import socket
from time import monotonic
from typing import Any

from sanic import Sanic
from sanic.http import Stage

from kvnode.api.app import Api
from kvnode.api.express import Express
from kvnode.config import Limits
from kvnode.connections import Guard
from kvnode.errors import PeerError
from kvnode.logs import get_logger

BACKLOG = 256
"""Connections that the kernel keeps until they are accepted: few, for they are taken or refused at once."""
CLOSE_TIMEOUT_S = 5.0

_log = get_logger()


class RestServer:
    """Serves ``app`` and its lane on ``host:port`` (port 0: any free one, told by ``port``)."""

    def __init__(self, app: Api, express: Express, host: str, port: int, limits: Limits) -> None:
        self._app = app
        self.guard = Guard(limits.connections, limits.unsent_bytes, express)
        self._host = host
        self.port = port
        self._server: Any = None

    async def start(self) -> None:
        """Bind and serve. Raises PeerError when the address cannot be had."""
        listener = _bind(self._host, self.port)
        self.port = listener.getsockname()[1]
        self._server = await self._app.create_server(
            sock=listener,
            protocol=self.guard.protocol,
            backlog=BACKLOG,
            asyncio_server_kwargs={"start_serving": False},
        )
        await self._server.startup()
        await self._server.start_serving()

    def stop_accepting(self) -> None:
        """Refuse new connections from now on, and ask clients to leave those that they have."""
        self._app.ctx.draining = True
        self._server.server.close()

    async def drain(self, grace_s: float) -> None:
        """Stop accepting, finish what is under way for up to ``grace_s`` seconds, close everything.

        Does nothing when the server was never started.
        """
        if self._server is None:
            return
        self.stop_accepting()
        deadline_s = monotonic() + grace_s
        while busy := [connection for connection in self._connections if _busy(connection)]:
            remaining_s = deadline_s - monotonic()
            if remaining_s <= 0:
                _log.warning("requests_abandoned", count=len(busy))
                break
            for connection in busy:
                connection.http.keep_alive = False
            await _ended(busy, remaining_s)
        await self._close_connections()
        Sanic.unregister_app(self._app)

    @property
    def _connections(self) -> list[Any]:
        return list(self._server.connections)

    async def _close_connections(self) -> None:
        """Flush and close what is idle, cut off what is not, and wait until both are gone."""
        connections = self._connections
        for connection in connections:
            if _busy(connection):
                connection.abort()
            else:
                connection.close()
        await _ended(connections, CLOSE_TIMEOUT_S)


def _busy(connection: Any) -> bool:  # noqa: ANN401
    """Whether a request is being received or answered on a connection."""
    http = connection.http
    if http is None:
        return False
    return connection.express or bool(connection.recv_buffer) or http.stage is not Stage.IDLE


async def _ended(connections: list[Any], timeout_s: float) -> None:
    """Wait until the connections are done with, or the time is up."""
    tasks = [task for connection in connections if (task := connection._task) is not None]  # noqa: SLF001
    if tasks:
        await asyncio.wait(tasks, timeout=timeout_s)


def _bind(host: str, port: int) -> socket.socket:
    """Listen on an address that nobody else listens on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be bound: {error.strerror}"
        raise PeerError(f"the REST address {host}:{port} {reason}") from error
    listener.setblocking(False)  # noqa: FBT003
    return listener
