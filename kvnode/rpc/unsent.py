"""Messages that wait to be written to a stream, one after another, by one task."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

MessageT = TypeVar("MessageT")


class Unsent(Generic[MessageT]):
    """A queue for one reader, who is woken by a bare future: asyncio's own take more calls."""

    def __init__(self) -> None:
        self._messages: deque[MessageT] = deque()
        self._loop = asyncio.get_running_loop()
        self._reader: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        """Count what has not been written."""
        return len(self._messages)

    def put(self, message: MessageT) -> None:
        """Have a message written."""
        self._messages.append(message)
        if self._reader is not None:
            if not self._reader.done():
                self._reader.set_result(None)
            self._reader = None

    async def first(self) -> MessageT:
        """Wait for a message, and return the oldest: it counts as unsent until ``sent``."""
        while not self._messages:
            self._reader = self._loop.create_future()
            await self._reader
        return self._messages[0]

    def sent(self) -> None:
        """Let go of the oldest."""
        self._messages.popleft()
