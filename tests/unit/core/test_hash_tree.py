"""The hash tree over a partition's records."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kvnode.core.hash_tree import BUCKETS, HashTree, bucket_of, entry_hash, key_hash
from kvnode.core.records import Entry
from kvnode.core.versions import Ballot, Version

ENTRY = Entry(Ballot(1, 1), Version(1, 1, 1), None, tombstone=False, copied=False)
keys = st.text(min_size=1, max_size=20)
entries = st.builds(
    lambda term, seq, copied: Entry(
        Ballot(term, 1), Version(1, 2, seq), None, tombstone=False, copied=copied
    ),
    st.integers(1, 2**40),
    st.integers(1, 2**40),
    st.booleans(),
)


@given(st.dictionaries(keys, entries, max_size=20), st.randoms(use_true_random=False))
def test_depends_on_content_alone(held: dict[str, Entry], random: object) -> None:
    """Trees of the same records are equal in whatever order they came, and empty when all are taken out."""
    forward, backward = HashTree(), HashTree()
    for key, entry in held.items():
        forward.toggle(key, entry, 1)
    for key, entry in reversed(held.items()):
        backward.toggle(key, entry, 1)
    assert forward.buckets == backward.buckets
    assert forward.root == backward.root
    for key, entry in held.items():
        forward.toggle(key, entry, 1)
    assert forward.root == 0


@given(keys, entries, entries)
def test_tells_records_apart(key: str, one: Entry, other: Entry) -> None:
    """Two entries hash alike only when accepted, version and mark are alike."""
    same = (one.rank, one.copied) == (other.rank, other.copied)
    assert (entry_hash(key, one, 1) == entry_hash(key, other, 1)) == same


def test_the_ballot_is_part_of_it() -> None:
    """The same version under another ballot is another record."""
    again = Entry(Ballot(2, 1), ENTRY.version, None, tombstone=False, copied=False)
    assert entry_hash("a", ENTRY, 1) != entry_hash("a", again, 1)


def test_a_copied_record_equals_nobodys() -> None:
    """A copied entry differs between holders, and from the entry that it was copied from."""
    copied = Entry(ENTRY.accepted, ENTRY.version, None, tombstone=False, copied=True)
    hashes = {entry_hash("a", copied, 1), entry_hash("a", copied, 2), entry_hash("a", ENTRY, 1)}
    assert len(hashes) == 3


def test_the_holder_of_an_accepted_record_does_not_matter() -> None:
    """Replicas that accepted the same agree."""
    assert entry_hash("a", ENTRY, 1) == entry_hash("a", ENTRY, 2)


@given(keys, entries)
def test_a_record_changes_its_bucket_alone(key: str, entry: Entry) -> None:
    """Comparing buckets leads to the key that differs."""
    tree = HashTree()
    tree.toggle(key, entry, 1)
    changed = [number for number in range(BUCKETS) if tree.buckets[number]]
    assert changed == [bucket_of(key)]


def test_positions_are_fixed_for_ever() -> None:
    """The position of a key is the same on every machine and in every release."""
    assert key_hash("user:1") == 0xD47B7ADDA40C1A12
    assert bucket_of("user:1") == key_hash("user:1") % BUCKETS
