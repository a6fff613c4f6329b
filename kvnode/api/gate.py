"""What is under way: the bounds on requests and on their bodies' bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kvnode.errors import RequestError
from kvnode.metrics import INFLIGHT_REQUESTS


class Gate:
    """Admits up to ``limit`` requests at a time, and ``body_bytes`` of bodies.

    ``draining`` is set once the server is about to stop.
    """

    def __init__(self, limit: int, body_bytes: int) -> None:
        self.limit = limit
        self.body_bytes = body_bytes
        self.held_bytes = 0
        self.inflight = 0
        self.draining = False
        INFLIGHT_REQUESTS.set_function(lambda: self.inflight)

    @property
    def full(self) -> bool:
        """Whether nothing more would be admitted now."""
        return self.inflight >= self.limit

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Count a request that is being carried out. Raises RequestError when too many are."""
        if self.full:
            raise overloaded(f"this worker already answers {self.limit} requests")
        self.inflight += 1
        try:
            yield
        finally:
            self.inflight -= 1

    @contextmanager
    def body(self) -> Iterator[Body]:
        """Count the bytes of one request's body for as long as they are kept."""
        body = Body(self)
        try:
            yield body
        finally:
            self.held_bytes -= body.size


class Body:
    """The bytes of one request's body that are in memory."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.size = 0

    def add(self, size: int) -> None:
        """Keep so many more. Raises RequestError when all bodies together are too many."""
        if self._gate.held_bytes + size > self._gate.body_bytes:
            raise overloaded(f"bodies of {self._gate.held_bytes} bytes are in this worker's memory")
        self._gate.held_bytes += size
        self.size += size


def overloaded(detail: str) -> RequestError:
    """Return the refusal of a request for which nothing was done."""
    return RequestError("overloaded", f"{detail}: try again, or another worker")
