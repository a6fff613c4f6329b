"""An operation that waits for its outcome at the worker that leads, or should lead, its partition."""

from __future__ import annotations

from kvnode.core.effects import Sink
from kvnode.core.operations import Kind, Operation, Outcome, Status


class Pending:
    """One operation, who is told its outcome, and until when (on the context's clock).

    ``vouched``: whoever is told has another replica's word, so that what wants confirming is told at once,
    with the leader's ballot.
    """

    __slots__ = ("deadline_ms", "operation", "sink", "token", "vouched")

    def __init__(
        self, operation: Operation, sink: Sink, token: int, deadline_ms: int, *, vouched: bool = False
    ) -> None:
        self.operation = operation
        self.sink = sink
        self.token = token
        self.deadline_ms = deadline_ms
        self.vouched = vouched

    def answer(self, outcome: Outcome) -> None:
        """Tell the outcome; whoever holds a Pending calls this exactly once."""
        self.sink.settled(self.token, outcome)

    def decline(self, leader: int) -> None:
        """Refuse for certain: not executed here and never will be. ``leader`` is a hint."""
        self.answer(Outcome(Status.NOT_LEADER, leader=leader))

    def fail(self, leader: int, reason: str) -> None:
        """Say that nothing was done: the write not stored, the read not confirmed."""
        read = self.operation.kind is Kind.GET
        status = Status.UNAVAILABLE if read else Status.NOT_STORED
        self.answer(Outcome(status, leader=leader, reason=reason))

    def refuse(self, leader: int) -> None:
        """Refuse a write because too few disks have space for it."""
        reason = "too few of the key's replicas have disk space"
        self.answer(Outcome(Status.NO_SPACE, leader=leader, reason=reason))

    def doubt(self, leader: int, reason: str) -> None:
        """Say that the write was begun, and that nobody knows whether it will stand."""
        self.answer(Outcome(Status.UNKNOWN, leader=leader, reason=reason))
