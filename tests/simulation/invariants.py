"""What must hold at every step of a cluster, whatever happens to it. Cheap enough to be checked always.

No two leaderships under one ballot; no version for two writes; and a disk, on its next start, still
holds every promise, record and vote that was told to anybody while it was in use.
"""

from __future__ import annotations

from collections.abc import Iterable

from kvnode.core.leadership import Leadership
from kvnode.core.messages import (
    AcceptBatch,
    AcceptReply,
    Prepare,
    PrepareReply,
    Reply,
    Request,
    StatesReply,
)
from kvnode.core.records import Record
from kvnode.core.versions import NO_BALLOT, Ballot, Version
from kvnode.core.worker import WorkerMachine
from kvnode.storage.memory_disk import MemoryDisk
from kvnode.storage.store import Store

Place = tuple[int, str]
Rank = tuple[Ballot, Version]


class Told:
    """What others were told that one disk holds: the highest promise and records of each partition."""

    def __init__(self) -> None:
        self.promised: dict[int, Ballot] = {}
        self.records: dict[Place, Rank] = {}

    def promise(self, partition: int, ballot: Ballot) -> None:
        """Note a promise."""
        if ballot > self.promised.get(partition, NO_BALLOT):
            self.promised[partition] = ballot

    def record(self, record: Record) -> None:
        """Note a record that was called durable."""
        place, rank = (record.partition, record.key), (record.accepted, record.version)
        if place not in self.records or rank > self.records[place]:
            self.records[place] = rank

    def forget(self, partition: int) -> None:
        """Hold nothing of a partition against a disk that has given up its vote for it."""
        self.promised.pop(partition, None)
        self.records = {place: rank for place, rank in self.records.items() if place[0] != partition}


class Invariants:
    """Watches all workers of a cluster, and fails at the step that breaks a rule."""

    def __init__(self) -> None:
        self._led: dict[tuple[int, Ballot], Leadership] = {}
        self._changes: dict[int, tuple[WorkerMachine, int]] = {}
        self._writes: dict[tuple[int, Version], tuple[str, bytes | None]] = {}
        self.written: set[tuple[str, bytes | None]] = set()
        self._disks: dict[MemoryDisk, Told] = {}
        self._damaged: set[MemoryDisk] = set()

    def damaged(self, disk: MemoryDisk) -> None:
        """Let a disk give up votes: some of what it held has been destroyed."""
        self._damaged.add(disk)

    def gave_up(self, disk: MemoryDisk, partitions: Iterable[int]) -> None:
        """A process has found that it lost something: what was told of those partitions holds no more."""
        assert disk in self._damaged, f"partitions {partitions} lost something on a disk that is sound"
        for partition in partitions:
            self._told_of(disk).forget(partition)

    def appended(self, record: Record) -> None:
        """A record became part of a worker's log."""
        write = (record.key, record.value)
        self.written.add(write)
        first = self._writes.setdefault((record.partition, record.version), write)
        assert first == write, f"version {record.version} names two writes: {first} and {write}"

    def leading(self, number: int, machine: WorkerMachine) -> list[tuple[int, Ballot]]:
        """A worker has taken a step: look at what it leads, if that has changed; return what is new."""
        changes = (machine, machine.leaders.changes)
        if self._changes.get(number) == changes:
            return []
        self._changes[number] = changes
        news = []
        for partition, leadership in machine.leaders.led.items():
            lead = (partition, leadership.ballot)
            if lead not in self._led:
                self._led[lead] = leadership
                news.append(lead)
            first = self._led[lead]
            assert first is leadership, f"partition {partition} was led twice under {leadership.ballot}"
        return news

    def asked(self, disk: MemoryDisk, request: Request) -> None:
        """A worker sends a request: it has promised what it asks others to promise."""
        if isinstance(request, Prepare):
            told = self._told_of(disk)
            for partition, ballot in request.ballots:
                told.promise(partition, ballot)

    def told(self, disk: MemoryDisk, request: Request, reply: Reply) -> None:
        """A worker answers a request: what it says that it holds must be durable."""
        told = self._told_of(disk)
        if isinstance(reply, PrepareReply) and isinstance(request, Prepare):
            ballots = dict(request.ballots)
            for promise in reply.promises:
                told.promise(promise.partition, ballots[promise.partition])
        elif isinstance(reply, AcceptReply) and isinstance(request, AcceptBatch):
            refused = {index for index, _ in reply.refused}
            for index, item in enumerate(request.items):
                if index not in refused:
                    told.promise(item.record.partition, item.record.accepted)
                    told.record(item.record)
        elif isinstance(reply, StatesReply):
            for record in reply.records:
                if record is not None:
                    told.record(record)

    def opened(self, number: int, disk: MemoryDisk, store: Store) -> None:
        """A disk is used by a new process: compare what it holds with what was said of it."""
        told = self._told_of(disk)
        for partition in sorted({*told.promised, *(place[0] for place in told.records)}):
            if not store.voting(partition):
                assert disk in self._damaged, f"worker {number} lost its vote for partition {partition}"
                told.forget(partition)
        for partition, ballot in told.promised.items():
            held = store.promised(partition)
            assert held >= ballot, f"worker {number} promised {ballot} of {partition} and remembers {held}"
        _check_records(number, store, told.records.items())

    def _told_of(self, disk: MemoryDisk) -> Told:
        return self._disks.setdefault(disk, Told())


def _check_records(number: int, store: Store, records: Iterable[tuple[Place, Rank]]) -> None:
    for (partition, key), rank in records:
        entry = store.entry(partition, key)
        kept = store.floor(partition) >= rank[1] if entry is None else entry.rank >= rank
        assert kept, f"worker {number} called {rank} of {key} durable and holds {entry}"
