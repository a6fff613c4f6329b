"""The store against the obvious model, through restarts, crashes, torn writes and merges."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kvnode.core.records import Entry, Record
from kvnode.core.versions import Ballot, Version
from kvnode.storage.memory_disk import MemoryDisk
from tests.unit.storage.support import (
    PARTITIONS,
    WORKER,
    Crash,
    Faults,
    Model,
    State,
    commit,
    open_store,
    partly,
    state_of,
    tidy,
)

partitions = st.integers(0, PARTITIONS - 1)
keys = st.sampled_from(["a", "b", "b/c", "ä", "\ue000", "\U0001f600", 'q"', "n\n"])
values = st.none() | st.integers(0, 99).map(lambda number: b'{"n":%d}' % number)


class StoreMachine(RuleBasedStateMachine):
    """Every state that a crash leaves is the model's after some append, none durable missing."""

    @initialize(segment_bytes=st.sampled_from([300, 800, 3000]))
    def begin(self, segment_bytes: int) -> None:
        """Start with a blank disk."""
        self.segment_bytes = segment_bytes
        self.disk = MemoryDisk()
        self.seq = 0
        self.floors = [0] * PARTITIONS
        self.model = Model()
        self.reopen()

    def reopen(self) -> None:
        """Open the store; nothing of an earlier life is remembered."""
        self.disk.fault = None
        self.store = open_store(self.disk, segment_bytes=self.segment_bytes)
        self.states: list[State] = [self.model.state()]
        self.kept: list[tuple[int, str, Entry, bytes]] = []

    def noted(self, lsn: int) -> None:
        """Note the model's state after an append."""
        if lsn == len(self.states):
            self.states.append(self.model.state())
        assert len(self.states) == self.store.appended_lsn + 1

    @rule(key=keys, strays=st.sampled_from([0] * 9 + [1]), value=values, copied=st.booleans())
    def append(self, key: str, strays: int, value: bytes | None, *, copied: bool) -> None:
        """Write or delete a key, seldom in another than its usual partition."""
        self.seq += 1
        partition = (len(key.encode()) + strays) % PARTITIONS
        version = Version(1, WORKER, self.seq)
        new = Record(partition, key, Ballot(1, WORKER), version, None, value, copied)
        self.model.append(new)
        self.noted(self.store.append(new))
        entry = self.store.entry(partition, key)
        if value is not None and entry is not None:
            self.kept.append((partition, key, entry, value))

    @rule(partition=partitions, behind=st.integers(0, 3))
    def raise_floor(self, partition: int, behind: int) -> None:
        """Raise the floor to the newest version, and forget the tombstones up to a few before it."""
        floor, gone = Version(1, WORKER, self.seq), Version(1, WORKER, max(0, self.seq - behind))
        self.model.raise_floor(partition, floor, gone)
        self.noted(self.store.raise_floor(partition, floor, gone))

    @rule(partition=partitions, terms=st.integers(0, 2))
    def promise(self, partition: int, terms: int) -> None:
        """Promise the same or a higher ballot."""
        ballot = Ballot(self.model.promised[partition].term + terms, WORKER)
        ballot = max(ballot, self.model.promised[partition])
        self.model.promised[partition] = ballot
        self.noted(self.store.promise(partition, ballot))

    @rule(partition=partitions)
    def vote(self, partition: int) -> None:
        """Let a partition vote."""
        self.model.voting[partition] = True
        self.noted(self.store.set_voting(partition))

    @rule(partition=partitions)
    def lose_vote(self, partition: int) -> None:
        """Give a partition's right to vote up."""
        self.model.voting[partition] = False
        self.noted(self.store.clear_voting(partition))

    @rule()
    def commit(self) -> None:
        """Sync what is queued."""
        self.store.committer.step()

    @rule(steps=st.integers(1, 8))
    def tidy_a_little(self, steps: int) -> None:
        """Do some background work, which may be left half done."""
        for _ in range(steps):
            self.store.tidier.step()

    @rule()
    def tidy_up(self) -> None:
        """Do all background work."""
        commit(self.store)
        tidy(self.store)

    @rule()
    def restart(self) -> None:
        """Stop in good order: nothing is lost."""
        self.store.close()
        self.reopen()

    @rule(seed=st.integers(0, 99), torn=st.booleans())
    def crash(self, seed: int, *, torn: bool) -> None:
        """Lose unsynced data, or a part of it."""
        durable = self.store.durable_lsn
        self.disk.crash(partly(seed) if torn else lambda _: 0)
        self.disk.fault = None
        store = open_store(self.disk, segment_bytes=self.segment_bytes)
        state = state_of(store)
        assert state in self.states[durable:]
        self.model = Model(state)
        self.store = store
        self.states = [self.model.state()]
        self.kept = []

    @rule(at=st.integers(0, 30), tidies=st.booleans(), seed=st.integers(0, 99), torn=st.booleans())
    def crash_during_work(self, at: int, *, tidies: bool, seed: int, torn: bool) -> None:
        """Lose power in the middle of a commit or of background work."""
        self.disk.fault = Faults(at)
        try:
            commit(self.store)
            if tidies:
                tidy(self.store)
        except Crash:
            self.crash(seed, torn=torn)
        self.disk.fault = None

    @invariant()
    def agrees(self) -> None:
        """The store holds what the model holds, in every view."""
        assert state_of(self.store) == self.model.state()
        live = sorted(
            (key.encode(), partition)
            for (partition, key), held in self.model.held.items()
            if held.value is not None
        )
        assert [(key.encode(), partition) for partition, key, _ in self.store.scan("", "", 999)] == live

    @invariant()
    def old_entries_are_readable(self) -> None:
        """An entry taken earlier in this life is readable, whatever was merged since."""
        for partition, key, entry, value in self.kept:
            assert self.store.value(partition, key, entry) == value

    @invariant()
    def accounts_are_right(self) -> None:
        """The live bytes of each segment are the lengths of the lines that the index points at."""
        live = dict.fromkeys(self.store._log.segments, 0)
        for partition in range(PARTITIONS):
            for key in self.store.keys(partition):
                entry = self.store.entry(partition, key)
                assert entry is not None
                if entry.segment in live:
                    live[entry.segment] += entry.length
        if self.store.tidier._work is None:
            counted = {number: segment.live for number, segment in self.store._log.segments.items()}
            assert counted == live


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
