"""A store on a disk in memory, driven by hand, and the obvious model that it must agree with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from kvnode.core.hash_tree import HashTree
from kvnode.core.records import Record
from kvnode.core.versions import NO_BALLOT, NO_VERSION, Ballot, Version
from kvnode.storage.disk import Disk
from kvnode.storage.store import Store
from kvnode.storage.upkeep import USUAL_UPKEEP, Upkeep

PARTITIONS = 4
WORKER = 1

Held = dict[tuple[int, str], Record]
State = tuple[Held, list[Ballot], list[Version], list[Version], list[bool]]


class Crash(BaseException):
    """The power went."""


def partly(seed: int) -> Callable[[int], int]:
    """Return what lets some of the unsynced data survive a crash."""
    random = Random(seed)
    return lambda count: random.randint(0, count)


class Faults:
    """A fault hook that crashes at the n-th operation that changes the disk; -1 never."""

    def __init__(self, at: int = -1) -> None:
        self.at = at
        self.operations: list[tuple[str, str]] = []

    def __call__(self, operation: str, name: str) -> None:
        """See an operation."""
        if operation in {"read", "size", "open"}:
            return
        if len(self.operations) == self.at:
            raise Crash
        self.operations.append((operation, name))


@dataclass
class Heard:
    """What the store called back."""

    durable: list[int] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)


def open_store(
    disk: Disk,
    *,
    segment_bytes: int = 1 << 20,
    heard: Heard | None = None,
    worker: int = WORKER,
    partitions: int = PARTITIONS,
    on_durable: Callable[[int], None] | None = None,
    on_damage: Callable[[frozenset[int]], None] = lambda _: None,
    upkeep: Upkeep = USUAL_UPKEEP,
) -> Store:
    """Open a store; its callbacks are kept in ``heard``."""
    heard = heard or Heard()
    return Store.open(
        disk,
        worker=worker,
        partitions=partitions,
        segment_bytes=segment_bytes,
        on_durable=on_durable or heard.durable.append,
        on_failure=heard.failures.append,
        on_damage=on_damage,
        upkeep=upkeep,
    )


def record(
    key: str,
    seq: int,
    value: bytes | None = b'"v"',
    *,
    partition: int = 0,
    term: int = 1,
    copied: bool = False,
) -> Record:
    """Return a record with a version of that number."""
    previous = Version(term, WORKER, seq - 1) if seq > 1 else None
    ballot = Ballot(term, WORKER)
    return Record(partition, key, ballot, Version(*ballot, seq), previous, value, copied)


def commit(store: Store) -> None:
    """Make everything durable that was appended."""
    while store.committer.step():
        pass


def tidy(store: Store) -> None:
    """Do all background work; the committer runs along."""
    while store.tidier.step() is not None:
        commit(store)


class Model:
    """A naive journal: a dictionary, replaced as a whole."""

    def __init__(self, state: State | None = None) -> None:
        empty: State = (
            {},
            [NO_BALLOT] * PARTITIONS,
            [NO_VERSION] * PARTITIONS,
            [NO_VERSION] * PARTITIONS,
            [False] * PARTITIONS,
        )
        self.held, self.promised, self.floor, self.forgotten, self.voting = state or empty

    def append(self, new: Record) -> None:
        """Take a record in, unless it is a tombstone that is forgotten at once."""
        self.held[new.partition, new.key] = new
        self._forget()

    def raise_floor(self, partition: int, floor: Version, forgotten: Version) -> None:
        """Raise a floor, and what is forgotten under it."""
        self.floor[partition] = max(self.floor[partition], floor)
        self.forgotten[partition] = max(self.forgotten[partition], forgotten)
        self._forget()

    def state(self) -> State:
        """Return a copy of it all."""
        return dict(self.held), list(self.promised), list(self.floor), list(self.forgotten), list(self.voting)

    def _forget(self) -> None:
        """Drop the tombstones that are forgotten."""
        self.held = {
            (partition, key): held
            for (partition, key), held in self.held.items()
            if held.value is not None or held.version > self.forgotten[partition]
        }


def state_of(store: Store) -> State:
    """Read back all that a store holds, checking on the way that its views of it agree."""
    held: Held = {}
    tombstones = 0
    for partition in range(PARTITIONS):
        tree = HashTree()
        keys = list(store.keys(partition))
        assert keys == sorted(keys, key=str.encode)
        for key in keys:
            entry = store.entry(partition, key)
            assert entry is not None
            tree.toggle(key, entry, WORKER)
            tombstones += entry.tombstone
            value = None if entry.tombstone else store.value(partition, key, entry)
            held[partition, key] = Record(
                partition, key, entry.accepted, entry.version, entry.previous, value, entry.copied
            )
        assert tree.buckets == store.tree(partition).buckets
    assert store.counts == (len(held) - tombstones, tombstones)
    everywhere = range(PARTITIONS)
    return (
        held,
        [store.promised(partition) for partition in everywhere],
        [store.floor(partition) for partition in everywhere],
        [store.forgotten(partition) for partition in everywhere],
        [store.voting(partition) for partition in everywhere],
    )
