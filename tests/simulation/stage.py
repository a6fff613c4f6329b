"""A small cluster on which a schedule decides every step, and the judge of what clients saw there.

One partition, three replicas and one worker more that only coordinates. Nobody takes leadership
back by himself. A schedule names workers by their place (``first`` leads in the beginning), holds
messages, slows disks, cuts, crashes and crowns, and ends with ``judge``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from kvnode.core.messages import AcceptBatch, Message
from kvnode.core.operations import Condition, Kind, Operation, Outcome, Status
from kvnode.core.records import Record
from kvnode.core.versions import Version
from kvnode.verify.checker import check
from tests.simulation.cluster import FAST, OLDER, TIMEOUT_MS, Call, SimCluster
from tests.simulation.history import history
from tests.simulation.holds import Chosen, Packet

KEY = "key"
STEADY = msgspec.structs.replace(FAST, stable_ms=10_000_000)
LONG_MS = 60_000


class ViolationError(AssertionError):
    """Clients were told what no register could tell, or the copies do not meet."""


class Stage(SimCluster):
    """The cluster, formed and led by ``first``; ``calls`` are its clients' operations."""

    def __init__(self, seed: int = 1) -> None:
        super().__init__(seed, workers=4, partitions=1, timing=STEADY)
        self.calls: list[Call] = []
        self.until(self.healthy)
        self.first, self.second, self.third = self.replicas(KEY)
        self.outside = self.outsider(KEY)

    # --- clients ----------------------------------------------------------------------------------

    def submit(self, worker: int, operation: Operation, timeout_ms: int = TIMEOUT_MS) -> Call:
        """Bring an operation to a worker, a moment after what was seen last, and note it for the judge."""
        self.run(1)
        call = super().submit(worker, operation, timeout_ms)
        self.calls.append(call)
        return call

    def begin_put(
        self, worker: int, value: str, *, over: Version | None = None, timeout_ms: int = TIMEOUT_MS
    ) -> Call:
        """Begin to put a value, if a version is given only in that one's place."""
        condition = None if over is None else Condition(any_of=(over,))
        operation = Operation(Kind.PUT, KEY, f'"{value}"'.encode(), condition)
        return self.submit(worker, operation, timeout_ms)

    def begin_get(self, worker: int, *, timeout_ms: int = TIMEOUT_MS) -> Call:
        """Begin to read."""
        return self.submit(worker, Operation(Kind.GET, KEY), timeout_ms)

    def store(self, worker: int, value: str, *, over: Version | None = None) -> Version:
        """Put a value, which must succeed; return its version."""
        outcome = self.finish(self.begin_put(worker, value, over=over))
        assert outcome.status is Status.OK, outcome
        assert outcome.version is not None
        return outcome.version

    def read(self, worker: int) -> str | None:
        """Read the value, or None where there is none; the read must succeed."""
        outcome = self.finish(self.begin_get(worker, timeout_ms=LONG_MS))
        assert outcome.status in (Status.OK, Status.ABSENT), outcome
        return None if outcome.value is None else msgspec.json.decode(outcome.value, type=str)

    def lost(self, call: Call) -> Outcome:
        """Let time pass until a call has ended; it must be unknown."""
        outcome = self.finish(call)
        assert outcome.status is Status.UNKNOWN, outcome
        return outcome

    # --- the schedule's hand ------------------------------------------------------------------------

    def crown(self, worker: int) -> None:
        """Have a worker lead: it stands, and stands again, until it is elected."""
        leaders = self.workers[worker].machine.leaders

        def leads() -> bool:
            if 0 not in leaders.led and 0 not in leaders._elections:
                self.workers[worker].take(leaders.asked_to_lead, [0])
            return 0 in leaders.led

        self.until(leads)

    def speak_older(self) -> None:
        """Have all workers take each other for older ones, of whom nobody asks what they have promised."""
        for worker in self.workers.values():
            for peer in worker.machine.peers:
                assert peer.hello is not None
                peer.hello = msgspec.structs.replace(peer.hello, protocol=OLDER)

    def part(self, one: int, *others: int) -> None:
        """Let nothing pass between a worker and some others, and break their links."""
        for other in others:
            self.network.cut_both(one, other)
            self.network.close(one, other)
            self.network.close(other, one)
        self.run(1)

    def silence(self, worker: int) -> None:
        """Part a worker from all others."""
        self.part(worker, *(other for other in self.numbers if other != worker))

    def join(self, *workers: int) -> None:
        """Let some workers talk to each other again, and wait until all of them do."""
        pairs = [(one, other) for one in workers for other in workers if one != other]
        for one, other in pairs:
            self.network.mend(one, other)
        self.until(lambda: all(self.workers[one].machine.peers.live(other) for one, other in pairs))

    @contextmanager
    def losing(self, chosen: Chosen) -> Iterator[None]:
        """Lose some messages for a while, and at its end the links that they were to travel on."""
        hold = self.network.hold(chosen)
        yield
        for packet in hold.packets:
            self.network.close(packet.source, packet.target)
            self.network.close(packet.target, packet.source)
        hold.drop()

    def crash_all(self) -> None:
        """Cut the power of all workers at once."""
        for number in self.numbers:
            self.crash(number)

    def replace_disk(self, number: int) -> None:
        """Crash a worker and start it with an empty disk."""
        self.crash(number)
        self.wipe(number)
        self.start(number)

    def record(self, number: int) -> Record:
        """Return what a worker holds of the key, which must be something."""
        record = self.held(number, KEY)
        assert record is not None, f"worker {number} holds nothing"
        return record

    # --- the judge ----------------------------------------------------------------------------------

    def judge(self) -> None:
        """End all faults, read through every worker, and raise ``ViolationError`` if anything contradicts."""
        self.judge_answers()
        self.network.release_all()
        self.heal()
        for worker in self.workers.values():
            if worker.syncs_held:
                worker.release_syncs()
            if not worker.up:
                self.start(worker.number)
        self.run(2 * TIMEOUT_MS)
        try:
            self.until(lambda: self.ready() and self.copies_meet(), LONG_MS)
        except AssertionError as error:
            raise ViolationError(str(error)) from error
        for number in self.numbers:
            if self.finish(self.begin_get(number)).status not in (Status.OK, Status.ABSENT):
                raise ViolationError(f"worker {number} cannot read though nothing is broken any more")
        self.judge_answers()

    def judge_answers(self) -> None:
        """Raise ``ViolationError`` if what clients were told until now has no explanation."""
        verdict = check(history(self.calls))
        if not verdict.linearizable:
            raise ViolationError("\n".join(map(str, verdict.findings)))

    def copies_meet(self) -> bool:
        """Whether all replicas hold the same record of the key, accepted under the same ballot."""
        records = self.copies(KEY)
        return all(record == records[0] for record in records)


# --- choosing messages ------------------------------------------------------------------------------


def sent(
    kind: type[Message] | None = None, *, source: int | None = None, target: int | None = None
) -> Chosen:
    """Choose messages by kind and ends; what is not given does not matter."""

    def chosen(packet: Packet) -> bool:
        return (
            (kind is None or isinstance(packet.message, kind))
            and source in (None, packet.source)
            and target in (None, packet.target)
        )

    return chosen


def carrying(value: str, *, target: int | None = None) -> Chosen:
    """Choose the copies of the records that hold a value."""
    wanted = f'"{value}"'.encode()

    def chosen(packet: Packet) -> bool:
        message = packet.message
        return (
            isinstance(message, AcceptBatch)
            and target in (None, packet.target)
            and any(item.record.value == wanted for item in message.items)
        )

    return chosen


def between(one: int, other: int) -> Chosen:
    """Choose everything that two workers say to each other."""
    return lambda packet: {packet.source, packet.target} == {one, other}
