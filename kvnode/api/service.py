"""What the REST door needs of the cluster behind it. Replication implements it; tests use a dict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from kvnode.core.operations import Operation, Outcome
from kvnode.core.ring import Place
from kvnode.core.status import WorkerStatus


class KeyService(Protocol):
    """The cluster as one worker's clients see it."""

    def begin(self, operation: Operation, timeout_s: float, done: Callable[[Outcome], None]) -> None:
        """Carry out one operation; trouble in the cluster is an Outcome, never an exception.

        ``done`` is called exactly once, now or later; what it raises is logged, and harms nobody else.
        """

    def partition(self, key: str) -> int:
        """Return the partition of a key."""

    def place(self, key: str) -> Place:
        """Return where a key lives and who leads its partition now."""

    def readiness(self) -> list[str]:
        """Say why this worker should not be sent requests; empty when it is ready."""

    def status(self) -> WorkerStatus:
        """Describe this worker as of now."""
