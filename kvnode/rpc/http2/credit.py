"""What a peer may send us: a window that is opened again when what has come is held no more."""

from __future__ import annotations

from h2.exceptions import FlowControlError


class Credit:
    """The window, at first of ``size`` bytes, of a connection or of a stream."""

    def __init__(self, size: int) -> None:
        self.left = size
        """Bytes that may come at present."""
        self._step = size // 4
        self._consumed = 0

    def spend(self, size: int) -> None:
        """Count what has come. Raises FlowControlError if it is more than might."""
        self.left -= size
        if self.left < 0:
            raise FlowControlError("more than was allowed")

    def consume(self, size: int, least: int = 0) -> int:
        """Count what is held no more, and return by how much the peer's window is to be opened now.

        Peers are told a quarter of a window at a time, or as soon as less than ``least`` is left.
        """
        self._consumed += size
        if self._consumed < self._step and self.left >= least:
            return 0
        increment, self._consumed = self._consumed, 0
        self.left += increment
        return increment
