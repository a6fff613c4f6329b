"""One call on a connection: messages in and messages out, within what the peer's windows allow."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from kvnode.rpc.channel import MESSAGE_BYTES
from kvnode.rpc.http2.credit import Credit
from kvnode.rpc.http2.errors import CallError
from kvnode.rpc.http2.frames import WINDOW_BYTES, MessageReader, message_head

if TYPE_CHECKING:
    from kvnode.rpc.http2.connection import Connection


class Receiver:
    """Who is told what happens to a call, on the event loop. ``ended`` comes once, and last."""

    def opened(self) -> None:
        """The peer has taken our call."""

    def message(self, data: bytes) -> None:
        """A message has come. Raises CallError if the call is to end because of it."""

    def completed(self) -> None:
        """Whoever called us has sent all that it will."""

    def drained(self) -> None:
        """All that was sent has been written to the connection, after some of it had to wait."""

    def ended(self, error: CallError | None) -> None:
        """The call has ended, well if ``error`` is None; nothing is sent any more."""


class Stream:
    """One call; what is made here is the part that both ends have in common."""

    def __init__(self, connection: Connection, number: int, window: int) -> None:
        self._connection = connection
        self._outlet = connection.outlet
        self._reader = MessageReader(MESSAGE_BYTES)
        self._unsent: deque[bytes] = deque()
        self._written = 0
        self._taking = False
        self.number = number
        self.receiver: Receiver | None = None
        self.window = window
        """Bytes that the peer takes at present; below 0 when it has made its windows smaller."""
        self.credit = Credit(WINDOW_BYTES)
        self.finished = False
        """Whether this end has nothing more to send."""
        self.peer_finished = False

    @property
    def held(self) -> int:
        """Bytes of a message that is not whole yet."""
        return self._reader.held

    @property
    def complete(self) -> bool:
        """Whether this end has sent, and written, all that it will."""
        return self.finished and not self._unsent

    @property
    def unsent(self) -> int:
        """Messages that wait to be written to the connection."""
        return len(self._unsent)

    def send(self, message: bytes) -> None:
        """Send a message; it waits for as long as the peer's windows, or the connection, are full."""
        if self.finished:
            return
        framed = message_head(len(message)) + message
        if self._unsent or not self._outlet.write_whole(self, framed):
            self._unsent.append(framed)
            if not self.write():
                self._outlet.wait(self)

    def write(self) -> bool:
        """Write what may be written of what waits; True if that is all of it."""
        while self._unsent:
            message = self._unsent[0]
            if self._written == 0 and self._outlet.write_whole(self, message):
                self._unsent.popleft()
                continue
            written = self._outlet.write_part(self, memoryview(message)[self._written :])
            if not written:
                return False
            self._written += written
            if self._written == len(message):
                self._unsent.popleft()
                self._written = 0
        return True

    def finish(self) -> None:
        """Send nothing more; the peer is told when everything has been written."""
        if not self.finished:
            self.finished = True
            if not self._unsent:
                self._connection.last_word(self)

    def drained(self) -> None:
        """Hear that everything has been written."""
        if self.finished:
            self._connection.last_word(self)
        elif self.receiver is not None:
            self.receiver.drained()

    def take(self, data: bytes) -> None:
        """Take what has come. Raises CallError if the call is to end because of it."""
        self._taking = True
        try:
            for message in self._reader.feed(data):
                if self.receiver is not None:
                    self.receiver.message(message)
        finally:
            self._taking = False

    def end(self, error: CallError | None) -> int:
        """Tell the receiver of the end; return how many bytes are held no more, unless ``take`` runs."""
        self.finished = True
        self._unsent.clear()
        receiver, self.receiver = self.receiver, None
        released = 0 if self._taking else self._reader.held
        self._reader = MessageReader(MESSAGE_BYTES)
        if receiver is not None:
            receiver.ended(error)
        return released
