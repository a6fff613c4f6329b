"""The index in memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kvnode.core.records import Entry
from kvnode.core.versions import Ballot, Version
from kvnode.storage.keydir import (
    Keydir,
    columns,
    digest_of,
    from_columns,
    moved,
    pack,
    place_of,
    scan,
    unpack,
)

numbers = st.integers(0, 2**64 - 1)
small = st.integers(0, 2**32 - 1)
versions = st.builds(Version, numbers, small, numbers)
entries = st.builds(
    Entry,
    accepted=st.builds(Ballot, numbers, small),
    version=versions,
    previous=st.none() | versions,
    tombstone=st.booleans(),
    copied=st.booleans(),
    segment=small,
    offset=numbers,
    length=small,
)
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3)


def packed(*, tombstone: bool = False) -> bytes:
    """Return some packed entry."""
    entry = Entry(Ballot(1, 1), Version(1, 1, 1), None, tombstone, copied=False)
    return pack(entry, 1, 2, 3, 4, tombstone=tombstone)


@given(entries, numbers, small, numbers)
def test_packing_loses_nothing(entry: Entry, digest: int, segment: int, offset: int) -> None:
    """An entry comes out of its packed form as it went in, and can be moved."""
    place = entry.segment, entry.offset, entry.length
    data = pack(entry, *place, digest, tombstone=entry.tombstone)
    assert unpack(data) == entry
    assert digest_of(data) == digest
    assert place_of(data) == (entry.segment, entry.offset, entry.length)
    elsewhere = moved(data, segment, offset)
    assert place_of(elsewhere) == (segment, offset, entry.length)
    assert unpack(elsewhere).rank == entry.rank
    assert digest_of(elsewhere) == digest


@given(st.lists(st.tuples(entries, numbers), max_size=5))
def test_columns_are_packed_again(rows: list[tuple[Entry, int]]) -> None:
    """Packed entries told apart field by field come together again as they were."""
    data = [
        pack(entry, entry.segment, entry.offset, entry.length, digest, tombstone=entry.tombstone)
        for entry, digest in rows
    ]
    assert from_columns(columns(data)) == data if data else columns(data) == []


@given(st.lists(st.dictionaries(keys, st.booleans()), max_size=4))
def test_many_at_once_are_put_as_one_by_one(parts: list[dict[str, bool]]) -> None:
    """Putting entries together does what putting each of them does, and tells what they replaced."""
    together, apart = Keydir(), Keydir()
    for number, part in enumerate(parts):
        new = {key: moved(packed(tombstone=tombstone), number, 0) for key, tombstone in part.items()}
        old = {key: apart.put(key, entry) for key, entry in new.items()}
        assert dict(together.put_all(new)) == {key: entry for key, entry in old.items() if entry is not None}
        assert together.packed == apart.packed
        assert together.tombstones == apart.tombstones
        if number % 2:
            assert together.keys_after("", 999) == apart.keys_after("", 999)
    assert together.keys_after("", 999) == apart.keys_after("", 999)


@given(st.lists(st.tuples(keys, st.booleans(), st.booleans()), max_size=120), keys, st.integers(0, 10))
def test_keys_are_in_order_of_their_bytes(
    steps: list[tuple[str, bool, bool]], after: str, limit: int
) -> None:
    """Listing gives the keys that are there, in UTF-8 order, whatever came and went between listings."""
    keydir = Keydir()
    expected: dict[str, bool] = {}
    for key, tombstone, removes in steps:
        if removes and key in expected:
            keydir.remove([key])
            del expected[key]
        else:
            keydir.put(key, packed(tombstone=tombstone))
            expected[key] = tombstone
        if tombstone:
            assert keydir.keys_after("", 999) == sorted(expected, key=str.encode)
    ordered = sorted(expected, key=str.encode)
    assert keydir.keys_after("", 999) == ordered
    assert keydir.keys_after(after, limit) == [k for k in ordered if k.encode() > after.encode()][:limit]
    assert keydir.tombstones == sum(expected.values())
    assert [key for key, _ in keydir.graves()] == [key for key in expected if expected[key]]


@given(st.lists(st.dictionaries(keys, st.booleans()), max_size=5), st.just("") | keys, st.just("") | keys)
def test_scan_merges_partitions(contents: list[dict[str, bool]], prefix: str, after: str) -> None:
    """A scan gives the live keys of all partitions with a prefix, after a key, in order, cut at a limit."""
    keydirs = []
    for content in contents:
        keydir = Keydir()
        for key, tombstone in content.items():
            keydir.put(key, packed(tombstone=tombstone))
        keydirs.append(keydir)
    expected = sorted(
        (key.encode(), partition)
        for partition, content in enumerate(contents)
        for key, tombstone in content.items()
        if not tombstone and key.startswith(prefix) and key > after
    )
    found = scan(keydirs, prefix, after, 1000)
    assert [(key.encode(), partition) for partition, key in found] == expected
    assert scan(keydirs, prefix, after, 2) == found[:2]
