"""A client's operation at the worker that coordinates it."""

from __future__ import annotations

from kvnode.core.effects import Sink
from kvnode.core.operations import Kind, Operation, Outcome, Status
from kvnode.core.versions import Ballot


class Request:
    """One operation being coordinated, and the try that is under way.

    ``witness``: a replica that is asked what it has promised, to confirm what the leader finds (0:
    the leader sees to that itself); ``promise``: its answer. ``found``: the leader's answer, not confirmed.
    """

    __slots__ = (
        "alone",
        "deadline_ms",
        "done",
        "found",
        "found_ms",
        "hint",
        "number",
        "operation",
        "partition",
        "promise",
        "relayed",
        "sent",
        "sink",
        "target",
        "token",
        "tries",
        "witness",
    )

    def __init__(
        self, operation: Operation, partition: int, deadline_ms: int, sink: Sink, token: int
    ) -> None:
        self.operation = operation
        self.partition = partition
        self.deadline_ms = deadline_ms
        self.sink = sink
        self.token = token
        self.number = 0
        self.tries = 0
        self.target = 0
        self.hint = 0
        self.witness = 0
        self.promise: Ballot | None = None
        self.found: Outcome | None = None
        self.found_ms = 0
        self.alone = False
        self.relayed = False
        self.sent = False
        self.done = False

    @property
    def wants_confirming(self) -> bool:
        """Whether its answer is likely to be one that holds only if its leader still leads.

        A DELETE seldom finds nothing; its leader has that confirmed itself.
        """
        return self.operation.kind is Kind.GET or self.operation.condition is not None

    def begin_try(self) -> None:
        """Forget what the last try has brought."""
        self.witness = 0
        self.promise = None
        self.found = None

    def answer(self, outcome: Outcome) -> None:
        """Tell the outcome, once."""
        if not self.done:
            self.done = True
            self.sink.settled(self.token, outcome)

    def fail(self, reason: str) -> None:
        """Say that nothing was done and nothing will be."""
        read = self.operation.kind is Kind.GET
        self.answer(Outcome(Status.UNAVAILABLE if read else Status.NOT_STORED, reason=reason))

    def lose(self, reason: str) -> None:
        """Say that what was sent got no answer."""
        read = self.operation.kind is Kind.GET
        self.answer(Outcome(Status.UNAVAILABLE if read else Status.UNKNOWN, reason=reason))
