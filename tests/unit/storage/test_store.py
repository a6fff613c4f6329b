"""The face of storage: what it answers at once, and whose disk it is."""

from __future__ import annotations

import msgspec
import pytest

from kvnode.core.identity import Identity
from kvnode.core.journal import Journal
from kvnode.core.versions import NO_BALLOT, NO_VERSION, Ballot, Version
from kvnode.errors import DamageError, StorageError
from kvnode.storage.identity import IDENTITY_NAME
from kvnode.storage.memory_disk import MemoryDisk
from kvnode.storage.segment import segment_name
from tests.unit.storage.support import Crash, Faults, commit, open_store, record, state_of, tidy


def test_a_store_is_a_journal() -> None:
    """The protocol's view of storage is satisfied (mypy checks the signatures)."""
    journal: Journal = open_store(MemoryDisk())
    assert journal.appended_lsn == journal.durable_lsn == 0


def test_a_blank_disk_has_promised_nothing_and_may_not_vote() -> None:
    """A new data folder starts from nothing, with an incarnation of its own."""
    store, other = open_store(MemoryDisk()), open_store(MemoryDisk())
    assert (store.promised(0), store.floor(0), store.voting(0)) == (NO_BALLOT, NO_VERSION, False)
    assert store.identity.incarnation != other.identity.incarnation
    assert store.identity == Identity(1, store.identity.incarnation, "", {})


def test_lsn_counts_what_changed() -> None:
    """Every append has a number; what is so already is not appended again."""
    store = open_store(MemoryDisk())
    assert store.append(record("k", 1)) == 1
    assert [store.promise(0, Ballot(2, 1)), store.promise(0, Ballot(2, 1))] == [2, 2]
    assert [store.set_voting(0), store.set_voting(0)] == [3, 3]
    low, high = Version(1, 1, 1), Version(1, 1, 2)
    assert [store.raise_floor(0, high, low), store.raise_floor(0, low, low)] == [4, 4]
    assert [store.raise_floor(0, high, high), store.raise_floor(0, high, low)] == [5, 5]
    assert [store.clear_voting(0), store.clear_voting(0)] == [6, 6]
    assert (store.appended_lsn, store.durable_lsn) == (6, 0)


def test_the_higher_rank_supersedes() -> None:
    """Ballot before version; a copy gives way to the very record that it is a copy of."""
    store = open_store(MemoryDisk())
    low, high = record("k", 1), record("k", 2)
    assert store.supersedes(low) is None
    store.append(msgspec.structs.replace(high, copied=True))
    assert [store.supersedes(low), store.supersedes(high)] == [False, True]
    store.append(high)
    assert [store.supersedes(low), store.supersedes(high)] == [False, False]
    again = msgspec.structs.replace(low, accepted=Ballot(high.accepted.term + 1, 1))
    assert store.supersedes(again) is True


def test_promises_only_rise() -> None:
    """A lower promise is a bug of the caller's."""
    store = open_store(MemoryDisk())
    store.promise(0, Ballot(2, 2))
    with pytest.raises(ValueError, match="has promised"):
        store.promise(0, Ballot(2, 1))
    assert store.promised(0) == Ballot(2, 2)


def test_a_floor_alone_forgets_nothing() -> None:
    """Tombstones stay under a floor until they may be forgotten, which is never above it."""
    store = open_store(MemoryDisk())
    store.append(record("k", 2, None))
    store.raise_floor(0, Version(1, 1, 3), NO_VERSION)
    assert list(store.keys(0)) == ["k"]
    with pytest.raises(ValueError, match="cannot forget"):
        store.raise_floor(0, Version(1, 1, 3), Version(1, 1, 4))
    store.raise_floor(0, NO_VERSION, NO_VERSION)
    assert (store.floor(0), store.forgotten(0)) == (Version(1, 1, 3), NO_VERSION)


def test_a_vote_that_was_given_up_stays_so_through_a_merge_and_a_restart() -> None:
    """Neither an older line that gave the vote nor its repetition at a segment's head brings it back."""
    disk = MemoryDisk()
    store = open_store(disk, segment_bytes=600)
    store.set_voting(0)
    store.set_voting(1)
    for seq in range(1, 9):
        store.append(record("k", seq))
    store.clear_voting(0)
    for seq in range(9, 20):
        store.append(record("k", seq))
    commit(store)
    tidy(store)
    disk.crash()
    store = open_store(disk)
    assert [store.voting(0), store.voting(1), store.voting(2)] == [False, True, False]
    store.set_voting(0)
    commit(store)
    disk.crash()
    assert open_store(disk).voting(0)


def test_a_raised_floor_forgets_tombstones_from_then_on() -> None:
    """Tombstones at or below what is forgotten go; those above and values stay, also those to come."""
    store = open_store(MemoryDisk())
    store.append(record("value", 1))
    store.append(record("low", 2, None))
    store.append(record("high", 3, None))
    store.append(record("elsewhere", 2, None, partition=1))
    store.raise_floor(0, Version(1, 1, 2), Version(1, 1, 2))
    assert list(store.keys(0)) == ["high", "value"]
    assert list(store.keys(1)) == ["elsewhere"]
    store.append(record("value", 2, None))
    assert store.entry(0, "value") is None
    assert store.counts == (0, 2)
    store.append(record("low", 4))
    assert list(store.keys(0)) == ["high", "low"]
    assert len(state_of(store)[0]) == 3


