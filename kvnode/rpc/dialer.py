"""Keeps a link to one peer: dials for ever, tells the inbox what is up and what is down."""

from __future__ import annotations

import asyncio
import contextlib

from kvnode.core.messages import Request
from kvnode.errors import MismatchError, PeerError
from kvnode.logs import get_logger
from kvnode.replication.transport import Inbox
from kvnode.rpc.channel import Backoff, Times
from kvnode.rpc.layout import Layout
from kvnode.rpc.link import Link

_log = get_logger()


class Dialer:
    """The outgoing side of one peer, from ``start`` to ``stop``."""

    def __init__(self, worker: int, address: str, inbox: Inbox, layout: Layout, times: Times) -> None:
        self._worker = worker
        self._address = address
        self._inbox = inbox
        self._layout = layout
        self._times = times
        self._backoff = Backoff(times)
        self._hurry = asyncio.Event()
        self._link: Link | None = None
        self._process = ""
        self._task: asyncio.Task[None] | None = None
        self._complaint = ""

    def start(self) -> None:
        """Begin to dial."""
        self._task = asyncio.create_task(self._run())

    async def stop(self, grace_s: float) -> None:
        """Wait at most ``grace_s`` for what is unanswered, close the link, and dial no more."""
        if self._task is None:
            return
        if self._link is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._link.drained()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def send(self, request: Request) -> None:
        """Send if the link is up, else drop."""
        if self._link is not None and self._link.up:
            self._link.send(request)

    def close_link(self, reason: str) -> None:
        """Give the link up; another is dialled without much delay, for the peer is no worse than it was."""
        self._backoff.reset()
        if self._link is not None:
            self._link.close(PeerError(reason))

    def greeted(self, process: str) -> None:
        """Hear that a process that is new to us lives there: a link to an earlier one is given up."""
        if self._link is not None and self._process == process:
            return
        self.close_link("a later process has greeted")
        self._hurry.set()

    async def _run(self) -> None:
        while True:
            self._hurry.clear()
            link = Link(self._worker, self._address, self._inbox, self._layout, self._times)
            try:
                await self._serve(link)
            except PeerError as error:
                self._complain(error)
            except Exception as defect:  # noqa: BLE001 - whatever it is, the peer must be dialled again
                _log.error("peer_link_failed", peer=self._worker, exc_info=defect)
            finally:
                link.discard()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._backoff.next_s()):
                    await self._hurry.wait()

    async def _serve(self, link: Link) -> None:
        """Use one link from its opening until it breaks."""
        peer = await link.open()
        self._complaint = ""
        self._link, self._process = link, peer.process
        _log.info("link_opened", peer=self._worker, address=self._address, process=peer.process)
        opened_s = asyncio.get_running_loop().time()
        self._inbox.link_up(peer)
        reason = "stopping"
        try:
            reason = str(await link.broken())
        finally:
            link.close(PeerError(reason))
            self._link = None
            self._inbox.link_down(self._worker, reason)
        if asyncio.get_running_loop().time() - opened_s >= self._times.high_s:
            self._backoff.reset()

    def _complain(self, error: PeerError) -> None:
        """Log why a peer cannot be linked to, once for each reason in a row."""
        complaint = str(error)
        if complaint == self._complaint:
            return
        self._complaint = complaint
        event = "peer_refused" if isinstance(error, MismatchError) else "peer_unreachable"
        level = _log.warning if isinstance(error, MismatchError) else _log.info
        level(event, peer=self._worker, address=self._address, reason=complaint)
