"""What tests of single machines are built of: a context of worker 1 of three, and records."""

from __future__ import annotations

from kvnode.core.context import Context
from kvnode.core.effects import Send
from kvnode.core.messages import Hello
from kvnode.core.operations import Outcome
from kvnode.core.records import Record
from kvnode.core.ring import Member, Ring
from kvnode.core.versions import Ballot, Version

RING = Ring.build(
    [Member(number, f"host-{number}") for number in (1, 2, 3)], partitions=1, vnodes=8, replicas=3
)


class FakeJournal:
    """A journal that only counts."""

    def __init__(self) -> None:
        self.appended_lsn = 0
        self.durable_lsn = 0


def record(seq: int, *, accepted: int = 1, value: bytes | None = b"1", copied: bool = False) -> Record:
    """Return a record of one key."""
    return Record(0, "a", Ballot(accepted, 1), Version(1, 1, seq), None, value, copied)


def greeting(worker: int) -> Hello:
    """Return a greeting."""
    return Hello(
        worker, f"process-{worker}", f"disk-{worker}", "c", "", 1, voting=True, release="", protocol=(1, 1)
    )


class Outcomes:
    """Keeps the outcomes that it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, Outcome]] = []

    def settled(self, token: int, outcome: Outcome) -> None:
        self.told.append((token, outcome))


def sent(ctx: Context) -> list[Send]:
    """Take what was sent."""
    return [effect for effect in ctx.outbox.take() if isinstance(effect, Send)]