def test_copied_records_hash_as_their_holders() -> None:
    """A copied record makes the tree differ from every other replica's, until it is accepted again."""
    store, other = open_store(MemoryDisk()), open_store(MemoryDisk(), worker=2)
    store.append(record("k", 1, copied=True))
    other.append(record("k", 1))
    assert store.tree(0).root != other.tree(0).root
    store.append(record("k", 1))
    assert store.tree(0).root == other.tree(0).root


def test_a_damaged_value_is_never_answered() -> None:
    """A value whose line has changed on disk raises, with the place."""
    disk = MemoryDisk()
    store = open_store(disk)
    store.append(record("k", 1, b'"good"'))
    commit(store)
    entry = store.entry(0, "k")
    assert entry is not None
    name = segment_name(1)
    disk.replace(name, disk.contents(name).replace(b"good", b"evil"))
    with pytest.raises(DamageError) as caught:
        store.value(0, "k", entry)
    assert (caught.value.file, caught.value.offset) == (name, entry.offset)
    disk.replace(name, disk.contents(name)[:-3])
    with pytest.raises(DamageError):
        store.value(0, "k", entry)


def test_scan_lists_values_of_all_partitions() -> None:
    """Keys with a value come in order over all partitions, by prefix, in pages."""
    store = open_store(MemoryDisk())
    for seq, key in enumerate(["b/2", "a", "b/1", "b/3", "c"], 1):
        store.append(record(key, seq, None if key == "b/2" else b"%d" % seq, partition=seq % 4))
    found = store.scan("b/", "", 10)
    assert [(partition, key) for partition, key, _ in found] == [(3, "b/1"), (0, "b/3")]
    assert store.value(0, "b/3", found[1][2]) == b"4"
    assert [key for _, key, _ in store.scan("", "b/1", 1)] == ["b/3"]
    assert store.keys_after(1, "a", 5) == ["b/2", "c"]


def test_listing_survives_changes() -> None:
    """Keys may come and go while somebody lists them."""
    store = open_store(MemoryDisk())
    for number in range(600):
        store.append(record(f"{number:04}", number, None if number == 500 else b"1"))
    seen = []
    for key in store.keys(0):
        seen.append(key)
        if not key.endswith("+"):
            store.append(record(f"{key}+", 1_000))
        if key == "0001":
            store.raise_floor(0, Version(1, 1, 600), Version(1, 1, 600))
    assert {f"{number:04}" for number in range(600)} - set(seen) == {"0500"}


def test_identity_is_kept() -> None:
    """What was written as identity is there at the next start, and named in new segments."""
    disk = MemoryDisk()
    store = open_store(disk)
    formed = msgspec.structs.replace(store.identity, cluster_id="c1", roster={1: "a", 2: "b"})
    store.write_identity(formed)
    store.append(record("k", 1))
    commit(store)
    disk.crash()
    assert open_store(disk).identity == formed
    assert b'"cluster":"c1"' in disk.contents(segment_name(1))


def test_identity_survives_a_crash_at_any_step() -> None:
    """Replacing the identity leaves the old or the new one, whole; an incarnation is never half made."""
    for at in range(8):
        disk = MemoryDisk()
        store = open_store(disk)
        old, new = store.identity, msgspec.structs.replace(store.identity, cluster_id="c1")
        disk.fault = Faults(at)
        crashed = False
        try:
            store.write_identity(new)
        except Crash:
            crashed = True
        disk.crash(lambda count: count // 2)
        disk.fault = None
        again = open_store(disk)
        assert again.identity == (old if crashed and again.identity == old else new)
        assert crashed == (at < 5)


def test_a_damaged_identity_is_refused() -> None:
    """An identity file with any byte changed is damage, not a blank disk."""
    disk = MemoryDisk()
    open_store(disk)
    good = disk.contents(IDENTITY_NAME)
    for position in range(len(good)):
        changed = bytearray(good)
        changed[position] ^= 1
        disk.crash()
        disk.replace(IDENTITY_NAME, bytes(changed))
        with pytest.raises(DamageError):
            open_store(disk)


def test_disks_of_others_are_refused() -> None:
    """Another worker's folder, a log without identity, or of another incarnation or cluster is not used."""
    disk = MemoryDisk()
    store = open_store(disk)
    store.write_identity(msgspec.structs.replace(store.identity, cluster_id="c1"))
    store.append(record("k", 1))
    commit(store)
    disk.crash()
    with pytest.raises(StorageError, match="belongs to worker 1, not 2"):
        open_store(disk, worker=2)
    log = disk.contents(segment_name(1))
    other = MemoryDisk()
    open_store(other)
    other.crash()
    other.replace(segment_name(1), log)
    with pytest.raises(StorageError, match="incarnation"):
        open_store(other)
    other.remove(IDENTITY_NAME)
    with pytest.raises(StorageError, match="no identity"):
        open_store(other)
    store = open_store(disk)
    store.write_identity(msgspec.structs.replace(store.identity, cluster_id="c2"))
    disk.crash()
    with pytest.raises(StorageError, match="cluster c1"):
        open_store(disk)


def test_a_refused_folder_is_let_go() -> None:
    """After a failed open the lock is free."""
    disk = MemoryDisk()
    open_store(disk).close()
    for _ in range(2):
        with pytest.raises(StorageError, match="not 2"):
            open_store(disk, worker=2)
    open_store(disk).close()
