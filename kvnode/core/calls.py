"""Requests to peers that are answered one by one, and who waits for each answer.

An asker is always told, exactly once: the reply, or None when the link broke or time ran out.
"""

from __future__ import annotations

from collections.abc import Callable

from kvnode.core.context import Context
from kvnode.core.messages import Reply, Request

Then = Callable[[int, Reply | None], None]


class Calls:
    """The outstanding single calls of one worker."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._waiting: dict[int, tuple[int, int, Then]] = {}

    def ask(self, to: int, request: Request, then: Then) -> None:
        """Send a request, which bears a number of ``ctx.number()``, and call ``then(to, reply)`` later."""
        self._waiting[request.number] = (to, self._ctx.now_ms, then)
        self._ctx.outbox.send(to, request)

    def answered(self, worker: int, reply: Reply) -> None:
        """Take a reply."""
        waiting = self._waiting.get(reply.number)
        if waiting is not None and waiting[0] == worker:
            del self._waiting[reply.number]
            waiting[2](worker, reply)

    def peer_live(self, worker: int) -> None:
        """Nothing to do: what is asked from now on will reach it."""

    def peer_lost(self, worker: int) -> None:
        """Give up what was asked of a worker."""
        self._give_up([number for number, asked in self._waiting.items() if asked[0] == worker])

    def tick(self) -> None:
        """Give up what has been outstanding for twice the time of suspicion."""
        horizon = self._ctx.now_ms - 2 * self._ctx.timing.suspect_ms
        self._give_up([number for number, asked in self._waiting.items() if asked[1] < horizon])

    def _give_up(self, numbers: list[int]) -> None:
        for number in numbers:
            asked = self._waiting.pop(number, None)
            if asked is not None:
                asked[2](asked[0], None)
