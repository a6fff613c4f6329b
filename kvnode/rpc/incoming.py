"""One stream that a peer opened: its requests go to the inbox, replies return as they come.

The next request is taken without waiting for the reply to the last one: it is the sender who keeps
one message in flight, and an ExecuteBatch is answered in pieces.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from kvnode.core.messages import Hello, Reply, Request
from kvnode.errors import PeerError
from kvnode.logs import get_logger
from kvnode.rpc.http2.errors import CallError
from kvnode.rpc.http2.server import ServerCall
from kvnode.rpc.http2.stream import Receiver
from kvnode.rpc.methods import Stream

_log = get_logger()

Respond: TypeAlias = Callable[[Reply], None]

_UNANSWERED = 20_000
"""Attempts that a peer may have open: far more than a worker lets wait."""

_UNSENT = 10_000
"""Replies that may wait for the network; a peer that does not read them loses its link."""


class IncomingStream(Receiver):
    """Serves one stream of ``sender`` until it ends, or is closed and idle.

    ``take`` takes each request in, or raises PeerError; ``refuse`` ends the call with an error.
    ``on_idle`` is told whenever everything has been answered, ``on_end`` once, when the call has ended.
    """

    def __init__(
        self,
        stream: Stream[Any, Any],
        sender: Hello,
        call: ServerCall,
        *,
        take: Callable[[Hello, Request, Respond], None],
        refuse: Callable[[PeerError], None],
        on_idle: Callable[[], None],
        on_end: Callable[[IncomingStream], None],
    ) -> None:
        self._stream = stream
        self._sender = sender
        self._call = call
        self._take = take
        self._refuse = refuse
        self._on_idle = on_idle
        self._on_end = on_end
        self._owed = 0
        self._closing = False

    @property
    def idle(self) -> bool:
        """Whether every request that was taken has been answered."""
        return self._owed <= 0 and not self._call.unsent

    @property
    def purpose(self) -> tuple[str, int, str]:
        """What a peer's process has one stream for: the method, the worker and its process."""
        return self._stream.name, self._sender.worker, self._sender.process

    def replace(self) -> None:
        """End at once: its sender has opened another, for the link that this one was part of is broken."""
        self._refuse(PeerError(f"another {self._stream.name} stream has been opened"))

    def close(self) -> None:
        """End as soon as the stream is idle."""
        self._closing = True
        self._rest()

    def message(self, data: bytes) -> None:
        """Take a request in."""
        try:
            request = self._stream.decode_request(data)
            self._owed += self._stream.owed(request)
            if self._owed <= _UNANSWERED:
                self._take(self._sender, request, self._respond)
            else:
                self._refuse(PeerError(f"{self._owed} requests wait to be answered"))
        except PeerError as error:
            self._refuse(error)
        except Exception as defect:  # noqa: BLE001 - whatever it is, it ends this stream and nothing else
            self._crash(defect)

    def completed(self) -> None:
        """Answer what has been asked; nothing more will be."""
        self.close()

    def drained(self) -> None:
        """Take in that the network has taken everything."""
        self._rest()

    def ended(self, error: CallError | None) -> None:
        """Take in the end."""
        del error
        self._on_end(self)

    def _respond(self, reply: Reply) -> None:
        if self._call.finished:
            return
        self._owed -= self._stream.paid(reply)
        try:
            self._call.send(self._stream.encode_reply(reply))
        except Exception as error:  # noqa: BLE001 - as above
            self._crash(error)
        if self._call.unsent > _UNSENT:
            self._refuse(PeerError(f"{self._call.unsent} replies wait to be read"))
        self._rest()

    def _rest(self) -> None:
        if self.idle:
            self._on_idle()
            if self._closing:
                self._call.close()

    def _crash(self, error: Exception) -> None:
        _log.error("peer_stream_failed", method=self._stream.name, exc_info=error)
        self._refuse(PeerError(f"{self._stream.name} failed: {error!r}"))
