"""The index in memory: from key to the newest record's place, and the keys in order.

An entry is packed into 77 bytes. Keys are ordered by code point, which is the order of their UTF-8
bytes. New keys are put in order when somebody next asks for a list, so that a write pays nothing.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice
from struct import Struct

from kvnode.core.records import Entry, Record
from kvnode.core.versions import NO_VERSION, Ballot, Version

_ENTRY = Struct("<QIQIQQIQIQIBQ")
_RANK = Struct("<QIQIQ")
_PLACE = Struct("<IQI")
_PLACE_AT = 52
_FLAGS_AT = _PLACE_AT + _PLACE.size
_HASH = Struct("<Q")
_HASH_AT = _FLAGS_AT + 1
_TOMBSTONE, _COPIED, _PREVIOUS = 1, 2, 4
_INSERT_LIMIT = 32
_new = tuple.__new__
"""Makes a named tuple of a tuple in half the time of its own constructor."""


def pack(
    record: Record | Entry, segment: int, offset: int, length: int, digest: int, *, tombstone: bool
) -> bytes:
    """Pack a record without its value, the place of its line, and its hash-tree hash."""
    previous, flags = record.previous, tombstone * _TOMBSTONE | record.copied * _COPIED
    if previous is not None:
        flags |= _PREVIOUS
    (b1, b2), (v1, v2, v3), (p1, p2, p3) = record.accepted, record.version, previous or NO_VERSION
    return _ENTRY.pack(b1, b2, v1, v2, v3, p1, p2, p3, segment, offset, length, flags, digest)


def unpack(packed: bytes) -> Entry:
    """Return the entry that was packed."""
    f = _ENTRY.unpack(packed)
    flags = f[11]
    return Entry(
        _new(Ballot, f[:2]),
        _new(Version, f[2:5]),
        _new(Version, f[5:8]) if flags & _PREVIOUS else None,
        flags & _TOMBSTONE != 0,
        flags & _COPIED != 0,
        f[8],
        f[9],
        f[10],
    )


def rank_of(packed: bytes) -> tuple[int, ...]:
    """Return a packed entry's rank as one tuple: the numbers of its ballot, then those of its version."""
    return _RANK.unpack_from(packed)


def is_copied(packed: bytes) -> bool:
    """Whether a packed entry has been copied, and does not stand yet."""
    return packed[_FLAGS_AT] & _COPIED != 0


def place_of(packed: bytes) -> tuple[int, int, int]:
    """Return a packed entry's segment, offset and length."""
    return _PLACE.unpack_from(packed, _PLACE_AT)


def moved(packed: bytes, segment: int, offset: int) -> bytes:
    """Return a packed entry whose line stands elsewhere."""
    place = _PLACE.pack(segment, offset, place_of(packed)[2])
    return packed[:_PLACE_AT] + place + packed[_FLAGS_AT:]


def digest_of(packed: bytes) -> int:
    """Return the hash-tree hash of a packed entry."""
    digest: int = _HASH.unpack_from(packed, _HASH_AT)[0]
    return digest


def columns(packed: list[bytes]) -> list[tuple[int, ...]]:
    """Return packed entries field by field; no field's list where there are none."""
    return list(zip(*_ENTRY.iter_unpack(b"".join(packed)), strict=True))


def from_columns(fields: Sequence[Iterable[int]]) -> list[bytes]:
    """Pack what ``columns`` has told apart."""
    return list(map(_ENTRY.pack, *fields))


def is_tombstone(packed: bytes) -> bool:
    """Whether a packed entry is a tombstone."""
    return packed[_FLAGS_AT] & _TOMBSTONE != 0


class Keydir:
    """The packed entries of one partition."""

    __slots__ = ("_fresh", "_ordered", "packed", "tombstones")

    def __init__(self) -> None:
        self.packed: dict[str, bytes] = {}
        self.tombstones = 0
        self._ordered: list[str] = []
        self._fresh: list[str] = []

    def put(self, key: str, packed: bytes) -> bytes | None:
        """Set a key's entry; return the one that it had."""
        old = self.packed.get(key)
        self.packed[key] = packed
        self.tombstones += packed[_FLAGS_AT] & _TOMBSTONE
        if old is None:
            self._fresh.append(key)
        else:
            self.tombstones -= old[_FLAGS_AT] & _TOMBSTONE
        return old

    def put_all(self, entries: dict[str, bytes]) -> list[tuple[str, bytes]]:
        """Set many keys' entries; return what those that had one had."""
        known = self.packed.keys() & entries
        old = [(key, self.packed[key]) for key in known]
        self._fresh += [key for key in entries if key not in known] if known else entries
        self.packed.update(entries)
        self.tombstones += sum(map(is_tombstone, entries.values()))
        self.tombstones -= sum(is_tombstone(packed) for _, packed in old)
        return old

    def remove(self, keys: list[str]) -> None:
        """Forget keys that are there."""
        if not keys:
            return
        for key in keys:
            self.tombstones -= self.packed.pop(key)[_FLAGS_AT] & _TOMBSTONE
        self._ordered = [key for key in self._in_order() if key in self.packed]

    def graves(self) -> list[tuple[str, bytes]]:
        """Return the keys that are tombstones, with their packed entries."""
        if not self.tombstones:
            return []
        return [(key, packed) for key, packed in self.packed.items() if is_tombstone(packed)]

    def keys_after(self, after: str, limit: int) -> list[str]:
        """Return at most ``limit`` keys greater than ``after``, in order."""
        ordered = self._in_order()
        start = bisect_right(ordered, after)
        return ordered[start : start + limit]

    def live_from(self, start: str, after: str) -> Iterator[str]:
        """Yield the keys from ``start`` on and greater than ``after``, in order, tombstones skipped.

        The keydir must not change meanwhile.
        """
        ordered = self._in_order()
        first = max(bisect_left(ordered, start), bisect_right(ordered, after))
        for index in range(first, len(ordered)):
            if not is_tombstone(self.packed[ordered[index]]):
                yield ordered[index]

    def _in_order(self) -> list[str]:
        """Return the keys in order: few new ones are inserted, many are sorted in."""
        if len(self._fresh) <= _INSERT_LIMIT:
            for key in self._fresh:
                insort(self._ordered, key)
        else:
            self._ordered += self._fresh
            self._ordered.sort()
        self._fresh.clear()
        return self._ordered


def scan(keydirs: list[Keydir], prefix: str, after: str, limit: int) -> list[tuple[int, str]]:
    """Return (partition, key) of at most ``limit`` live keys with a prefix, after a key, in order."""

    def labelled(partition: int) -> Iterator[tuple[str, int]]:
        for key in keydirs[partition].live_from(prefix, after):
            if not key.startswith(prefix):
                return
            yield key, partition

    found = merge(*(labelled(partition) for partition in range(len(keydirs))))
    return [(partition, key) for key, partition in islice(found, max(limit, 0))]
