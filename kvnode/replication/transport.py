"""The seam between replication and the network: two protocols, and not one socket.

``Inbox`` is implemented by replication and called by a transport; ``Transport`` is implemented by
``kvnode.rpc`` and, in tests and simulation, by networks that can be cut. Everything happens on one
event loop. A link belongs to one process at each end: when either starts anew, it is another link.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from kvnode.core.messages import Hello, Reply, Request


class Inbox(Protocol):
    """What a transport tells replication. None of these blocks."""

    def hello(self) -> Hello:
        """Return what this worker says of itself as of now."""

    def check(self, theirs: Hello) -> None:
        """Accept a peer's greeting, or raise MismatchError to refuse the link in either direction."""

    def link_up(self, peer: Hello) -> None:
        """Our outgoing link to that peer's process is open: requests sent from now on travel."""

    def link_down(self, worker: int, reason: str) -> None:
        """Our outgoing link is gone; called exactly once per ``link_up``.

        No reply of that link is delivered after it. What was sent and not answered may or may not
        have arrived.
        """

    def receive(self, sender: Hello, request: Request, respond: Callable[[Reply], None]) -> None:
        """Take a request in.

        ``respond`` is called on the loop, at once or later, at most once; for an ExecuteBatch any
        number of times, with outcomes as they come. It may be called after the sender is gone: the
        reply is dropped then.
        """

    def reply(self, worker: int, reply: Reply) -> None:
        """Take in the reply to a request that was sent over the link that is up now."""


class Transport(Protocol):
    """What replication asks of a network. Messages of one stream keep their order; none is repeated."""

    def send(self, to: int, request: Request) -> None:
        """Send to a worker; never blocks, and drops silently while the link is not up.

        The caller keeps one AcceptBatch, one ConfirmBatch and one ExecuteBatch in flight to each
        worker, and each of them below 4 MiB. A single call (every other request) that is not
        answered within its deadline is never answered.
        """

    def close_link(self, worker: int, reason: str) -> None:
        """Give a link up (``link_down`` follows in a later turn of the loop), then dial again."""

    async def start(self) -> None:
        """Listen, then dial every peer for ever. Raises PeerError that names a taken port."""

    async def stop(self, grace_s: float) -> None:
        """Take nothing new, let what is under way be answered for at most ``grace_s``, then close."""
