"""What the state machines want done: they never do it themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from kvnode.core.messages import Reply, Request
from kvnode.core.operations import Outcome


class Send:
    """Send a request over the link to a peer that is up now; drop it if none is."""

    __slots__ = ("request", "to")

    def __init__(self, to: int, request: Request) -> None:
        self.to = to
        self.request = request


class Respond:
    """Answer a peer's request; ``token`` came with it. Unless ``last``, more answers will follow."""

    __slots__ = ("last", "reply", "token")

    def __init__(self, token: int, reply: Reply, *, last: bool = True) -> None:
        self.token = token
        self.reply = reply
        self.last = last


class Answer:
    """Answer a client's operation; ``token`` came with it."""

    __slots__ = ("outcome", "token")

    def __init__(self, token: int, outcome: Outcome) -> None:
        self.token = token
        self.outcome = outcome


class CloseLink:
    """Close the link to a peer and greet it anew: what was agreed in its handshake has changed."""

    __slots__ = ("reason", "worker")

    def __init__(self, worker: int, reason: str) -> None:
        self.worker = worker
        self.reason = reason


class Proceed:
    """Make a call, as an input of its own, once what was asked for before it is on its way."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call


class Note(NamedTuple):
    """Something an operator may want to know: an event name and its fields, for the log."""

    event: str
    fields: dict[str, object]


Effect = Send | Respond | Answer | CloseLink | Proceed | Note


class Outbox:
    """Collects effects in order; whoever drives the machines takes them after each input."""

    __slots__ = ("_effects",)

    def __init__(self) -> None:
        self._effects: list[Effect] = []

    def send(self, to: int, request: Request) -> None:
        """Ask for a request to be sent."""
        self._effects.append(Send(to, request))

    def respond(self, token: int, reply: Reply, *, last: bool = True) -> None:
        """Ask for a reply to be given."""
        self._effects.append(Respond(token, reply, last=last))

    def answer(self, token: int, outcome: Outcome) -> None:
        """Ask for a client to be answered."""
        self._effects.append(Answer(token, outcome))

    def close_link(self, worker: int, reason: str) -> None:
        """Ask for a link to be closed."""
        self._effects.append(CloseLink(worker, reason))

    def proceed(self, call: Callable[[], None]) -> None:
        """Ask to be called once the effects so far are on their way."""
        self._effects.append(Proceed(call))

    def note(self, event: str, **fields: object) -> None:
        """Ask for a log line."""
        self._effects.append(Note(event, fields))

    def take(self) -> list[Effect]:
        """Return what has gathered, and begin anew."""
        effects, self._effects = self._effects, []
        return effects


class Sink(Protocol):
    """Who is told the outcome of an operation."""

    def settled(self, token: int, outcome: Outcome) -> None:
        """Take the outcome of the operation that was handed over with ``token``: exactly once."""
