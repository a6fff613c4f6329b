"""Replication's Transport over gRPC: one server, and one outgoing link to every peer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from kvnode.core.messages import Hello, Request
from kvnode.replication.transport import Inbox
from kvnode.rpc.channel import Times
from kvnode.rpc.dialer import Dialer
from kvnode.rpc.http2.health import health_routes
from kvnode.rpc.http2.server import Http2Server, Routes
from kvnode.rpc.layout import Layout
from kvnode.rpc.service import PeerService

_LAST_WORDS_S = 0.2
"""How long the server may take to send what is written already."""


class GrpcTransport:
    """Listens on ``bind`` and dials ``peers`` (worker number → ``host:port``; our own is left out).

    ``layout`` is what messages may name; ``routes`` are served, too, on the same port.
    To be made and used on one event loop.
    """

    def __init__(
        self,
        inbox: Inbox,
        *,
        bind: str,
        layout: Layout,
        peers: Mapping[int, str],
        routes: Routes | None = None,
        times: Times | None = None,
    ) -> None:
        times = times or Times()
        own = inbox.hello().worker
        self._dialers = {
            worker: Dialer(worker, address, inbox, layout, times)
            for worker, address in peers.items()
            if worker != own
        }
        self._service = PeerService(inbox, layout, self._greeted)
        served = {**self._service.routes(), **(routes or {})}
        names = {path.split("/")[1] for path in served}
        self._server = Http2Server(bind, {**served, **health_routes(names)}, times)
        self._accepting = False

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before ``start``."""
        return self._server.port

    def send(self, to: int, request: Request) -> None:
        """Send to a worker; see ``Transport``."""
        if self._accepting and to in self._dialers:
            self._dialers[to].send(request)

    def close_link(self, worker: int, reason: str) -> None:
        """Give a link up, then dial again; see ``Transport``."""
        if worker in self._dialers:
            self._dialers[worker].close_link(reason)

    async def start(self) -> None:
        """Listen, then dial; see ``Transport``."""
        await self._server.start()
        self._accepting = True
        for dialer in self._dialers.values():
            dialer.start()

    async def stop(self, grace_s: float) -> None:
        """Drain and close; see ``Transport``."""
        self._accepting = False
        await asyncio.gather(
            self._stop_serving(grace_s),
            *(dialer.stop(grace_s) for dialer in self._dialers.values()),
        )

    async def _stop_serving(self, grace_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._service.drain()
        await self._server.stop(_LAST_WORDS_S if grace_s else 0)

    def _greeted(self, peer: Hello) -> None:
        if peer.worker in self._dialers:
            self._dialers[peer.worker].greeted(peer.process)
