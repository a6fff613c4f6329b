"""How many requests are under way: the bound on them, and what a drain waits for."""

from __future__ import annotations

from kvnode.metrics import INFLIGHT_REQUESTS


class Gate:
    """Admits up to ``limit`` requests at a time. ``draining`` is set once the server is about to stop."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.inflight = 0
        self.draining = False
        INFLIGHT_REQUESTS.set_function(lambda: self.inflight)

    def enter(self) -> bool:
        """Admit a request, or refuse it when too many are under way. What is admitted must leave."""
        if self.inflight >= self.limit:
            return False
        self.inflight += 1
        return True

    def leave(self) -> None:
        """Say that an admitted request is over, however it ended."""
        self.inflight -= 1
